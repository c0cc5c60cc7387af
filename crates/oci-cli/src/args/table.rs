//! What an option and a command are: parsing, `--help`, the manual page and the completions read
//! the same table.

/// An option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// Without its dashes.
    pub(crate) long: &'static str,
    /// NUL where there is none.
    pub(crate) short: char,
    /// What its value is called (`DIR`, `FILE`, `PATH` complete to files, `a|b` to these words);
    /// empty for a switch.
    pub(crate) value: &'static str,
    /// A line of help; empty for one that is taken for others' sake and does nothing of use here.
    pub(crate) help: &'static str,
}

/// No letter.
pub(super) const NONE: char = '\0';

/// A switch.
pub(super) const fn switch(long: &'static str, short: char, help: &'static str) -> Opt {
    value(long, short, "", help)
}

/// An option with a value.
pub(super) const fn value(
    long: &'static str,
    short: char,
    value: &'static str,
    help: &'static str,
) -> Opt {
    Opt {
        long,
        short,
        value,
        help,
    }
}

/// A command.
#[derive(Debug)]
pub(crate) struct Verb {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its words, as help shows them.
    pub(crate) words: &'static str,
    /// One line.
    pub(crate) about: &'static str,
    /// More lines, or nothing.
    pub(crate) more: &'static str,
    /// Its options, by group.
    pub(crate) options: &'static [&'static [Opt]],
    /// From this word on everything is a word, dashes or not (it is another program's).
    pub(crate) raw_from: usize,
}

impl Verb {
    /// All its options.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.options.iter().copied().flatten()
    }

    /// Whether its first word is a container's id.
    pub(crate) fn takes_container(&self) -> bool {
        let words = self.words.trim_start_matches("[OPTION]... ");
        words.starts_with("CONTAINER")
    }
}

/// The option of a name or a letter.
pub(super) fn find(
    groups: &'static [&'static [Opt]],
    name: Result<&str, char>,
) -> Option<&'static Opt> {
    groups.iter().copied().flatten().find(|opt| match name {
        Ok(long) => opt.long == long,
        Err(short) => opt.short == short,
    })
}

//! Text that fits the terminal, and the forms of a report.

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[default]
    Table,
    /// For programs: field names are stable
    Json,
    /// The same as YAML
    Yaml,
}

/// How a paragraph stands: what its first line begins with, how far the others are moved in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paragraph<'a> {
    /// Begins the first line.
    pub(crate) first: &'a str,
    /// Columns before each other line.
    pub(crate) rest: usize,
    /// Columns that there are; `None`: no terminal, nothing is wrapped.
    pub(crate) width: Option<usize>,
}

impl Paragraph<'_> {
    /// `text` as lines, broken between words; words too long for a line are broken inside.
    pub(crate) fn fill(&self, text: &str) -> String {
        let Some(width) = self.width else {
            return format!("{}{text}\n", self.first);
        };
        // Ten columns at least, however narrow the terminal.
        let width = width.max(self.rest + 10);
        let indent = " ".repeat(self.rest);
        let (mut all, mut line) = (String::new(), self.first.to_owned());
        let mut used = line.chars().count();
        let mut fresh = true;
        let mut end = |line: &mut String| {
            all.push_str(line.trim_end());
            all.push('\n');
            line.clone_from(&indent);
        };
        for word in text.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            if !fresh && used + 1 + word.len() > width {
                end(&mut line);
                used = self.rest;
            } else if !fresh {
                line.push(' ');
                used += 1;
            }
            while used + word.len() > width {
                let tail = word.split_off(width.saturating_sub(used).min(word.len()));
                line.extend(&word);
                end(&mut line);
                used = self.rest;
                word = tail;
            }
            used += word.len();
            line.extend(&word);
            fresh = false;
        }
        end(&mut line);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        let fill = |width, text: &str| {
            let first = "a  ";
            Paragraph {
                first,
                rest: 3,
                width,
            }
            .fill(text)
        };
        assert_eq!(fill(None, "one two three"), "a  one two three\n");
        assert_eq!(
            fill(Some(13), "one two three four"),
            "a  one two\n   three four\n"
        );
        assert_eq!(
            fill(Some(13), "0123456789abcdef x"),
            "a  0123456789\n   abcdef x\n"
        );
        assert_eq!(fill(Some(2), "0123456789ab"), "a  0123456789\n   ab\n");
    }
}

//! The plan's data, and how it grows.

use std::fmt;

use init::{END, Fd, List, Step, Str};
use oci::runtime as spec;

use super::{Error, IdMaps, Privileged, Source};

/// What the child will do, as data. Printable.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) strings: Vec<u8>,
    pub(crate) words: Vec<Str>,
    pub(crate) numbers: Vec<u32>,
    pub(crate) fds: Vec<Source>,
    /// CLONE_NEW* flags of the clone.
    pub(crate) namespaces: u64,
    /// The child is cloned into the pid namespace of the container's first process.
    pub(crate) born_in_pids: bool,
    pub(crate) id_maps: Option<IdMaps>,
    pub(crate) privileged: Vec<Privileged>,
    /// Namespaces that are changed, and so must not be ours when they are joined.
    pub(crate) changed: Vec<spec::NamespaceType>,
    pub(crate) seccomp: Option<Box<spec::LinuxSeccomp>>,
    /// Which hooks the steps of that kind run, in their order.
    pub(crate) hooks: Vec<HookName>,
    /// Things that were adapted to the host.
    pub(crate) notes: Vec<String>,
}

/// A hook by its list and its place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookName {
    pub(crate) kind: String,
    pub(crate) number: usize,
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hook #{}", self.kind, self.number)
    }
}

impl Plan {
    pub(super) fn new() -> Self {
        Self {
            strings: vec![0],
            ..Self::default()
        }
    }

    /// What was adapted to the host, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Puts a string into the arena. The same one again takes room again: looking for it costs more than that.
    pub(super) fn str(&mut self, field: &str, text: &str) -> Result<Str, Error> {
        if text.contains('\0') {
            return Err(Error::invalid(field, format!("{text:?} has a NUL in it")));
        }
        let at = u32::try_from(self.strings.len())
            .map_err(|_| Error::invalid(field, "the document is over 4 GiB"))?;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        // The empty string is not "none": an option may have an empty value.
        Ok(Str(at))
    }

    pub(super) fn list<'t>(
        &mut self,
        field: &str,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> Result<List, Error> {
        let mut strings = Vec::new();
        for text in texts {
            strings.push(self.str(field, text)?);
        }
        Ok(self.list_of(strings))
    }

    pub(super) fn list_of(&mut self, strings: impl IntoIterator<Item = Str>) -> List {
        let at = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        self.words.extend(strings);
        self.words.push(END);
        List(at)
    }

    pub(super) fn numbers(&mut self, numbers: &[u32]) -> (u32, u32) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let at = count(self.numbers.len());
        self.numbers.extend_from_slice(numbers);
        (at, count(numbers.len()))
    }

    /// A descriptor of this source; the same source gives the same descriptor, save binds.
    pub(super) fn fd(&mut self, source: Source) -> Fd {
        let shared = !matches!(
            source,
            Source::Tree(_) | Source::Later | Source::CgroupTree(..)
        );
        let at = match self.fds.iter().position(|known| shared && *known == source) {
            Some(at) => at,
            None => {
                self.fds.push(source);
                self.fds.len() - 1
            }
        };
        Fd(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// Whether the step of this number runs a hook.
    pub(crate) fn is_hook(&self, step: u32) -> bool {
        let step = usize::try_from(step).ok().and_then(|at| self.steps.get(at));
        matches!(step, Some(Step::Hook { .. }))
    }

    /// The string at an offset.
    pub(crate) fn text(&self, s: Str) -> &str {
        let from = usize::try_from(s.0)
            .ok()
            .and_then(|at| self.strings.get(at..));
        let bytes = from
            .unwrap_or_default()
            .split(|&b| b == 0)
            .next()
            .unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The strings of a list.
    pub(crate) fn texts(&self, list: List) -> impl Iterator<Item = &str> {
        let from = usize::try_from(list.0)
            .ok()
            .and_then(|at| self.words.get(at..));
        from.unwrap_or_default()
            .iter()
            .take_while(|&&w| w != END)
            .map(|&w| self.text(w))
    }
}

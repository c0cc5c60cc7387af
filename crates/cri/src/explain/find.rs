//! What a word means: a name, an id, or the beginning of an id.
//!
//! `pod/WORD` and `container/WORD` say which of the two is meant, nothing means every pod. Names win over ids, pods over
//! containers: to explain a pod is to explain its containers, too.

use crate::{domain::Id, error::Error};

/// A word of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    text: &'a str,
    pods: bool,
    containers: bool,
}

/// How well a word fits; the best fit of all is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// Not at all.
    No,
    /// The id begins with it.
    Prefix,
    /// It is the id.
    Id,
    /// It is the name.
    Name,
    /// Everything is meant.
    All,
}

impl<'a> Word<'a> {
    /// Reads a word.
    ///
    /// # Errors
    /// [`Error::InvalidField`] when only the kind is said.
    pub(crate) fn new(word: &'a str) -> Result<Word<'a>, Error> {
        let (text, pods, containers) =
            match (word.strip_prefix("pod/"), word.strip_prefix("container/")) {
                (Some(text), _) => (text, true, false),
                (None, Some(text)) => (text, false, true),
                (None, None) => (word, true, true),
            };
        if text.is_empty() && !word.is_empty() {
            return Err(Error::InvalidField {
                field: "id".to_owned(),
                why: format!("{word:?} says no name or id"),
            });
        }
        Ok(Word {
            text,
            pods,
            containers,
        })
    }

    /// How it fits a pod.
    pub(crate) fn pod(&self, name: &str, id: &str) -> Fit {
        if self.text.is_empty() {
            Fit::All
        } else if self.pods {
            fit(self.text, name, id)
        } else {
            Fit::No
        }
    }

    /// How it fits a container.
    pub(crate) fn container(&self, name: &str, id: &str) -> Fit {
        if self.containers && !self.text.is_empty() {
            fit(self.text, name, id)
        } else {
            Fit::No
        }
    }

    /// What fits best of `all`. A name may mean several; a prefix only one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub(crate) fn best<T>(&self, all: Vec<(Fit, Option<Id>, T)>) -> Result<Vec<T>, Error> {
        let best = all.iter().map(|(fit, ..)| *fit).max().unwrap_or(Fit::No);
        let kind = match (self.pods, self.containers) {
            (true, false) => "pod",
            (false, true) => "container",
            _ => "pod or container",
        };
        if best == Fit::No && self.text.is_empty() {
            return Ok(Vec::new());
        }
        if best == Fit::No {
            return Err(Error::NotFound {
                kind,
                id: self.text.to_owned(),
            });
        }
        let best: Vec<_> = all.into_iter().filter(|(fit, ..)| *fit == best).collect();
        if best.len() > 1 && best.iter().all(|(fit, ..)| *fit == Fit::Prefix) {
            return Err(Error::Ambiguous {
                kind,
                prefix: self.text.to_owned(),
                ids: best.into_iter().filter_map(|(_, id, _)| id).collect(),
            });
        }
        Ok(best.into_iter().map(|(.., one)| one).collect())
    }
}

fn fit(text: &str, name: &str, id: &str) -> Fit {
    if text == name {
        Fit::Name
    } else if text == id {
        Fit::Id
    } else if id.starts_with(text) {
        Fit::Prefix
    } else {
        Fit::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_win_over_ids_and_prefixes_must_be_unique() {
        let word = Word::new("ab").unwrap();
        let ids: Vec<Id> = (0..2)
            .map(|n| format!("ab{n:0<62}").parse().unwrap())
            .collect();
        let fits = |name: &str| {
            vec![
                (word.pod("x", ids[0].as_str()), Some(ids[0].clone()), 0),
                (
                    word.container(name, ids[1].as_str()),
                    Some(ids[1].clone()),
                    1,
                ),
            ]
        };
        assert_eq!(word.best(fits("ab")).unwrap(), [1]);
        assert!(
            matches!(word.best(fits("y")), Err(Error::Ambiguous { ids: all, .. }) if all == ids)
        );
    }

    #[test]
    fn the_kind_can_be_said() {
        let word = Word::new("pod/web").unwrap();
        assert_eq!(word.pod("web", "1"), Fit::Name);
        assert_eq!(word.container("web", "1"), Fit::No);
        let none: Vec<(Fit, Option<Id>, ())> = vec![(Fit::No, None, ())];
        assert!(matches!(
            word.best(none),
            Err(Error::NotFound { kind: "pod", .. })
        ));
        assert!(Word::new("pod/").is_err());
        let all = Word::new("").unwrap();
        assert_eq!(all.pod("web", "1"), Fit::All);
        assert_eq!(all.container("web", "1"), Fit::No);
        assert_eq!(all.best(Vec::<(Fit, Option<Id>, ())>::new()).unwrap(), []);
    }
}

//! `--filter KEY=VALUE`: as podman and docker have it. Values of one key are alternatives, different
//! keys (and labels) must all fit. A key that a list does not have is an error that names those it has.

use std::collections::BTreeMap;

use crate::{error::Error, nearest};

/// One `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// What is looked at.
    pub(crate) key: String,
    /// What it must be.
    pub(crate) value: String,
}

impl Filter {
    /// Reads `KEY=VALUE`.
    pub(crate) fn parse(text: &str) -> Result<Filter, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Filter {
                key: key.to_lowercase(),
                value: value.to_owned(),
            }),
            _ => Err(format!("{text:?} is not KEY=VALUE, such as status=running")),
        }
    }
}

/// How one key of a list of `T` is compared with a value.
#[derive(Debug)]
pub(crate) struct Key<T> {
    /// Its names; the first is told.
    pub(crate) names: &'static [&'static str],
    /// Whether the item fits.
    pub(crate) fits: fn(&T, &str) -> bool,
    /// The only values there are; empty: any.
    pub(crate) values: &'static [&'static str],
}

/// Keeps those items that all filters let through.
pub(crate) fn retain<T>(
    items: &mut Vec<T>,
    filters: &[Filter],
    keys: &[Key<T>],
) -> Result<(), Error> {
    let mut groups: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for filter in filters {
        let at = keys
            .iter()
            .position(|key| key.names.contains(&filter.key.as_str()))
            .ok_or_else(|| unknown(&filter.key, keys))?;
        check_value(filter, keys[at].values)?;
        groups.entry(at).or_default().push(&filter.value);
    }
    items.retain(|item| {
        groups.iter().all(|(at, values)| {
            let fits = |value: &&str| (keys[*at].fits)(item, value);
            if keys[*at].names.contains(&"label") {
                values.iter().all(fits)
            } else {
                values.iter().any(fits)
            }
        })
    });
    Ok(())
}

fn check_value(filter: &Filter, known: &[&str]) -> Result<(), Error> {
    if known.is_empty() || known.contains(&filter.value.as_str()) {
        return Ok(());
    }
    let (key, value) = (&filter.key, &filter.value);
    Err(Error::Usage(
        match nearest::of(value, known.iter().copied()) {
            Some(meant) => format!("--filter {key}={value}: did you mean {key}={meant}?"),
            None => format!(
                "--filter {key}={value}: {key} is one of {}",
                known.join(", ")
            ),
        },
    ))
}

fn unknown<T>(key: &str, keys: &[Key<T>]) -> Error {
    let names: Vec<&str> = keys.iter().map(|key| key.names[0]).collect();
    Error::Usage(match nearest::of(key, names.iter().copied()) {
        Some(meant) => format!("--filter has no key {key:?} here; did you mean {meant:?}?"),
        None => format!(
            "--filter has no key {key:?} here; the keys are {}",
            names.join(", ")
        ),
    })
}

/// `label=KEY` or `label=KEY=VALUE`.
pub(crate) fn label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|has| has == value),
        None => labels.contains_key(wanted),
    }
}

/// Whether `name` is one by which people call the image `full`: whole, without its tag, without its
/// registry, or the beginning of its id.
pub(crate) fn image(full: &str, id: &str, name: &str) -> bool {
    let tail = |text: &str| -> bool {
        text == name
            || text
                .rsplit_once(':')
                .is_some_and(|(bare, tag)| !tag.contains('/') && bare == name)
    };
    let mut rest = full;
    loop {
        if tail(rest) {
            return true;
        }
        match rest.split_once('/') {
            Some((_, after)) => rest = after,
            None => break,
        }
    }
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    digits.len() >= 4 && id.strip_prefix("sha256:").unwrap_or(id).starts_with(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [Key<(&str, BTreeMap<String, String>)>; 2] = [
        Key {
            names: &["status", "state"],
            fits: |item, value| item.0 == value,
            values: &["running", "exited"],
        },
        Key {
            names: &["label"],
            fits: |item, value| label(&item.1, value),
            values: &[],
        },
    ];

    fn kept(filters: &[&str]) -> Result<usize, Error> {
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let mut items = vec![
            ("running", labels(&[("app", "web"), ("tier", "1")])),
            ("exited", labels(&[("app", "web")])),
            ("exited", labels(&[("app", "db")])),
        ];
        let filters: Vec<Filter> = filters
            .iter()
            .map(|text| Filter::parse(text).unwrap())
            .collect();
        retain(&mut items, &filters, &KEYS)?;
        Ok(items.len())
    }

    #[test]
    fn values_of_a_key_are_alternatives_and_keys_and_labels_add_up() {
        for (filters, count) in [
            (&["status=exited"][..], 2),
            (&["status=exited", "state=running"], 3),
            (&["label=app=web"], 2),
            (&["label=app=web", "label=tier"], 1),
            (&["label=app=web", "status=exited"], 1),
            (&["label=none"], 0),
        ] {
            assert_eq!(kept(filters).unwrap(), count, "{filters:?}");
        }
    }

    #[test]
    fn an_unknown_key_or_value_names_the_known_ones() {
        for (filter, said) in [
            ("stat=x", "the keys are status, label"),
            ("labels=x", "did you mean \"label\"?"),
            ("status=runing", "did you mean status=running?"),
            ("status=happy", "one of running, exited"),
        ] {
            let error = kept(&[filter]).unwrap_err().to_string();
            assert!(error.contains(said), "{filter}: {error}");
        }
        assert!(Filter::parse("status").is_err());
        assert!(Filter::parse("=x").is_err());
    }

    #[test]
    fn images_are_called_by_parts_of_their_names() {
        let full = "docker.io/library/busybox:1.36";
        for name in [
            "busybox",
            "busybox:1.36",
            "library/busybox",
            full,
            "abcd",
            "sha256:abcd",
        ] {
            assert!(image(full, "sha256:abcdef", name), "{name}");
        }
        for name in ["busy", "box", "busybox:1", "", "bcd"] {
            assert!(!image(full, "sha256:abcdef", name), "{name}");
        }
    }
}

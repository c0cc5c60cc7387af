//! The names that an archive gives its images.
//!
//! ```text
//!  --name                                              wins over all
//!  io.containerd.image.name                            a full reference
//!  org.opencontainers.image.ref.name                   a reference if it holds a '/' or ':'
//!  RepoTags of manifest.json                           docker archives
//! ```
//! A bare word in `ref.name` (`latest`, `1.2`, `demo`) may be a tag or a name: guessing would give
//! an image somebody else's name, so the caller is asked.

use std::collections::BTreeMap;

use crate::{Error, Reference};

const CONTAINERD: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why an annotation is no name.
#[derive(Debug)]
pub(super) enum Unfit {
    /// A bare word.
    Word(String),
    Invalid(crate::ReferenceError),
}

/// What the annotations say, fit or not.
pub(super) fn said(annotations: &BTreeMap<String, String>) -> Option<&str> {
    let value = annotations
        .get(CONTAINERD)
        .or_else(|| annotations.get(REF_NAME))?;
    (!value.is_empty()).then_some(value)
}

/// The name in a descriptor's annotations.
pub(super) fn annotated(
    annotations: &BTreeMap<String, String>,
) -> Result<Option<Reference>, Unfit> {
    let Some(value) = said(annotations) else {
        return Ok(None);
    };
    if !annotations.contains_key(CONTAINERD) && !value.contains(['/', ':']) {
        return Err(Unfit::Word(value.to_owned()));
    }
    value.parse().map(Some).map_err(Unfit::Invalid)
}

/// The error for an image that nothing names.
pub(super) fn missing(word: Option<&str>) -> Error {
    let hint = word.map(|word| format!(" (it says {word:?}, which may be a tag or a name)"));
    Error::Unnamed(hint.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_name_is_a_name() {
        for (key, value, name) in [
            (
                CONTAINERD,
                "busybox",
                Some("docker.io/library/busybox:latest"),
            ),
            (REF_NAME, "quay.io/a/b:1", Some("quay.io/a/b:1")),
            (REF_NAME, "demo:1", Some("docker.io/library/demo:1")),
            ("other", "x/y", None),
            (REF_NAME, "", None),
        ] {
            let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            let found = annotated(&annotations)
                .unwrap()
                .map(|name| name.to_string());
            assert_eq!(found.as_deref(), name, "{key} {value}");
        }
        let word = BTreeMap::from([(REF_NAME.to_owned(), "latest".to_owned())]);
        assert!(matches!(annotated(&word), Err(Unfit::Word(word)) if word == "latest"));
        let bad = BTreeMap::from([(REF_NAME.to_owned(), "A/B:c".to_owned())]);
        assert!(matches!(annotated(&bad), Err(Unfit::Invalid(_))));
    }
}

//! Image references: `[registry/]repository[:tag][@digest]`.
//!
//! ```text
//!  busybox                         docker.io / library/busybox : latest
//!  quay.io/org/app:1.2             quay.io   / org/app         : 1.2
//!  localhost:5000/app@sha256:…     localhost:5000 / app        @ sha256:…   (no tag)
//!  app:1@sha256:…                  docker.io / library/app     : 1 @ sha256:…
//! ```
//!
//! The grammar is the distribution specification's: the first component is a registry if it holds a
//! `.` or a `:`, or is `localhost`, or holds an upper-case letter; otherwise the registry is
//! docker.io, and a single component there lives below `library/`. Only sha256 digests are known.

use std::{borrow::Cow, fmt, str::FromStr};

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// Registry and repository together (distribution's NameTotalLengthMax).
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A normalised reference. `Display` prints it whole; parsing that gives the same value again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference {text:?}: {problem}")]
pub struct ReferenceError {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {NAME_MAX} bytes before the tag")]
    TooLong,
    #[error("{0:?} is no registry (a host name or address, optionally with a port)")]
    Registry(String),
    #[error("repository names are lower case: did you mean {0:?}?")]
    Case(String),
    #[error(
        "{0:?} is no repository component (lower-case letters and digits, separated by '.', '_', '__' or '-')"
    )]
    Component(String),
    #[error(
        "{0:?} is no tag (1 to {TAG_MAX} letters, digits, '_', '.' or '-', not starting with '.' or '-')"
    )]
    Tag(String),
    #[error("{0:?} is no digest (sha256: and 64 lower-case hexadecimal digits)")]
    Digest(String),
    #[error("64 hexadecimal digits are an image id, not a name")]
    LooksLikeId,
    #[error("it names no registry, and this node has no default one (`registry.default`)")]
    Short,
}

impl Reference {
    /// Host and port of the registry.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` if neither tag nor digest was given, `None` if only a digest was.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// `sha256:…` if the reference pins one.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Registry and repository: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The reference without its digest, as CRI's `repo_tags` prints it; `None` without a tag.
    #[must_use]
    pub fn tagged(&self) -> Option<String> {
        self.tag
            .as_ref()
            .map(|tag| format!("{}:{tag}", self.name()))
    }

    /// The reference without its tag where it has a digest too, which says all.
    #[must_use]
    pub fn pinned(&self) -> Self {
        let mut pinned = self.clone();
        if pinned.digest.is_some() {
            pinned.tag = None;
        }
        pinned
    }

    /// The name under which the store keeps it: with a digest the tag is only a comment.
    pub(crate) fn key(&self) -> Option<String> {
        match &self.digest {
            Some(digest) => Some(self.with_digest(digest)),
            None => self.tagged(),
        }
    }

    /// This repository at a digest, as CRI's `repo_digests` prints it.
    #[must_use]
    pub fn with_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|problem| ReferenceError {
            text: shorten(text),
            problem,
        })
    }
}

/// The text of a reference with the registry `default` where it names none; with an empty `default`
/// such a text is an error. Ids (`sha256:…`) stay as they are. Nothing else is checked here.
///
/// # Errors
/// The text names no registry, and there is no default.
pub fn qualify<'a>(text: &'a str, default: &str) -> Result<Cow<'a, str>, ReferenceError> {
    let named = text
        .split_once('/')
        .is_some_and(|(first, _)| is_registry_like(first));
    if named || default == DEFAULT_REGISTRY || text.is_empty() || text.starts_with("sha256:") {
        return Ok(Cow::Borrowed(text));
    }
    if default.is_empty() {
        return Err(ReferenceError {
            text: shorten(text),
            problem: Problem::Short,
        });
    }
    Ok(Cow::Owned(format!("{default}/{text}")))
}

/// Errors quote the input; a megabyte of it helps nobody.
fn shorten(text: &str) -> String {
    if text.len() <= 300 {
        return text.to_owned();
    }
    text.chars().take(300).chain("…".chars()).collect()
}

fn parse(text: &str) -> Result<Reference, Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
        Some((_, digest)) => return Err(Problem::Digest(shorten(digest))),
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it belongs to the registry's port.
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return Err(Problem::Tag(shorten(tag)));
    }
    if name.is_empty() {
        return Err(Problem::Empty);
    }
    let (registry, repository) = split_registry(name)?;
    if registry.len() + 1 + repository.len() > NAME_MAX {
        return Err(Problem::TooLong);
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(DEFAULT_TAG.to_owned()),
    };
    Ok(Reference {
        registry,
        repository,
        tag,
        digest,
    })
}

fn split_registry(name: &str) -> Result<(String, String), Problem> {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry_like(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    if !is_registry(registry) {
        return Err(Problem::Registry(shorten(registry)));
    }
    // Docker Hub answers to both names; one image must not be two.
    let registry = if registry == "index.docker.io" {
        DEFAULT_REGISTRY
    } else {
        registry
    };
    for component in path.split('/') {
        if component.bytes().any(|b| b.is_ascii_uppercase())
            && is_component(&component.to_ascii_lowercase())
        {
            return Err(Problem::Case(shorten(&name.to_ascii_lowercase())));
        }
        if !is_component(component) {
            return Err(Problem::Component(shorten(component)));
        }
    }
    if registry == DEFAULT_REGISTRY && !path.contains('/') {
        if path.len() == 64 && is_hex(path) {
            return Err(Problem::LooksLikeId);
        }
        return Ok((registry.to_owned(), format!("library/{path}")));
    }
    Ok((registry.to_owned(), path.to_owned()))
}

fn is_registry_like(first: &str) -> bool {
    first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_registry(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            !address.is_empty()
                && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    port.is_none_or(is_port)
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alnum(first) || !alnum(last) {
        return false;
    }
    bytes.split(|&b| alnum(b)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-')
    })
}

fn is_tag(text: &str) -> bool {
    (1..=TAG_MAX).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `sha256:` and 64 lower-case hex digits.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && is_hex(hex))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_name_gets_the_default_registry_or_is_refused() {
        for (text, default, expected) in [
            ("busybox", "docker.io", Some("busybox")),
            ("busybox:1", "quay.io", Some("quay.io/busybox:1")),
            ("org/app", "r.example:5000", Some("r.example:5000/org/app")),
            ("localhost/app", "quay.io", Some("localhost/app")),
            ("docker.io/library/app", "", Some("docker.io/library/app")),
            ("sha256:0123", "quay.io", Some("sha256:0123")),
            ("busybox", "", None),
            ("org/app:1", "", None),
        ] {
            let found = qualify(text, default);
            assert_eq!(found.as_deref().ok(), expected, "{text} {default}");
        }
    }

    const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_normalised() {
        let digest = format!("quay.io/a/b@{D}");
        let both = format!("app:1@{D}");
        let both_long = format!("docker.io/library/app:1@{D}");
        for (text, normal) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("org/app", "docker.io/org/app:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            (
                "index.docker.io/busybox",
                "docker.io/library/busybox:latest",
            ),
            ("quay.io/a/b/c:v1.0-rc_1", "quay.io/a/b/c:v1.0-rc_1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("[::1]:5000/app:x", "[::1]:5000/app:x"),
            ("HOST/app", "HOST/app:latest"),
            ("a__b/c--d", "docker.io/a__b/c--d:latest"),
            (&digest, &digest),
            (&both, &both_long),
        ] {
            let parsed: Reference = text.parse().unwrap();
            assert_eq!(parsed.to_string(), normal, "{text}");
        }
    }

    #[test]
    fn the_error_names_what_is_wrong() {
        let id = "a".repeat(64);
        let long = format!("{}/x", "a".repeat(260));
        let tag = format!("app:{}", "t".repeat(129));
        for (text, part) in [
            ("", "it is empty"),
            (":tag", "it is empty"),
            ("Busybox", "did you mean \"busybox\"?"),
            ("app:", "is no tag"),
            ("app:a b", "\"a b\" is no tag"),
            (&tag, "is no tag"),
            ("app@sha256:123", "\"sha256:123\" is no digest"),
            ("app@md5:00", "is no digest"),
            ("a//b", "\"\" is no repository component"),
            ("/app", "\"\" is no repository component"),
            ("../etc", "is no registry"),
            ("a/../b", "\"..\" is no repository component"),
            ("a___b", "is no repository component"),
            ("-a", "is no repository component"),
            ("host:port/app", "\"host:port\" is no registry"),
            ("host:70000/app", "is no registry"),
            (&id, "an image id"),
            (&long, "longer than"),
            ("app\n", "is no repository component"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_with_a_sentence(text in ".{0,80}") {
            if let Err(error) = text.parse::<Reference>() {
                prop_assert!(error.to_string().starts_with("invalid image reference"));
            }
        }

        #[test]
        fn printing_and_parsing_give_the_same_reference(
            text in "([a-z0-9]{1,8}(\\.[a-z]{2,3})?(:[1-9][0-9]{1,3})?/)?[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?(/[a-z0-9]{1,4}){0,2}(:[A-Za-z0-9_.]{0,6})?"
        ) {
            if let Ok(one) = text.parse::<Reference>() {
                let two: Reference = one.to_string().parse().unwrap();
                prop_assert_eq!(one, two);
            }
        }
    }
}

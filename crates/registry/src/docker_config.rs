//! Credentials from `config.json` (docker) and `auth.json` (podman, skopeo, buildah).
//!
//! ```text
//! {"auths": {"quay.io/org": {"auth": "…"}, "https://index.docker.io/v1/": {…}}}
//! ```
//! The longest key that is a prefix of the image's name counts: `quay.io/org/app`, `quay.io/org`,
//! `quay.io` (containers-auth.json(5)). Credential helpers are programs of the user's desktop; a
//! daemon does not start them, and says so.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Deserialize;

use crate::credentials::{Credentials, Said};

/// A file larger than this is none of these.
const SIZE_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Document {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    #[serde(alias = "identityToken")]
    identitytoken: String,
    #[serde(alias = "registryToken")]
    registrytoken: String,
}

/// The credentials that a file has for an image of `name` (`quay.io/org/app`); a file that is not
/// there has none.
pub(crate) fn find(path: &Path, name: &str) -> Result<Option<Credentials>, String> {
    let failed = |error: io::Error| format!("read {}: {error}", path.display());
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, SIZE_MAX + 1), &mut text).map_err(failed)?;
    if text.len() as u64 > SIZE_MAX {
        return Err(format!(
            "{} is larger than {SIZE_MAX} bytes",
            path.display()
        ));
    }
    of(&text, name).map_err(|error| format!("{}: {error}", path.display()))
}

/// The credentials that the text of such a file has for `name`.
pub(crate) fn of(text: &[u8], name: &str) -> Result<Option<Credentials>, String> {
    // The position and kind of the slip, never the text around it.
    let document: Document = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("no valid JSON (line {line}, column {column})")
    })?;
    pick(&document, name)
}

fn pick(document: &Document, name: &str) -> Result<Option<Credentials>, String> {
    let best = document
        .auths
        .iter()
        .filter(|(key, _)| covers(&normal(key), name))
        .max_by_key(|(key, _)| normal(key).len());
    if let Some((key, entry)) = best {
        let said = Said {
            username: entry.username.clone(),
            password: entry.password.clone(),
            auth: entry.auth.clone(),
            identity_token: entry.identitytoken.clone(),
            registry_token: entry.registrytoken.clone(),
            server_address: String::new(),
        };
        if let Some(credentials) = said.mean().map_err(|error| format!("{key}: {error}"))? {
            return Ok(Some(credentials));
        }
    }
    let helper = document
        .cred_helpers
        .iter()
        .find(|(key, _)| covers(&normal(key), name))
        .map(|(_, helper)| helper)
        .or(document.creds_store.as_ref().filter(|_| best.is_some()));
    match helper {
        Some(helper) => Err(format!(
            "the credentials for {name} are with the helper {helper:?}, which a daemon does not start"
        )),
        None => Ok(None),
    }
}

/// A key as a name: without scheme, API version and trailing slash; docker.io under its own name.
pub(crate) fn normal(key: &str) -> String {
    let key = key.strip_prefix("https://").unwrap_or(key);
    let key = key.strip_prefix("http://").unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = ["/v1", "/v2"]
        .iter()
        .find_map(|version| key.strip_suffix(version))
        .unwrap_or(key);
    let (host, rest) = key.split_at(key.find('/').unwrap_or(key.len()));
    match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            format!("docker.io{rest}")
        }
        host => format!("{host}{rest}"),
    }
}

fn covers(key: &str, name: &str) -> bool {
    if let Some(pattern) = key.strip_prefix("*.") {
        let host = name.split('/').next().unwrap_or_default();
        return host
            .split_once('.')
            .is_some_and(|(first, rest)| !first.is_empty() && rest == pattern);
    }
    name.strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str, name: &str) -> Option<String> {
        let document: Document = serde_json::from_str(document).unwrap();
        pick(&document, name).unwrap().map(|found| match found {
            Credentials::Password { user, .. } => user,
            Credentials::Identity(token) | Credentials::Bearer(token) => token,
        })
    }

    #[test]
    fn the_longest_key_that_covers_the_name_counts() {
        let document = r#"{"auths": {
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
            "quay.io": {"username": "q", "password": "p"},
            "quay.io/org": {"username": "org", "password": "p"},
            "localhost:5000": {"identitytoken": "id"},
            "*.example.com": {"registrytoken": "wild"}
        }}"#;
        for (name, user) in [
            ("docker.io/library/busybox", Some("hub")),
            ("quay.io/other/app", Some("q")),
            ("quay.io/org/app", Some("org")),
            ("quay.io/organisation/app", Some("q")),
            ("localhost:5000/app", Some("id")),
            ("localhost:50001/app", None),
            ("a.example.com/x", Some("wild")),
            ("example.com/x", None),
            ("a.b.example.com/x", None),
            ("quay.io.evil.example/x", None),
        ] {
            assert_eq!(found(document, name).as_deref(), user, "{name}");
        }
    }

    #[test]
    fn helpers_are_named_and_secrets_are_not() {
        let document: Document =
            serde_json::from_str(r#"{"credHelpers": {"gcr.io": "gcloud"}}"#).unwrap();
        let error = pick(&document, "gcr.io/a/b").unwrap_err();
        assert!(error.contains("gcloud"), "{error}");
        assert!(pick(&document, "quay.io/a/b").unwrap().is_none());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        fs::write(&path, r#"{"auths": {"a": {"auth": "canary"#).unwrap();
        let error = find(&path, "a/b").unwrap_err();
        assert!(!error.contains("canary"), "{error}");
        assert!(find(&dir.path().join("none"), "a/b").unwrap().is_none());
    }
}

//! What a fuzzer feeds: hostile bytes into each reader of this crate, with what must hold for any.
//!
//! `fuzz/` runs these for long; the test below replays the inputs that are kept in `fuzz/corpus/`.

use std::path::Path;

use crate::{
    challenge::{self, Challenge},
    docker_config, hosts,
};

/// `WWW-Authenticate`: challenges without line breaks in them.
pub fn auth_header(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // What a header's value can be: others do not come this far.
    if text.chars().any(char::is_control) {
        return;
    }
    let found = challenge::parse(text);
    assert!(found.len() <= text.len());
    for challenge in found {
        if let Challenge::Bearer { realm, .. } = challenge {
            assert!(realm.len() <= text.len());
        }
    }
}

/// `hosts.toml`: endpoints that speak http or https, the registry last; or an error.
pub fn hosts_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(found) = hosts::parse(text, Path::new("/d"), "r.example:5000") {
        assert!(found.last().is_some_and(|last| last.is_registry));
        for endpoint in found {
            assert!(matches!(endpoint.base.scheme(), "http" | "https"));
            assert!(endpoint.base.password().is_none());
            let url = endpoint.url("a/b", "manifests/1");
            assert_eq!(url.host_str(), endpoint.base.host_str());
        }
    }
}

/// `auth.json` and `config.json`: credentials for a name, or none, or an error without a secret.
pub fn auth_json(data: &[u8]) {
    for name in [
        "docker.io/library/busybox",
        "quay.io/org/app",
        "r.example:5000/a",
    ] {
        let _ = docker_config::of(data, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_saved_inputs_hold() {
        for (name, target) in [
            ("auth_header", auth_header as fn(&[u8])),
            ("hosts_toml", hosts_toml),
            ("auth_json", auth_json),
        ] {
            testing::corpus::replay(name, target);
        }
    }
}

//! `WWW-Authenticate`: how a registry wants to be asked (RFC 9110, section 11.6.1).

/// One challenge that we can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        /// The token server.
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The challenges of one header field, those of unknown schemes left out. What cannot be read ends
/// the list: a registry is not to be guessed at.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = header;
    let mut found = Vec::new();
    while let Some((scheme, after)) = token(rest.trim_start_matches([' ', '\t', ','])) {
        let (parameters, next) = parameters(after);
        let of = |name: &str| {
            let mut all = parameters.iter();
            all.find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = of("realm")
        {
            found.push(Challenge::Bearer {
                realm,
                service: of("service"),
                scope: of("scope"),
            });
        }
        if next.len() == rest.len() {
            break;
        }
        rest = next;
    }
    found
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// `key=value` pairs, up to the next scheme or something unreadable.
fn parameters(text: &str) -> (Vec<(&str, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start_matches([' ', '\t', ',']);
        let Some((key, after)) = token(start) else {
            return (found, start);
        };
        let Some(after) = after.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            // The next challenge's scheme.
            return (found, start);
        };
        let after = after.trim_start_matches([' ', '\t']);
        match value(after) {
            Some((value, next)) => {
                found.push((key, value));
                rest = next;
            }
            None => return (found, ""),
        }
    }
}

/// A token or a quoted string.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Unquoted URLs are wrong but common: up to the next comma or space.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Challenge {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Challenge::Bearer {
            realm: realm.into(),
            service: some(service),
            scope: some(scope),
        }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#,
                vec![bearer(
                    "https://auth.docker.io/token",
                    "registry.docker.io",
                    "repository:library/busybox:pull",
                )],
            ),
            (r#"Basic realm="Registry Realm""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Negotiate, BEARER realm=https://a/t , scope="a\"b,c" ,Basic realm=x"#,
                vec![bearer("https://a/t", "", "a\"b,c"), Challenge::Basic],
            ),
            (
                r#"Digest realm="x", nonce="y", Basic realm="z""#,
                vec![Challenge::Basic],
            ),
            (r#"Bearer service="no realm""#, vec![]),
            (r#"Bearer realm="never closed"#, vec![]),
            ("", vec![]),
            (",,, =", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_ends(header in "\\PC{0,200}") {
            parse(&header);
        }
    }
}

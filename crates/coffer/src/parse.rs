//! Values on the command line: what was said, turned into what it means. Each error names the form
//! that was expected.

use crate::view::{Propagation, User, Volume};

/// `512`, `64k`, `64m`, `1g` (and `64MiB`, `64Mi`) in bytes.
pub(crate) fn memory(text: &str) -> Result<i64, String> {
    let expected = || format!("{text:?} is not a size such as 64m or 1g");
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let shift = match unit
        .to_ascii_lowercase()
        .trim_end_matches("ib")
        .trim_end_matches('i')
    {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        _ => return Err(expected()),
    };
    let count: i64 = digits.parse().map_err(|_| expected())?;
    let bytes = count.checked_mul(1 << shift).ok_or_else(expected)?;
    if bytes == 0 {
        Err("a limit of 0 bytes leaves no room to start".to_owned())
    } else {
        Ok(bytes)
    }
}

/// `0.5`, `2` CPUs as microseconds in a period of 100 ms. The kernel takes no less than 1 ms.
pub(crate) fn cpus(text: &str) -> Result<i64, String> {
    let expected = || format!("{text:?} is not a number of CPUs such as 0.5 or 2 (at least 0.01)");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 5 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| expected())?
    };
    let fraction: i64 = format!("{fraction:0<5}").parse().map_err(|_| expected())?;
    let quota = whole
        .checked_mul(100_000)
        .and_then(|quota| quota.checked_add(fraction));
    quota.filter(|quota| *quota >= 1000).ok_or_else(expected)
}

/// `KEY=VALUE`, or `KEY` for the value that this program has (absent: none is set).
pub(crate) fn env(text: &str) -> Result<Option<(String, String)>, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, std::env::var(text).ok()),
    };
    if key.is_empty() {
        return Err(format!("{text:?} has no name before the '='"));
    }
    Ok(value.map(|value| (key.to_owned(), value)))
}

/// `KEY=VALUE` for a label; `KEY` has an empty value.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(format!("{text:?} has no name before the '='"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `HOST:CONTAINER[:OPTION,…]`, options ro, rw, private, rslave, rshared.
pub(crate) fn volume(text: &str) -> Result<Volume, String> {
    let mut parts = text.splitn(3, ':');
    let (Some(host), Some(container)) = (parts.next(), parts.next()) else {
        return Err(format!("{text:?} is not HOST:CONTAINER[:ro]"));
    };
    for (path, side) in [(host, "host"), (container, "container")] {
        if !path.starts_with('/') {
            return Err(format!(
                "{path:?} in {text:?} is not an absolute path on the {side}"
            ));
        }
    }
    let mut volume = Volume {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        read_only: false,
        propagation: Propagation::Private,
    };
    for option in parts.next().unwrap_or("rw").split(',') {
        match option {
            "ro" => volume.read_only = true,
            "rw" => volume.read_only = false,
            "private" | "rprivate" => volume.propagation = Propagation::Private,
            "slave" | "rslave" => volume.propagation = Propagation::HostToContainer,
            "shared" | "rshared" => volume.propagation = Propagation::Bidirectional,
            other => {
                return Err(format!(
                    "{other:?} in {text:?} is none of ro, rw, private, rslave, rshared"
                ));
            }
        }
    }
    Ok(volume)
}

/// `UID`, `UID:GID`, or a name of the image's passwd.
pub(crate) fn user(text: &str) -> Result<User, String> {
    let number = |digits: &str| -> Option<Result<i64, String>> {
        let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| {
            let parsed = digits.parse::<u32>();
            parsed
                .map(i64::from)
                .map_err(|_| format!("{digits} is larger than any id"))
        })
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    match (number(user), group) {
        (Some(uid), None) => Ok(User::Ids {
            uid: uid?,
            gid: None,
        }),
        (Some(uid), Some(group)) => match number(group) {
            Some(gid) => Ok(User::Ids {
                uid: uid?,
                gid: Some(gid?),
            }),
            None => Err(format!(
                "{group:?} is a name: CRI takes groups by number only"
            )),
        },
        (None, None) if !user.is_empty() => Ok(User::Name(user.to_owned())),
        (None, Some(_)) => Err(format!(
            "{text:?}: a group can be given only beside a numeric user"
        )),
        (None, None) => Err("an empty user is none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("512", 512),
            ("64k", 65_536),
            ("64m", 64 << 20),
            ("1GiB", 1 << 30),
        ];
        for (text, bytes) in table {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "64x", "-1", "0", "1.5g", "99999999999t"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_of_a_cpu() {
        let table = [
            ("1", 100_000),
            ("0.5", 50_000),
            (".25", 25_000),
            ("2.125", 212_500),
        ];
        for (text, quota) in table {
            assert_eq!(cpus(text), Ok(quota), "{text}");
        }
        for text in ["", "0", "-1", "0.001", "1.2.3", "x", "0.1234567"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes() {
        let volume_of = |text| volume(text).unwrap();
        assert!(!volume_of("/a:/b").read_only);
        assert!(volume_of("/a:/b:ro").read_only);
        assert_eq!(
            volume_of("/a:/b:ro,rslave").propagation,
            Propagation::HostToContainer
        );
        for text in ["/a", "a:/b", "/a:b", "/a:/b:rx", ""] {
            assert!(volume(text).is_err(), "{text}");
        }
    }

    #[test]
    fn users() {
        assert_eq!(user("7"), Ok(User::Ids { uid: 7, gid: None }));
        assert_eq!(
            user("7:8"),
            Ok(User::Ids {
                uid: 7,
                gid: Some(8)
            })
        );
        assert_eq!(user("www"), Ok(User::Name("www".to_owned())));
        for text in ["", "7:staff", "www:8", "4294967296"] {
            assert!(user(text).is_err(), "{text}");
        }
    }
}

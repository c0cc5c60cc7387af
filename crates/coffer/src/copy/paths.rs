//! `CONTAINER:PATH` or a path of ours.

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// A path on this host.
    Here(String),
    /// A tar stream: standard input or output.
    Stream,
    /// A path in a container, absolute.
    There { container: String, path: String },
}

/// Reads one side. What begins with `/` or `.` is a path of ours even with a colon in it.
pub(crate) fn parse(text: &str) -> Result<Side, String> {
    if text == "-" {
        return Ok(Side::Stream);
    }
    if text.is_empty() {
        return Err("an empty path is none".to_owned());
    }
    if text.starts_with('/') || text.starts_with('.') {
        return Ok(Side::Here(text.to_owned()));
    }
    match text.split_once(':') {
        None => Ok(Side::Here(text.to_owned())),
        Some(("", _)) => Err(format!("{text:?} names no container before the ':'")),
        Some((_, "")) => Err(format!("{text:?} names no path after the ':'")),
        // Paths in a container start at its root, whatever its working directory is.
        Some((container, path)) => Ok(Side::There {
            container: container.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        }),
    }
}

impl std::str::FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Side, String> {
        parse(text)
    }
}

/// The last part of a path; `None` for `/`, `.` and `..`, which have no name of their own.
pub(crate) fn base_name(path: &str) -> Option<&str> {
    let trimmed = path.trim_end_matches('/');
    let base = trimmed.rsplit('/').next().unwrap_or(trimmed);
    (!matches!(base, "" | "." | "..")).then_some(base)
}

/// The directory that holds an absolute path's last part.
pub(crate) fn directory_of(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rfind('/') {
        Some(0) | None => "/".to_owned(),
        Some(at) => trimmed[..at].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        let here = |path: &str| Ok(Side::Here(path.to_owned()));
        let there = |container: &str, path: &str| {
            Ok(Side::There {
                container: container.to_owned(),
                path: path.to_owned(),
            })
        };
        assert_eq!(parse("-"), Ok(Side::Stream));
        assert_eq!(parse("file"), here("file"));
        assert_eq!(parse("./a:b"), here("./a:b"));
        assert_eq!(parse("/a:b"), here("/a:b"));
        assert_eq!(parse("web:/etc"), there("web", "/etc"));
        assert_eq!(parse("web:etc"), there("web", "/etc"));
        for text in ["", ":/etc", "web:"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_of_paths() {
        let table = [
            ("/etc/hosts", Some("hosts"), "/etc"),
            ("/etc/", Some("etc"), "/"),
            ("/", None, "/"),
            ("/a/b/.", None, "/a/b"),
            ("/a/..", None, "/a"),
        ];
        for (path, base, directory) in table {
            assert_eq!(base_name(path), base, "{path}");
            assert_eq!(directory_of(path), directory, "{path}");
        }
    }
}

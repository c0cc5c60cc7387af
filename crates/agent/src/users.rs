//! Users and groups by name, looked up in the container's own files. A number is never a name.

use std::os::fd::AsFd;
use std::path::Path;

use oci::runtime::User;

use crate::error::Error;

/// Longest passwd or group file that is read.
const MAX: u64 = 10 * 1024 * 1024;

/// A user as a request names it; what is empty is not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) uid: String,
    pub(crate) gid: String,
    pub(crate) additional: Vec<String>,
}

impl Named {
    pub(crate) fn is_empty(&self) -> bool {
        self.uid.is_empty() && self.gid.is_empty() && self.additional.is_empty()
    }
}

/// Puts the numbers of `named` into `user`: what is set wins over the numbers that are there.
///
/// # Errors
/// A name that the files below `root` do not have.
pub(crate) fn resolve(root: impl AsFd, named: &Named, user: &mut User) -> Result<(), Error> {
    if !named.uid.is_empty() {
        match number("user", &named.uid)? {
            Some(uid) => user.uid = uid,
            None => {
                let fields = entry(&root, "/etc/passwd", "user", &named.uid)?;
                user.uid = fields.0;
                // The group that goes with the name, unless another is named.
                user.gid = fields.1.unwrap_or(user.gid);
            }
        }
    }
    if !named.gid.is_empty() {
        user.gid = group(&root, &named.gid)?;
    }
    if !named.additional.is_empty() {
        let groups = named.additional.iter().map(|name| group(&root, name));
        user.additional_gids = groups.collect::<Result<_, _>>()?;
    }
    Ok(())
}

fn group(root: &impl AsFd, name: &str) -> Result<u32, Error> {
    match number("group", name)? {
        Some(gid) => Ok(gid),
        None => entry(root, "/etc/group", "group", name).map(|(gid, _)| gid),
    }
}

/// None: not all digits.
fn number(what: &str, text: &str) -> Result<Option<u32>, Error> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let number = text.parse().map_err(|_| {
        Error::invalid(
            format!("{what} {text:?}"),
            "the number is too large for an id",
        )
    });
    number.map(Some)
}

/// The third field, and the fourth if it is a number, of the line that begins with `name`.
fn entry(
    root: &impl AsFd,
    file: &str,
    what: &str,
    name: &str,
) -> Result<(u32, Option<u32>), Error> {
    let unknown = |why: String| Error::invalid(format!("{what} {name:?}"), why);
    let bytes = sys::in_root::read(root, Path::new(file), MAX)
        .map_err(|e| unknown(format!("cannot read {file} of the container: {e}")))?;
    let found = bytes.split(|b| *b == b'\n').find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let fields: Vec<_> = line.split(':').collect();
        let id = fields.get(2)?.parse().ok()?;
        let next = fields.get(3).and_then(|f| f.parse().ok());
        (fields[0] == name).then_some((id, next))
    });
    found.ok_or_else(|| unknown(format!("{file} of the container does not have it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_those_of_the_container() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/:\nbroken\nweb:x:33:34:w:/:/bin/sh\n99999999999:x:7:7::/:\n";
        fs::write(temp.path().join("etc/passwd"), passwd).unwrap();
        fs::write(temp.path().join("etc/group"), "web:x:35:root\nlog:x:36:\n").unwrap();
        let root = sys::in_root::dir(temp.path()).unwrap();
        let of = |uid: &str, gid: &str, more: &[&str]| {
            let named = Named {
                uid: uid.into(),
                gid: gid.into(),
                additional: more.iter().map(|g| (*g).to_owned()).collect(),
            };
            let mut user = User {
                uid: 1,
                gid: 2,
                ..User::default()
            };
            resolve(&root, &named, &mut user).ok()?;
            Some((user.uid, user.gid, user.additional_gids))
        };
        assert_eq!(of("web", "", &[]), Some((33, 34, vec![])));
        assert_eq!(of("web", "web", &["log", "7"]), Some((33, 35, vec![36, 7])));
        assert_eq!(of("12", "", &[]), Some((12, 2, vec![])));
        assert_eq!(of("", "5", &[]), Some((1, 5, vec![])));
        assert_eq!(of("nobody", "", &[]), None);
        assert_eq!(of("99999999999", "", &[]), None, "a number is no name");
        fs::remove_file(temp.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", temp.path().join("etc/passwd")).unwrap();
        assert_eq!(of("root", "", &[]), None, "links do not lead out");
    }
}

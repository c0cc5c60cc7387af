//! Users and groups of a container, from the image's own `passwd` and `group` texts.
//!
//! ```text
//!  USER          uid          gid                        member_of
//!  ""            0            passwd's of uid 0, else 0   groups that list that name
//!  "7"           7            passwd's of uid 7, else 0   groups that list that name
//!  "web"         passwd's     passwd's                    groups that list "web"
//!  "web:www"     passwd's     group's                     groups that list "web"
//!  "7:7"         7            7                           groups that list uid 7's name
//! ```
//!
//! Digits are always a number and never a name (CVE-2024-40635): out of range is an error. The
//! texts come from a hostile image: a line that is too long or malformed is passed over, nothing
//! else is read than what was given (no NSS).
//!
//! Docker gives no supplementary groups when a group is named explicitly; CRI's Merge policy gives
//! them always. The caller decides: [`Identity::member_of`] says what the image's files say.

/// Bytes of a passwd or group file that are read at most.
pub const FILE_MAX: u64 = 10 << 20;
/// A line longer than this is passed over: 64 KiB is 6,000 members.
const LINE_MAX: usize = 64 << 10;

/// What a USER string means in one image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The user id.
    pub uid: u32,
    /// The primary group id.
    pub gid: u32,
    /// Groups that list the user as a member, sorted, without duplicates; may hold `gid`.
    pub member_of: Vec<u32>,
    /// The user's name if passwd has one.
    pub name: Option<String>,
    /// The home directory if passwd has one.
    pub home: Option<String>,
}

/// Why a USER string has no meaning in this image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// All digits, but no valid 32-bit id.
    #[error("{0:?} is no valid user or group id (0 to 4294967294)")]
    Id(String),
    /// Not in passwd.
    #[error("user {0:?} is not in the image's /etc/passwd")]
    UnknownUser(String),
    /// Not in group.
    #[error("group {0:?} is not in the image's /etc/group")]
    UnknownGroup(String),
    /// Empty parts or more than one colon.
    #[error("{0:?} is no user (expected user, uid, user:group or uid:gid)")]
    Malformed(String),
}

/// Resolves an image's USER string, or a CRI `run_as_username`, or `uid[:gid]`.
///
/// # Errors
/// A name that the texts do not know, digits out of range, or a string of another form.
pub fn resolve(user: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Error> {
    let malformed = || Error::Malformed(user.to_owned());
    let (user_part, group_part) = match user.split_once(':') {
        Some((u, g)) if u.is_empty() || g.is_empty() || g.contains(':') => return Err(malformed()),
        Some((u, g)) => (u, Some(g)),
        None => (user, None),
    };
    if user.contains(['\n', '\0']) {
        return Err(malformed());
    }
    let mut identity = match numeric(user_part)? {
        Some(uid) => by_id(uid, passwd, group),
        None if user_part.is_empty() => by_id(0, passwd, group),
        None => by_name(user_part, passwd, group)?,
    };
    if let Some(group_part) = group_part {
        identity.gid = match numeric(group_part)? {
            Some(gid) => gid,
            None => group_id(group_part, group)?,
        };
    }
    Ok(identity)
}

/// Resolves a bare user id (CRI `run_as_user`): never fails, an unknown id has gid 0 and no home.
#[must_use]
pub fn by_id(uid: u32, passwd: &[u8], group: &[u8]) -> Identity {
    match accounts(passwd).find(|account| account.uid == uid) {
        Some(account) => account.identity(group),
        None => Identity {
            uid,
            ..Identity::default()
        },
    }
}

/// Resolves a user by name only (CRI `run_as_username`); digits are refused as a name.
///
/// # Errors
/// The name is all digits, or not in `passwd`.
pub fn by_name(name: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Error> {
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::UnknownUser(name.to_owned()));
    }
    accounts(passwd)
        .find(|account| account.name == name.as_bytes())
        .map(|account| account.identity(group))
        .ok_or_else(|| Error::UnknownUser(name.to_owned()))
}

/// The id of a group by name.
///
/// # Errors
/// The name is not in `group`.
pub fn group_id(name: &str, group: &[u8]) -> Result<u32, Error> {
    groups(group)
        .find(|entry| entry.name == name.as_bytes())
        .map(|entry| entry.gid)
        .ok_or_else(|| Error::UnknownGroup(name.to_owned()))
}

/// Digits that are a valid id. `u32::MAX` is the kernel's "no id" and is none.
pub(crate) fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|&id| id != u32::MAX)
}

/// `Some` for a valid id, `None` for what is no number at all.
fn numeric(text: &str) -> Result<Option<u32>, Error> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    parse_id(text)
        .map(Some)
        .ok_or_else(|| Error::Id(text.to_owned()))
}

struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

impl Account<'_> {
    fn identity(&self, group: &[u8]) -> Identity {
        let mut member_of: Vec<u32> = groups(group)
            .filter(|entry| entry.members.split(|&b| b == b',').any(|m| m == self.name))
            .map(|entry| entry.gid)
            .collect();
        member_of.sort_unstable();
        member_of.dedup();
        let text = |bytes: &[u8]| {
            std::str::from_utf8(bytes)
                .ok()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        Identity {
            uid: self.uid,
            gid: self.gid,
            member_of,
            name: text(self.name),
            home: text(self.home),
        }
    }
}

struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && line.len() <= LINE_MAX && line[0] != b'#')
}

fn id(field: &[u8]) -> Option<u32> {
    parse_id(std::str::from_utf8(field).ok()?)
}

/// `name:password:uid:gid:gecos:home:shell`; the fields after gid may be missing.
fn accounts(text: &[u8]) -> impl Iterator<Item = Account<'_>> {
    lines(text).filter_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        Some(Account {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

/// `name:password:gid:member,member`
fn groups(text: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(text).filter_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n# comment\n\nbroken\nweb:x:33:33::/srv:/bin/false\n\
        7:x:99:99::/seven:/bin/sh\nbig:x:4294967295:0::/:\nshort:x:50:60\nvi\xff:x:70:70:::\n";
    const GROUP: &[u8] =
        b"root:x:0:\nwww:x:33:\nlog:x:4:web,root\ntape:x:26:web\nlog2:x:4:web\nbad:x:no:web\n";

    #[test]
    fn users_mean_what_the_files_say() {
        for (user, uid, gid, member_of, home) in [
            ("", 0, 0, vec![4], Some("/root")),
            ("0", 0, 0, vec![4], Some("/root")),
            ("root", 0, 0, vec![4], Some("/root")),
            ("web", 33, 33, vec![4, 26], Some("/srv")),
            ("33", 33, 33, vec![4, 26], Some("/srv")),
            ("web:log", 33, 4, vec![4, 26], Some("/srv")),
            ("web:1234", 33, 1234, vec![4, 26], Some("/srv")),
            ("1000", 1000, 0, vec![], None),
            ("1000:1000", 1000, 1000, vec![], None),
            ("7", 7, 0, vec![], None),
            ("short", 50, 60, vec![], None),
        ] {
            let got = resolve(user, PASSWD, GROUP).unwrap();
            assert_eq!(
                (got.uid, got.gid, got.member_of, got.home.as_deref()),
                (uid, gid, member_of, home),
                "{user:?}"
            );
        }
    }

    #[test]
    fn digits_are_never_a_name_and_must_be_in_range() {
        for user in [
            "4294967295",
            "4294967296",
            "99999999999999999999",
            "0:4294967296",
        ] {
            assert!(
                matches!(resolve(user, PASSWD, GROUP), Err(Error::Id(_))),
                "{user}"
            );
        }
        assert_eq!(
            by_name("7", PASSWD, GROUP),
            Err(Error::UnknownUser("7".into()))
        );
    }

    #[test]
    fn unknown_and_malformed_users_are_errors() {
        for (user, error) in [
            ("nobody", Error::UnknownUser("nobody".into())),
            ("big", Error::UnknownUser("big".into())),
            ("web:none", Error::UnknownGroup("none".into())),
            (":33", Error::Malformed(":33".into())),
            ("web:", Error::Malformed("web:".into())),
            ("a:b:c", Error::Malformed("a:b:c".into())),
            ("a\nb", Error::Malformed("a\nb".into())),
        ] {
            assert_eq!(resolve(user, PASSWD, GROUP), Err(error), "{user}");
        }
    }

    #[test]
    fn an_overlong_line_is_passed_over() {
        let mut group = b"huge:x:5:".to_vec();
        group.extend(std::iter::repeat_n(b'a', LINE_MAX));
        group.extend_from_slice(b",web\nsmall:x:6:web\n");
        assert_eq!(resolve("web", PASSWD, &group).unwrap().member_of, [6]);
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(user in ".{0,20}", passwd: Vec<u8>, group: Vec<u8>) {
            if let Ok(identity) = resolve(&user, &passwd, &group) {
                prop_assert_ne!(identity.uid, u32::MAX);
                prop_assert_ne!(identity.gid, u32::MAX);
            }
        }
    }
}

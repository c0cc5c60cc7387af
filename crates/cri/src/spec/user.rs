//! Who runs the process: uid, primary gid, supplemental groups and home.
//!
//! ```text
//! run_as_username   must be in the image's passwd
//! run_as_user       any number; its gid from passwd, else 0
//! neither           the image's USER: "", uid, name, uid:gid, uid:group, name:gid, name:group
//! run_as_group      replaces the primary gid
//! groups            primary, [Merge: those of /etc/group that list the user], the requested ones
//! ```
//! An all-digit USER is a number and never a name (CVE-2024-40635).

use super::{ImageInput, RootfsFiles, SpecError};
use crate::domain::{ContainerSecurity, GroupsPolicy};

const CONTEXT: &str = "linux.security_context";

/// The largest id: 2^32-1 is "no change" to the kernel.
const MAX_ID: u32 = u32::MAX - 1;

/// A process's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplemental group ids, the primary one first (CVE-2022-36109), each once.
    pub groups: Vec<u32>,
    /// Home directory from passwd; empty where it has none.
    pub home: String,
}

/// Resolves the identity that a request and an image ask for.
pub(super) fn resolve(
    security: &ContainerSecurity,
    image: &ImageInput,
    files: &RootfsFiles,
) -> Result<ResolvedUser, SpecError> {
    let database = Database::new(files);
    let (mut account, group) = match (security.run_as_user, security.run_as_username.as_str()) {
        (Some(_), name) if !name.is_empty() => {
            let what = format!("{name:?} is set together with run_as_user; set one of them");
            return Err(SpecError::invalid(
                format!("{CONTEXT}.run_as_username"),
                what,
            ));
        }
        (Some(uid), _) => (database.by_uid(id("run_as_user", uid)?), None),
        (None, "") if security.run_as_group.is_some() => {
            let what = "is set without run_as_user or run_as_username";
            return Err(SpecError::invalid(format!("{CONTEXT}.run_as_group"), what));
        }
        (None, "") => said(&database, &image.user, "its", |what| SpecError::Image {
            image: image.name.clone(),
            what,
        })?,
        (None, name) => {
            let what = || format!("the image's /etc/passwd has no user {name:?}");
            let account = database
                .by_name(name)
                .ok_or_else(|| SpecError::invalid(format!("{CONTEXT}.run_as_username"), what()))?;
            (account, None)
        }
    };
    if let Some(gid) = security.run_as_group {
        account.gid = id("run_as_group", gid)?;
    } else if let Some(gid) = group {
        account.gid = gid;
    }
    let mut groups = vec![account.gid];
    if security.supplemental_groups_policy == GroupsPolicy::Merge {
        groups.extend(database.groups_of(&account.name));
    }
    for gid in &security.supplemental_groups {
        groups.push(id("supplemental_groups", *gid)?);
    }
    Ok(ResolvedUser {
        uid: account.uid,
        gid: account.gid,
        groups: once(groups),
        home: account.home,
    })
}

fn id(field: &str, number: i64) -> Result<u32, SpecError> {
    u32::try_from(number)
        .ok()
        .filter(|id| *id <= MAX_ID)
        .ok_or_else(|| {
            SpecError::invalid(
                format!("{CONTEXT}.{field}"),
                format!("{number} is not an id"),
            )
        })
}

/// The identity that an exec asks for by `text`, in the words of the container's own files.
///
/// # Errors
/// [`SpecError::Invalid`].
pub(super) fn of_exec(text: &str, files: &RootfsFiles) -> Result<ResolvedUser, SpecError> {
    let database = Database::new(files);
    let wrong = |what: String| SpecError::invalid("user", what);
    let (account, group) = said(&database, text, "the", wrong)?;
    let gid = group.unwrap_or(account.gid);
    Ok(ResolvedUser {
        uid: account.uid,
        gid,
        groups: once(std::iter::once(gid).chain(database.groups_of(&account.name))),
        home: account.home,
    })
}

/// Each group once, in the order of first mention.
fn once(groups: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut seen = std::collections::HashSet::new();
    let mut groups: Vec<u32> = groups.into_iter().collect();
    groups.retain(|gid| seen.insert(*gid));
    groups
}

/// `USER[:GROUP]`, names or ids, as an image's `USER` has it; the group is answered if it was said.
/// `whose` they are in the sentences of `wrong`.
fn said(
    database: &Database<'_>,
    text: &str,
    whose: &str,
    wrong: impl Fn(String) -> SpecError,
) -> Result<(Account, Option<u32>), SpecError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let account = match parse(user).map_err(|what| wrong(format!("{whose} user {what}")))? {
        Said::Nothing => database.by_uid(0),
        Said::Number(uid) => database.by_uid(uid),
        Said::Name(name) => database
            .by_name(name)
            .ok_or_else(|| wrong(format!("{whose} user {name:?} is not in its /etc/passwd")))?,
    };
    let gid =
        match parse(group.unwrap_or_default())
            .map_err(|what| wrong(format!("{whose} group {what}")))?
        {
            Said::Nothing => None,
            Said::Number(gid) => Some(gid),
            Said::Name(name) => Some(database.gid_of(name).ok_or_else(|| {
                wrong(format!("{whose} group {name:?} is not in its /etc/group"))
            })?),
        };
    Ok((account, gid))
}

enum Said<'a> {
    Nothing,
    Number(u32),
    Name(&'a str),
}

fn parse(text: &str) -> Result<Said<'_>, String> {
    if text.is_empty() {
        Ok(Said::Nothing)
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        match text.parse() {
            Ok(number) if number <= MAX_ID => Ok(Said::Number(number)),
            _ => Err(format!("{text:?} is not an id: ids go to {MAX_ID}")),
        }
    } else {
        Ok(Said::Name(text))
    }
}

/// A line of passwd, or what stands for it.
#[derive(Debug, Clone, Default)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// The image's users and groups. Lines that can't be read are passed over, as libc does.
struct Database<'a> {
    passwd: &'a str,
    group: &'a str,
}

impl<'a> Database<'a> {
    fn new(files: &'a RootfsFiles) -> Database<'a> {
        Database {
            passwd: files.passwd.as_deref().unwrap_or_default(),
            group: files.group.as_deref().unwrap_or_default(),
        }
    }

    fn accounts(&self) -> impl Iterator<Item = Account> {
        self.passwd.lines().filter_map(|line| {
            // name:password:uid:gid:comment:home:shell
            let mut fields = line.trim_start().split(':');
            let name = fields
                .next()
                .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            let home = fields.nth(1).unwrap_or_default();
            Some(Account {
                name: name.to_owned(),
                uid,
                gid,
                home: home.to_owned(),
            })
        })
    }

    /// The account with this uid; one that passwd does not know has gid 0 and neither name nor home.
    fn by_uid(&self, uid: u32) -> Account {
        self.accounts()
            .find(|account| account.uid == uid)
            .unwrap_or(Account {
                uid,
                ..Account::default()
            })
    }

    fn by_name(&self, name: &str) -> Option<Account> {
        self.accounts().find(|account| account.name == name)
    }

    /// name:password:gid:member,member
    fn groups(&self) -> impl Iterator<Item = (&'a str, u32, &'a str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.trim_start().split(':');
            let name = fields
                .next()
                .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }

    fn gid_of(&self, name: &str) -> Option<u32> {
        self.groups()
            .find(|(known, ..)| *known == name)
            .map(|(_, gid, _)| gid)
    }

    /// Groups that list the user; none for a uid without a name.
    fn groups_of(&self, user: &str) -> Vec<u32> {
        self.groups()
            .filter(|(_, _, members)| {
                !user.is_empty() && members.split(',').any(|member| member.trim() == user)
            })
            .map(|(_, gid, _)| gid)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> RootfsFiles {
        RootfsFiles {
            passwd: Some(
                "root:x:0:0:root:/root:/bin/sh\n\
                 # a comment:x:9:9\n\
                 broken\n\
                 web:x:1000:1001:Web,,,:/srv/web:/bin/sh\n\
                 123:x:55:55::/nowhere:/bin/sh\n\
                 short:x:7:8\n"
                    .to_owned(),
            ),
            group: Some(
                "root:x:0:\nwheel:x:10:root,web\nweb:x:1001:\nmedia:x:2000: web ,x\nbad:x:z:web\n"
                    .to_owned(),
            ),
        }
    }

    fn image(user: &str) -> ImageInput {
        ImageInput {
            name: "i".to_owned(),
            user: user.to_owned(),
            ..Default::default()
        }
    }

    fn plain() -> ContainerSecurity {
        ContainerSecurity::default()
    }

    fn resolved(security: &ContainerSecurity, user: &str) -> (u32, u32, Vec<u32>, String) {
        let user = resolve(security, &image(user), &files()).unwrap();
        (user.uid, user.gid, user.groups, user.home)
    }

    #[test]
    fn the_images_user_in_all_its_forms() {
        let table: [(&str, u32, u32, &[u32], &str); 9] = [
            ("", 0, 0, &[0, 10], "/root"),
            ("web", 1000, 1001, &[1001, 10, 2000], "/srv/web"),
            ("1000", 1000, 1001, &[1001, 10, 2000], "/srv/web"),
            ("4711", 4711, 0, &[0], ""),
            ("1000:5", 1000, 5, &[5, 10, 2000], "/srv/web"),
            ("1000:media", 1000, 2000, &[2000, 10], "/srv/web"),
            ("web:wheel", 1000, 10, &[10, 2000], "/srv/web"),
            ("web:", 1000, 1001, &[1001, 10, 2000], "/srv/web"),
            ("short", 7, 8, &[8], ""),
        ];
        for (user, uid, gid, groups, home) in table {
            let expected = (uid, gid, groups.to_vec(), home.to_owned());
            assert_eq!(resolved(&plain(), user), expected, "{user:?}");
        }
    }

    #[test]
    fn digits_are_never_a_name() {
        // "123" is also the name of a user with uid 55.
        assert_eq!(resolved(&plain(), "123").0, 123);
        for user in [
            "4294967295",
            "4294967296",
            "99999999999999999999",
            "web:4294967295",
        ] {
            let error = resolve(&plain(), &image(user), &files())
                .unwrap_err()
                .to_string();
            assert!(error.contains("is not an id"), "{user}: {error}");
        }
        assert_eq!(resolved(&plain(), "4294967294").0, 4_294_967_294);
    }

    #[test]
    fn names_that_the_image_does_not_have_are_errors() {
        for (user, expected) in [
            ("ghost", "\"ghost\" is not in its /etc/passwd"),
            ("web:ghosts", "\"ghosts\" is not in its /etc/group"),
            ("-1", "\"-1\" is not in its /etc/passwd"),
            ("web\nroot", "is not in its /etc/passwd"),
        ] {
            let error = resolve(&plain(), &image(user), &files())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = resolve(&plain(), &image("web"), &RootfsFiles::default()).unwrap_err();
        assert!(error.to_string().contains("\"web\""), "{error}");
    }

    #[test]
    fn the_request_wins_over_the_image() {
        let by_uid = ContainerSecurity {
            run_as_user: Some(1000),
            ..plain()
        };
        assert_eq!(
            resolved(&by_uid, "ghost"),
            (1000, 1001, vec![1001, 10, 2000], "/srv/web".into())
        );
        let by_name = ContainerSecurity {
            run_as_username: "web".to_owned(),
            ..plain()
        };
        assert_eq!(
            resolved(&by_name, "0"),
            (1000, 1001, vec![1001, 10, 2000], "/srv/web".into())
        );
        let group = ContainerSecurity {
            run_as_group: Some(77),
            ..by_uid
        };
        assert_eq!(
            resolved(&group, ""),
            (1000, 77, vec![77, 10, 2000], "/srv/web".into())
        );
        // A presence, not a number: 0 is a request.
        let zero = ContainerSecurity {
            run_as_user: Some(0),
            ..plain()
        };
        assert_eq!(resolved(&zero, "web").0, 0);
    }

    #[test]
    fn supplemental_groups_merge_or_not() {
        let merge = ContainerSecurity {
            run_as_user: Some(1000),
            supplemental_groups: vec![60000, 10, 50000],
            ..plain()
        };
        assert_eq!(resolved(&merge, "").2, [1001, 10, 2000, 60000, 50000]);
        let strict = ContainerSecurity {
            supplemental_groups_policy: GroupsPolicy::Strict,
            ..merge
        };
        assert_eq!(resolved(&strict, "").2, [1001, 60000, 10, 50000]);
    }

    #[test]
    fn what_contradicts_itself_is_an_error_that_names_the_field() {
        let table = [
            (
                ContainerSecurity {
                    run_as_user: Some(1),
                    run_as_username: "web".to_owned(),
                    ..plain()
                },
                "run_as_username",
            ),
            (
                ContainerSecurity {
                    run_as_group: Some(1),
                    ..plain()
                },
                "run_as_group",
            ),
            (
                ContainerSecurity {
                    run_as_user: Some(-1),
                    ..plain()
                },
                "run_as_user",
            ),
            (
                ContainerSecurity {
                    run_as_user: Some(1 << 32),
                    ..plain()
                },
                "run_as_user",
            ),
            (
                ContainerSecurity {
                    supplemental_groups: vec![-5],
                    ..plain()
                },
                "supplemental_groups",
            ),
            (
                ContainerSecurity {
                    run_as_username: "no".to_owned(),
                    ..plain()
                },
                "run_as_username",
            ),
        ];
        for (security, field) in table {
            let error = resolve(&security, &image(""), &files())
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("{CONTEXT}.{field}: ")),
                "{error}"
            );
        }
    }
}

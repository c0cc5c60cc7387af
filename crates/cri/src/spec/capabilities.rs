//! Capabilities: the default set, changed as the request says.

use oci::runtime::LinuxCapabilities;
pub(super) use oci::runtime::capability::NAMES as ALL;

use super::SpecError;
use crate::domain::{Capabilities, ContainerSecurity};

/// What a container has when nobody says anything: containerd's and Docker's set.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The five sets. In this order: `add: ALL`, `drop: ALL`, the names of `add`, those of `drop`,
/// the ambient ones. Inheritable stays empty but for ambient ones (CVE-2022-29162).
///
/// `ALL` means all that the host can give (`bounding`, bits by number), named ones are passed on and
/// refused by the launch where the host can't give them.
pub(super) fn capabilities(
    security: &ContainerSecurity,
    bounding: u64,
) -> Result<LinuxCapabilities, SpecError> {
    let wanted = Wanted::parse(&security.capabilities)?;
    let all = |set: &mut Set| {
        *set = Set((0..ALL.len())
            .filter(|bit| bounding >> bit & 1 == 1)
            .collect());
    };
    let mut set = Set(DEFAULT.iter().filter_map(|name| number(name)).collect());
    if security.privileged {
        all(&mut set);
    } else {
        if wanted.add_all {
            all(&mut set);
        }
        if wanted.drop_all {
            set.0.clear();
        }
        set.0.extend(&wanted.add);
        set.0.retain(|bit| !wanted.drop.contains(bit));
    }
    let mut ambient = Set(wanted.ambient.clone());
    if wanted.ambient_all {
        all(&mut ambient);
    }
    set.0.extend(&ambient.0);
    let (set, ambient) = (set.names(), ambient.names());
    Ok(LinuxCapabilities {
        bounding: set.clone(),
        effective: set.clone(),
        permitted: set,
        inheritable: ambient.clone(),
        ambient,
    })
}

struct Set(Vec<usize>);

impl Set {
    /// Sorted by number, each once.
    fn names(mut self) -> Vec<String> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0.into_iter().map(|bit| ALL[bit].to_owned()).collect()
    }
}

struct Wanted {
    add: Vec<usize>,
    drop: Vec<usize>,
    ambient: Vec<usize>,
    add_all: bool,
    drop_all: bool,
    ambient_all: bool,
}

impl Wanted {
    fn parse(said: &Capabilities) -> Result<Wanted, SpecError> {
        let (add, add_all) = parse("add_capabilities", &said.add)?;
        let (drop, drop_all) = parse("drop_capabilities", &said.drop)?;
        let (ambient, ambient_all) = parse("add_ambient_capabilities", &said.add_ambient)?;
        Ok(Wanted {
            add,
            drop,
            ambient,
            add_all,
            drop_all,
            ambient_all,
        })
    }
}

fn parse(field: &str, names: &[String]) -> Result<(Vec<usize>, bool), SpecError> {
    let mut numbers = Vec::new();
    let mut all = false;
    for name in names {
        if name.eq_ignore_ascii_case("ALL") {
            all = true;
        } else if let Some(number) = number(name) {
            numbers.push(number);
        } else {
            let field = format!("linux.security_context.capabilities.{field}");
            return Err(SpecError::invalid(
                field,
                format!("{name:?} is not a capability"),
            ));
        }
    }
    Ok((numbers, all))
}

/// The number of `CAP_KILL`, `KILL` or `kill`.
fn number(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    ALL.iter()
        .position(|known| known.strip_prefix("CAP_") == Some(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: u64 = (1 << ALL.len()) - 1;

    fn security(add: &[&str], drop: &[&str], ambient: &[&str]) -> ContainerSecurity {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ContainerSecurity {
            capabilities: Capabilities {
                add: list(add),
                drop: list(drop),
                add_ambient: list(ambient),
            },
            ..Default::default()
        }
    }

    fn bounding(security: &ContainerSecurity) -> Vec<String> {
        let sets = capabilities(security, EVERYTHING).unwrap();
        assert_eq!(sets.bounding, sets.effective);
        assert_eq!(sets.bounding, sets.permitted);
        sets.bounding
    }

    #[test]
    fn nothing_said_is_the_known_set_with_nothing_inheritable() {
        let sets = capabilities(&security(&[], &[], &[]), EVERYTHING).unwrap();
        let mut expected: Vec<&str> = DEFAULT.to_vec();
        expected.sort_by_key(|name| number(name));
        assert_eq!(sets.bounding, expected);
        assert!(sets.inheritable.is_empty() && sets.ambient.is_empty());
    }

    #[test]
    fn all_the_ways_of_adding_and_dropping() {
        let table: [(&[&str], &[&str], &[&str]); 5] = [
            (&[], &["ALL"], &[]),
            (&["NET_ADMIN"], &["ALL"], &["CAP_NET_ADMIN"]),
            (
                &["cap_net_admin", "Kill"],
                &["all"],
                &["CAP_KILL", "CAP_NET_ADMIN"],
            ),
            (&["ALL"], &["ALL"], &[]),
            (&["KILL"], &["ALL", "KILL"], &[]),
        ];
        for (add, drop, expected) in table {
            assert_eq!(
                bounding(&security(add, drop, &[])),
                expected,
                "+{add:?} -{drop:?}"
            );
        }
        let all_but_one = bounding(&security(&["ALL"], &["CAP_SYS_ADMIN"], &[]));
        assert_eq!(all_but_one.len(), ALL.len() - 1);
        assert!(!all_but_one.contains(&"CAP_SYS_ADMIN".to_owned()));
        let one_more = bounding(&security(&["SYS_TIME", "SYS_TIME"], &[], &[]));
        assert_eq!(one_more.len(), DEFAULT.len() + 1);
    }

    #[test]
    fn all_is_what_the_host_can_give_and_a_named_one_is_passed_on() {
        let two = 1 << 0 | 1 << 5;
        let sets = capabilities(&security(&["ALL"], &[], &[]), two).unwrap();
        assert_eq!(sets.bounding, ["CAP_CHOWN", "CAP_KILL"]);
        let privileged = ContainerSecurity {
            privileged: true,
            ..security(&[], &["ALL"], &[])
        };
        assert_eq!(
            capabilities(&privileged, two).unwrap().bounding,
            ["CAP_CHOWN", "CAP_KILL"]
        );
        let named = capabilities(&security(&["SYS_TIME"], &["ALL"], &[]), two).unwrap();
        assert_eq!(named.bounding, ["CAP_SYS_TIME"]);
    }

    #[test]
    fn ambient_ones_are_in_every_set() {
        let sets = capabilities(&security(&[], &["ALL"], &["NET_RAW"]), EVERYTHING).unwrap();
        for set in [
            sets.bounding,
            sets.effective,
            sets.permitted,
            sets.inheritable,
            sets.ambient,
        ] {
            assert_eq!(set, ["CAP_NET_RAW"]);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_where() {
        let error = capabilities(&security(&[], &["FLY"], &[]), EVERYTHING).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.security_context.capabilities.drop_capabilities: \"FLY\" is not a capability"
        );
    }
}

//! The mappings of a mount in its options, as crun's users write them:
//!
//! ```text
//!  idmap=uids=0-1000-1#1-2000-10;gids=@0-0-10      FROM-TO-COUNT, several with #
//!                                                  @: TO is an id in the container
//! ```

use oci::runtime as spec;

use super::IdMaps;

pub(super) fn parse(text: &str, linux: Option<&spec::Linux>) -> Result<IdMaps, String> {
    let (mut uid, mut gid) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (list, of_container, extents) = match part.split_once('=') {
            Some(("uids", list)) => (list, linux.map(|l| &l.uid_mappings), &mut uid),
            Some(("gids", list)) => (list, linux.map(|l| &l.gid_mappings), &mut gid),
            _ => {
                return Err(format!(
                    "idmap={text}: {part:?} is neither uids=… nor gids=…"
                ));
            }
        };
        let of_container = of_container.map(Vec::as_slice).unwrap_or_default();
        for word in list.split('#') {
            let extent = extent(word, of_container);
            extents.push(extent.ok_or_else(|| {
                format!(
                    "idmap={text}: {word:?} is no FROM-TO-COUNT of 32-bit ids (with @ before it TO is an \
                     id that the container has)"
                )
            })?);
        }
    }
    if uid.is_empty() || gid.is_empty() {
        return Err(format!("idmap={text}: it takes both uids and gids"));
    }
    Ok(IdMaps::new(&uid, &gid))
}

fn extent(word: &str, of_container: &[spec::LinuxIdMapping]) -> Option<spec::LinuxIdMapping> {
    let (word, relative) = match word.strip_prefix('@') {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    let mut numbers = word.split('-').map(str::parse::<u32>);
    let (from, to, size) = (
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    );
    let last = size.checked_sub(1)?;
    if numbers.next().is_some() || from.checked_add(last).is_none() {
        return None;
    }
    let host_id = match relative {
        true => super::namespaces::on_host(of_container, to, size)?,
        false => to,
    };
    host_id.checked_add(last)?;
    Some(spec::LinuxIdMapping {
        container_id: from,
        host_id,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crun_writes_them_in_the_option() {
        let linux: spec::Linux = serde_json::from_value(serde_json::json!({
            "uidMappings": [{"containerID": 0, "hostID": 5000, "size": 10}],
            "gidMappings": [{"containerID": 0, "hostID": 7000, "size": 10}],
        }))
        .unwrap();
        let maps = parse("uids=0-1-10#10-21-1;gids=@0-2-8", Some(&linux)).unwrap();
        assert_eq!(maps.uid, "0 1 10\n10 21 1\n");
        assert_eq!(maps.gid, "0 7002 8\n");
        for bad in [
            "",
            "uids=0-1-10",
            "gids=0-1-10",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-0;gids=0-1-1",
            "uids=@0-5-6;gids=0-1-1",
            "uids=4294967295-1-2;gids=0-1-1",
            "users=0-1-1;gids=0-1-1",
        ] {
            assert!(parse(bad, Some(&linux)).is_err(), "{bad}");
        }
    }
}

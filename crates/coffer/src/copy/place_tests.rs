use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use tar::{Builder, Header};

use super::*;

/// Name, kind, link, text, mode.
type Row<'a> = (&'a str, EntryType, &'a str, &'a str, u32);

/// A stream that says exactly this: names are written as they are, unlike a builder would.
fn tar(rows: &[Row<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, link, text, mode) in rows {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(text.len() as u64);
        header.set_mode(*mode);
        header.set_uid(4321);
        header.set_gid(4321);
        header.set_mtime(1_000_000_000);
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

struct Place {
    _keep: tempfile::TempDir,
    inside: PathBuf,
    outside: PathBuf,
}

impl Place {
    fn new() -> Place {
        let keep = tempfile::tempdir().unwrap();
        let (inside, outside) = (keep.path().join("inside"), keep.path().join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        Place {
            _keep: keep,
            inside,
            outside,
        }
    }

    fn put(&self, rows: &[Row<'_>], first: Option<&str>) -> Result<Placed, (PathBuf, io::Error)> {
        let target = Target {
            directory: self.inside.clone(),
            first: first.map(ToOwned::to_owned),
            keep_owner: false,
        };
        place(tar(rows).as_slice(), &target)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.inside.join(name)).unwrap()
    }
}

const DIR: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;

#[test]
fn a_tree_lands_under_its_new_name() {
    let place = Place::new();
    let rows = [
        ("etc", DIR, "", "", 0o555),
        ("etc/hosts", FILE, "", "127.0.0.1\n", 0o4644),
        ("etc/link", LINK, "hosts", "", 0o777),
    ];
    let placed = place.put(&rows, Some("new")).unwrap();
    assert_eq!((placed.entries, placed.bytes), (3, 10));
    assert_eq!(place.read("new/link"), "127.0.0.1\n");
    let file = fs::metadata(place.inside.join("new/hosts")).unwrap();
    assert_eq!(file.permissions().mode() & 0o7777, 0o644, "set-id bits go");
    assert_ne!(file.uid(), 4321);
    assert_eq!(file.mtime(), 1_000_000_000);
    let directory = fs::metadata(place.inside.join("new")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o7777, 0o555);
    assert_eq!(directory.mtime(), 1_000_000_000);
    fs::set_permissions(place.inside.join("new"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn only_the_contents() {
    let place = Place::new();
    let rows = [("etc", DIR, "", "", 0o755), ("etc/a", FILE, "", "x", 0o644)];
    place.put(&rows, None).unwrap();
    assert_eq!(place.read("a"), "x");
}

#[test]
fn what_is_there_is_replaced_and_directories_are_joined() {
    let place = Place::new();
    fs::create_dir(place.inside.join("d")).unwrap();
    fs::write(place.inside.join("d/kept"), "kept").unwrap();
    fs::write(place.outside.join("f"), "mine").unwrap();
    symlink(place.outside.join("f"), place.inside.join("d/f")).unwrap();
    let rows = [("d", DIR, "", "", 0o755), ("d/f", FILE, "", "new", 0o644)];
    place.put(&rows, Some("d")).unwrap();
    assert_eq!(
        (place.read("d/f"), place.read("d/kept")),
        ("new".into(), "kept".into())
    );
    assert_eq!(fs::read_to_string(place.outside.join("f")).unwrap(), "mine");
}

#[test]
fn nothing_lands_outside() {
    let place = Place::new();
    let to = place.outside.display().to_string();
    let through_a_link = [
        ("d", DIR, "", "", 0o755),
        ("d/out", LINK, to.as_str(), "", 0o777),
        ("d/out/f", FILE, "", "bad", 0o644),
    ];
    let (path, error) = place.put(&through_a_link, Some("d")).unwrap_err();
    assert!(path.ends_with("d/out/f"), "{path:?}");
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::LOOP.raw_os_error())
    );
    let rows = [
        ("../f", FILE, "", "bad", 0o644),
        ("/f", FILE, "", "bad", 0o644),
        ("d/../../f", FILE, "", "bad", 0o644),
    ];
    let placed = place.put(&rows, Some("d")).unwrap();
    assert_eq!((placed.entries, placed.skipped.len()), (0, 3));
    assert_eq!(fs::read_dir(&place.outside).unwrap().count(), 0);
    assert!(!place.inside.join("../f").exists());
}

#[test]
fn devices_pipes_and_hard_links_are_skipped_and_told() {
    let place = Place::new();
    let rows = [
        ("x/sda", EntryType::Block, "", "", 0o600),
        ("x/null", EntryType::Char, "", "", 0o600),
        ("x/pipe", EntryType::Fifo, "", "", 0o600),
        ("x/hard", EntryType::Link, "x/null", "", 0o600),
    ];
    fs::create_dir(place.inside.join("x")).unwrap();
    let placed = place.put(&rows, Some("x")).unwrap();
    assert_eq!(placed.skipped.len(), 4);
    assert!(
        placed.skipped[0].contains("a device"),
        "{:?}",
        placed.skipped
    );
}

#[test]
fn a_directory_in_the_way_is_an_error() {
    let place = Place::new();
    fs::create_dir(place.inside.join("f")).unwrap();
    let (path, _) = place
        .put(&[("f", FILE, "", "x", 0o644)], Some("f"))
        .unwrap_err();
    assert!(path.ends_with("inside/f"));
    fs::write(place.inside.join("g"), "").unwrap();
    let (_, error) = place
        .put(&[("g", DIR, "", "", 0o755)], Some("g"))
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
}

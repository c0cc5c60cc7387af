//! The slow way: layers applied one after another to one tree in memory, read by another tar reader.
//! What overlayfs shows of ours is the same tree (path, type, mode, owner, attributes, time, content,
//! links), however many layers are unpacked at a time and wherever they come from.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    process::Command,
    sync::atomic::AtomicBool,
};

use image::{Image, PullOptions, Reference};
use proptest::prelude::*;
use rustix::{
    mount::{MountFlags, mount},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use support::{fixture, memory::Memory};
use tar::EntryType;
use testing::{
    guard,
    image::{Builder, Compression, busybox, pack},
    layer::{Entry, Layer},
};

/// A file as both sides see it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    /// With the type.
    mode: u32,
    owner: (u32, u32),
    device: u64,
    time: (i64, i64),
    xattrs: BTreeMap<String, Vec<u8>>,
    /// Of a file, or where a link leads.
    content: Vec<u8>,
    /// Names of one file have one number.
    inode: u64,
    /// The last layer that has touched it.
    layer: usize,
}

const DIRECTORY: u32 = 0o040_000;
const TYPE: u32 = 0o170_000;
const LINK: u32 = 0o120_000;

/// A tree that layers are applied to.
#[derive(Debug, Default)]
struct Slow {
    nodes: BTreeMap<Vec<u8>, Node>,
    layer: usize,
    inodes: u64,
}

type Bytes = Vec<u8>;

fn below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() && !path.is_empty()
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn join(dir: &[u8], name: &[u8]) -> Bytes {
    if dir.is_empty() {
        name.to_vec()
    } else {
        [dir, name].join(&b'/')
    }
}

impl Slow {
    fn new() -> Self {
        let mut tree = Self::default();
        let root = tree.node(DIRECTORY | 0o755);
        tree.nodes.insert(Vec::new(), root);
        tree
    }

    fn node(&mut self, mode: u32) -> Node {
        self.inodes += 1;
        Node {
            mode,
            owner: (0, 0),
            device: 0,
            time: (0, 0),
            xattrs: BTreeMap::new(),
            content: Vec::new(),
            inode: self.inodes,
            layer: self.layer,
        }
    }

    /// The directory that `path` leads to, links followed, made where it is missing.
    fn directory(&mut self, path: &[u8], links: usize) -> Bytes {
        assert!(links < 40);
        let mut at = Bytes::new();
        for name in path
            .split(|&b| b == b'/')
            .filter(|name| !name.is_empty() && *name != b".")
        {
            let next = join(&at, name);
            match self.nodes.get(&next).cloned() {
                Some(node) if node.mode & TYPE == DIRECTORY => at = next,
                Some(node) if node.mode & TYPE == LINK => {
                    let target = match node.content.strip_prefix(b"/") {
                        Some(absolute) => absolute.to_vec(),
                        None => join(&at, &node.content),
                    };
                    at = self.directory(&target, links + 1);
                }
                Some(node) => panic!("{next:?} is no directory but {node:?}"),
                None => {
                    let node = self.node(DIRECTORY | 0o755);
                    self.nodes.insert(next.clone(), node);
                    at = next;
                }
            }
            let layer = self.layer;
            if let Some(node) = self.nodes.get_mut(&at) {
                node.layer = layer;
            }
        }
        at
    }

    fn remove(&mut self, path: &[u8]) {
        self.nodes
            .retain(|name, _| name != path && !below(name, path));
    }

    fn apply(&mut self, tar: &[u8]) {
        self.layer += 1;
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path_bytes().into_owned();
            let name = name.strip_prefix(b"./").unwrap_or(&name);
            let name = name.strip_suffix(b"/").unwrap_or(name);
            let name = if name == b"." { b"" } else { name };
            let (parent, base) = match name.iter().rposition(|&b| b == b'/') {
                Some(slash) => (&name[..slash], &name[slash + 1..]),
                None => (&b""[..], name),
            };
            let layer = self.layer;
            if base == b".wh..wh..opq" {
                let dir = self.directory(parent, 0);
                self.nodes
                    .retain(|name, node| !below(name, &dir) || node.layer == layer);
                continue;
            }
            if let Some(hidden) = base.strip_prefix(b".wh.") {
                let hidden = join(&self.directory(parent, 0), hidden);
                // What this layer brings itself stays.
                let gone = |name: &[u8]| name == hidden || below(name, &hidden);
                self.nodes
                    .retain(|name, node| !gone(name) || node.layer == layer);
                continue;
            }
            let node = self.describe(&mut entry);
            if name.is_empty() {
                self.nodes.insert(Vec::new(), node);
                continue;
            }
            let path = join(&self.directory(parent, 0), base);
            if entry.header().entry_type() == EntryType::Link {
                let target = entry.link_name_bytes().unwrap().into_owned();
                let target = target.strip_prefix(b"./").unwrap_or(&target);
                let (parent, base) = match target.iter().rposition(|&b| b == b'/') {
                    Some(slash) => (&target[..slash], &target[slash + 1..]),
                    None => (&b""[..], target),
                };
                let target = join(&self.directory(parent, 0), base);
                let node = self.nodes.get(&target).unwrap().clone();
                self.remove(&path);
                self.nodes.insert(path, node);
                continue;
            }
            let both = |old: &Node| {
                (old.mode | node.mode) & TYPE == DIRECTORY && old.mode & TYPE == DIRECTORY
            };
            if !self.nodes.get(&path).is_some_and(both) {
                self.remove(&path);
            }
            self.nodes.insert(path, node);
        }
    }

    fn describe(&mut self, entry: &mut tar::Entry<'_, &[u8]>) -> Node {
        let mut time = (i64::try_from(entry.header().mtime().unwrap()).unwrap(), 0);
        let mut xattrs = BTreeMap::new();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            let key = extension.key().unwrap();
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
            }
            if key == "mtime" {
                let text = extension.value().unwrap();
                let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
                let nanos = format!("{rest:0<9}");
                time = (seconds.parse().unwrap(), nanos[..9].parse().unwrap());
            }
        }
        let header = entry.header();
        let kind = match header.entry_type() {
            EntryType::Directory => DIRECTORY,
            EntryType::Symlink => LINK,
            EntryType::Char => 0o020_000,
            EntryType::Block => 0o060_000,
            EntryType::Fifo => 0o010_000,
            EntryType::Regular | EntryType::Continuous | EntryType::Link => 0o100_000,
            other => panic!("{other:?}"),
        };
        let bits = match kind {
            LINK => 0o777,
            _ => header.mode().unwrap() & 0o7777,
        };
        let number = |field: Option<u32>| field.unwrap_or(0);
        let device = match kind {
            0o020_000 | 0o060_000 => {
                let (major, minor) = (
                    header.device_major().unwrap(),
                    header.device_minor().unwrap(),
                );
                rustix::fs::makedev(number(major), number(minor))
            }
            _ => 0,
        };
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        let content = if kind == LINK {
            entry.link_name_bytes().unwrap().into_owned()
        } else {
            let mut content = Vec::new();
            std::io::Read::read_to_end(entry, &mut content).unwrap();
            content
        };
        Node {
            owner: (
                u32::try_from(owner.0).unwrap(),
                u32::try_from(owner.1).unwrap(),
            ),
            device,
            time,
            xattrs,
            content,
            ..self.node(kind | bits)
        }
    }

    /// What is compared: names instead of numbers for what is linked.
    fn shown(self) -> BTreeMap<Bytes, Shown> {
        shown(self.nodes)
    }
}

/// A node without what differs between two makings, and the other names of its file.
type Shown = (Node, Vec<Bytes>);

fn shown(nodes: BTreeMap<Bytes, Node>) -> BTreeMap<Bytes, Shown> {
    let mut names: BTreeMap<u64, Vec<Bytes>> = BTreeMap::new();
    for (name, node) in nodes
        .iter()
        .filter(|(_, node)| node.mode & TYPE != DIRECTORY)
    {
        names.entry(node.inode).or_default().push(name.clone());
    }
    let alone = |(name, node): (Bytes, Node)| {
        let same = names.get(&node.inode).cloned().unwrap_or_default();
        let node = Node {
            inode: 0,
            layer: 0,
            ..node
        };
        (name, (node, same))
    };
    nodes.into_iter().map(alone).collect()
}

/// The tree below `root` as the kernel shows it.
fn seen(root: &Path) -> BTreeMap<Bytes, Shown> {
    let mut nodes = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        let content = if meta.is_file() {
            fs::read(&path).unwrap()
        } else if meta.is_symlink() {
            fs::read_link(&path)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec()
        } else {
            Vec::new()
        };
        let name = path
            .strip_prefix(root)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec();
        let node = Node {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            device: meta.rdev(),
            time: (meta.mtime(), meta.mtime_nsec()),
            xattrs: support::xattrs(&path),
            content,
            inode: meta.ino(),
            layer: 0,
        };
        nodes.insert(name, node);
    }
    shown(nodes)
}

/// Mounts the image's layers and shows the merged tree.
fn merged(image: &Image) -> BTreeMap<Bytes, Shown> {
    let dir = tempfile::tempdir().unwrap();
    let lower: Vec<String> = image
        .layers
        .iter()
        .map(|layer| layer.display().to_string())
        .collect();
    let (empty, point) = (dir.path().join("empty"), dir.path().join("merged"));
    // One lower directory alone is refused without an upper one.
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&point).unwrap();
    let options = format!("lowerdir={}:{}", lower.join(":"), empty.display());
    let data = std::ffi::CString::new(options).unwrap();
    mount(
        "overlay",
        &point,
        "overlay",
        MountFlags::RDONLY,
        Some(data.as_c_str()),
    )
    .unwrap();
    let _guard = guard::Mount::new(&point);
    seen(&point)
}

/// Runs `work` on one processor: the number of workers follows.
fn alone<T>(work: impl FnOnce() -> T) -> T {
    let all = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
    let done = work();
    sched_setaffinity(None, &all).unwrap();
    done
}

/// Unpacked in every way that there is, `layers` give the reference's tree.
fn same_as_reference(layers: &[Vec<u8>], compression: Compression) {
    let mut reference = Slow::new();
    layers.iter().for_each(|layer| reference.apply(layer));
    let expected = reference.shown();
    let mut builder = Builder::new("a/b:1").compression(compression);
    for layer in layers {
        builder = builder.layer_tar(layer.clone());
    }
    let archive = pack(&builder.oci_files().unwrap());
    let built = builder.build().unwrap();
    let pull = || {
        let f = fixture();
        let reference: Reference = "a/b:1".parse().unwrap();
        let (options, cancel) = (PullOptions::default(), AtomicBool::new(false));
        let image = f
            .store
            .pull(&reference, &Memory(&built), &options, &|_| (), &cancel);
        (image, f)
    };
    let import = || {
        let f = fixture();
        (f.import(&archive).map(|mut images| images.remove(0)), f)
    };
    type Way<'a> = &'a dyn Fn() -> (Result<Image, image::Error>, support::Fixture);
    let ways: [(&str, Way<'_>); 4] = [
        ("imported by one worker", &|| alone(import)),
        ("imported by several", &import),
        ("pulled on one processor", &|| alone(pull)),
        ("pulled", &pull),
    ];
    for (way, make) in ways {
        let (image, _f) = make();
        let image = image.unwrap_or_else(|error| panic!("{way}: {}", error.sentence()));
        let found = merged(&image);
        for (path, node) in &expected {
            let name = String::from_utf8_lossy(path);
            assert_eq!(found.get(path), Some(node), "{way}: {name:?}");
        }
        let more: Vec<_> = found
            .keys()
            .filter(|path| !expected.contains_key(*path))
            .collect();
        assert!(more.is_empty(), "{way}: {more:?} should not be there");
    }
}

/// One change that a generated layer makes.
#[derive(Debug, Clone)]
enum Change {
    Directory(usize, u32, u64),
    File(usize, usize, u32, u64, Vec<u8>),
    Symlink(usize, usize, &'static str),
    /// Another name for a file that the same change makes.
    Linked(usize, usize, usize),
    Device(usize, usize),
    Fifo(usize, usize),
    Whiteout(usize, usize),
    Opaque(usize),
}

/// `via` is a link to `one` in the lowest layer, which stays one.
const DIRS: [&str; 7] = [
    "one",
    "one/two",
    "one/two/three",
    "four",
    "four/five",
    "via",
    "via/two",
];
const NAMES: [&[u8]; 6] = [b"a", b"b", b"two", b"new\nline", b"b\xfft", b"five"];

fn change() -> impl Strategy<Value = Change> {
    let dir = || 0..DIRS.len();
    let name = || 0..NAMES.len();
    let id = || prop_oneof![Just(0u64), Just(1000), Just(4_000_000_000)];
    prop_oneof![
        3 => (dir(), 0u32..0o10_000, id()).prop_map(|(d, m, i)| Change::Directory(d, m, i)),
        5 => (dir(), name(), 0u32..0o10_000, id(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(d, n, m, i, c)| Change::File(d, n, m, i, c)),
        2 => (dir(), name(), prop_oneof![Just("a"), Just("/one"), Just("../nowhere")])
            .prop_map(|(d, n, t)| Change::Symlink(d, n, t)),
        2 => (dir(), name(), name()).prop_map(|(d, n, m)| Change::Linked(d, n, m)),
        1 => (dir(), name()).prop_map(|(d, n)| Change::Device(d, n)),
        1 => (dir(), name()).prop_map(|(d, n)| Change::Fifo(d, n)),
        3 => (dir(), name()).prop_map(|(d, n)| Change::Whiteout(d, n)),
        1 => dir().prop_map(Change::Opaque),
    ]
}

/// Names that are no directories are only used where no layer has a directory of that name.
fn path(dir: usize, name: usize) -> Vec<u8> {
    let mut name = NAMES[name].to_vec();
    let whole = join(DIRS[dir].as_bytes(), &name);
    let plain = String::from_utf8_lossy(&whole).replace("via", "one");
    if DIRS.contains(&plain.as_str()) {
        name.extend_from_slice(b"-file");
    }
    join(DIRS[dir].as_bytes(), &name)
}

fn entry<'a>(name: &'a [u8], kind: EntryType) -> Entry<'a> {
    Entry {
        name,
        ..Entry::new("", kind)
    }
}

fn layer(changes: &[Change], number: usize) -> Vec<u8> {
    let mut layer = Layer::new();
    let mtime = 1_000_000 + number as u64;
    let time = format!("{mtime}.{:03}", number * 7 + 1);
    let time: [(&str, &[u8]); 1] = [("mtime", time.as_bytes())];
    let attribute: [(&str, &[u8]); 2] = [time[0], ("SCHILY.xattr.user.layer", b"\0\xff")];
    for change in changes {
        layer = match change {
            Change::Directory(dir, mode, id) => layer.entry(&Entry {
                mode: *mode,
                uid: *id,
                gid: 7,
                mtime,
                ..entry(
                    DIRS[*dir]
                        .trim_start_matches("via")
                        .trim_start_matches('/')
                        .as_bytes(),
                    EntryType::Directory,
                )
            }),
            Change::File(dir, name, mode, id, content) => layer.entry(&Entry {
                mode: *mode,
                uid: *id,
                mtime,
                pax: &attribute,
                data: content,
                ..entry(&path(*dir, *name), EntryType::Regular)
            }),
            Change::Symlink(dir, name, target) => layer.entry(&Entry {
                link: target.as_bytes(),
                gid: 5,
                pax: &time,
                ..entry(&path(*dir, *name), EntryType::Symlink)
            }),
            Change::Linked(dir, name, other) => {
                let (first, mut second) = (path(*dir, *name), path(*dir, *other));
                if first == second {
                    second.extend_from_slice(b"-link");
                }
                let file = Entry {
                    data: b"linked",
                    ..entry(&first, EntryType::Regular)
                };
                let link = Entry {
                    link: &first,
                    ..entry(&second, EntryType::Link)
                };
                layer.entry(&file).entry(&link)
            }
            Change::Device(dir, name) => layer.entry(&Entry {
                dev: (1, 3),
                ..entry(&path(*dir, *name), EntryType::Char)
            }),
            Change::Fifo(dir, name) => layer.entry(&entry(&path(*dir, *name), EntryType::Fifo)),
            Change::Whiteout(dir, name) => {
                let path = path(*dir, *name);
                let slash = path.iter().rposition(|&b| b == b'/').unwrap() + 1;
                let hidden = [&path[..slash], b".wh.", &path[slash..]].concat();
                layer.entry(&entry(&hidden, EntryType::Regular))
            }
            Change::Opaque(dir) => layer.opaque(DIRS[*dir]),
        };
    }
    layer.finish()
}

fn lowest() -> Vec<u8> {
    let layer = Layer::new().dir("one", 0o755).symlink("via", "one");
    DIRS[1..5]
        .iter()
        .fold(layer, |layer, dir| {
            layer
                .dir(dir, 0o711)
                .file(&format!("{dir}/a"), 0o644, b"low")
        })
        .finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn generated_layers_give_the_references_tree(
        layers in prop::collection::vec(prop::collection::vec(change(), 1..12), 1..5),
    ) {
        let mut tars = vec![lowest()];
        tars.extend(layers.iter().enumerate().map(|(number, changes)| layer(changes, number)));
        same_as_reference(&tars, Compression::Gzip);
    }
}

/// A tar of a directory of this machine, as GNU tar writes it.
fn of_this_machine(parent: &str, dir: &str) -> Vec<u8> {
    let made = Command::new("tar")
        .args([
            "--format=posix",
            "--xattrs",
            "--sort=name",
            "-C",
            parent,
            "-cf",
            "-",
            dir,
        ])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    made.stdout
}

#[test]
fn real_layers_give_the_references_tree() {
    let busybox = busybox().unwrap().build().unwrap();
    let blob = |digest: &String| {
        let name = format!("blobs/sha256/{}", &digest[7..]);
        let (_, data) = busybox
            .blobs
            .iter()
            .find(|(file, _)| *file == name)
            .unwrap();
        let mut tar = Vec::new();
        match data.as_slice() {
            [0x1f, 0x8b, ..] => {
                std::io::Read::read_to_end(
                    &mut flate2::read::GzDecoder::new(data.as_slice()),
                    &mut tar,
                )
                .unwrap();
            }
            plain => tar.extend_from_slice(plain),
        }
        tar
    };
    let mut layers: Vec<Vec<u8>> = busybox.layers.iter().map(blob).collect();
    layers.push(of_this_machine("/", "etc/alternatives"));
    layers.push(of_this_machine("/", "etc/pam.d"));
    layers.push(Layer::new().opaque("etc/pam.d").whiteout("bin/sh").finish());
    layers.push(of_this_machine("/", "usr/share/perl5"));
    layers.push(of_this_machine("/", "etc/alternatives"));
    same_as_reference(&layers, Compression::Zstd);
}

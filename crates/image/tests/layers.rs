//! What layers do to each other: the tree that overlayfs shows from ours is the one that unpacking
//! them in turn, by hand and slowly, gives.
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
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use image::{FileKind, Image, Part, rootfs_kind, rootfs_part, rootfs_read};
use rustix::mount::{MountFlags, mount};
use support::{fixture, tree};
use tar::EntryType;
use testing::{
    guard,
    image::{Builder, Compression, pack},
    layer::{Entry, Layer},
};

fn owned(name: &str, kind: EntryType, mode: u32, uid: u64, gid: u64) -> Entry<'_> {
    Entry {
        mode,
        uid,
        gid,
        ..Entry::new(name, kind)
    }
}

/// Mounts the image's layers and hands the merged root to `look`.
fn merged<T>(image: &Image, look: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let lower: Vec<String> = image
        .layers
        .iter()
        .map(|l| l.display().to_string())
        .collect();
    // One lower directory alone is refused without an upper one.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let options = format!("lowerdir={}:{}", lower.join(":"), empty.display());
    let point = dir.path().join("merged");
    fs::create_dir(&point).unwrap();
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
    look(&point)
}

/// Type, mode, owner and content of every path.
fn summary(root: &Path) -> BTreeMap<String, String> {
    let describe = |seen: support::Seen| {
        let content = String::from_utf8_lossy(&seen.content).into_owned();
        format!(
            "{:o} {}:{} {:x} {content}",
            seen.mode, seen.uid, seen.gid, seen.rdev
        )
    };
    tree(root)
        .into_iter()
        .map(|(name, seen)| (name, describe(seen)))
        .collect()
}

fn import(layers: &[Layer], compression: Compression) -> (support::Fixture, Image) {
    let f = fixture();
    let builder = Builder::new("a/b:1").compression(compression);
    let builder = layers
        .iter()
        .fold(builder, |builder, layer| builder.layer(layer.clone()));
    let image = f.import(&pack(&builder.oci_files().unwrap()));
    let image = image
        .unwrap_or_else(|e| panic!("{}", e.sentence()))
        .remove(0);
    (f, image)
}

fn base() -> Layer {
    Layer::new()
        .entry(&owned("./", EntryType::Directory, 0o751, 0, 5))
        .dir("etc", 0o755)
        .file("etc/passwd", 0o644, b"old")
        .file("etc/shadow", 0o600, b"secret")
        .entry(&owned("tmp", EntryType::Directory, 0o1777, 0, 0))
        .entry(&owned("home", EntryType::Directory, 0o750, 1000, 1000))
        .dir("usr", 0o755)
        .dir("usr/bin", 0o755)
        .file("usr/bin/sh", 0o755, b"sh")
        .symlink("bin", "usr/bin")
        .symlink("loop", "loop")
        .dir("opt", 0o755)
        .file("opt/a", 0o644, b"a")
        .file("opt/b", 0o644, b"b")
        .dir("srv", 0o755)
        .file("srv/old", 0o644, b"old")
}

#[test]
fn later_layers_replace_remove_and_hide() {
    let layers = [
        base(),
        Layer::new()
            .file("etc/passwd", 0o644, b"new")
            .whiteout("etc/shadow")
            .whiteout("opt/a")
            .opaque("srv")
            .file("srv/new", 0o644, b"new"),
        Layer::new()
            .file("etc/shadow", 0o640, b"back")
            .whiteout("usr"),
    ];
    for compression in Compression::ALL {
        let (_f, image) = import(&layers, compression);
        merged(&image, |root| {
            let seen = summary(root);
            let names: Vec<&str> = seen.keys().map(String::as_str).collect();
            let want = [
                "",
                "bin",
                "etc",
                "etc/passwd",
                "etc/shadow",
                "home",
                "loop",
                "opt",
                "opt/b",
                "srv",
                "srv/new",
                "tmp",
            ];
            assert_eq!(names, want);
            assert_eq!(seen["etc/passwd"], "100644 0:0 0 new");
            assert_eq!(seen["etc/shadow"], "100640 0:0 0 back");
            assert_eq!(seen[""], "40751 0:5 0 ");
        });
    }
}

#[test]
fn a_directory_that_a_layer_does_not_name_keeps_its_attributes() {
    let upper = Layer::new()
        .file("tmp/x", 0o644, b"x")
        .file("home/user/x", 0o644, b"x")
        .file("new/dir/x", 0o644, b"x");
    let (_f, image) = import(&[base(), upper], Compression::Gzip);
    merged(&image, |root| {
        let seen = summary(root);
        assert_eq!(seen["tmp"], "41777 0:0 0 ");
        assert_eq!(seen["home"], "40750 1000:1000 0 ");
        assert_eq!(seen["home/user"], "40755 0:0 0 ");
        assert_eq!(seen["new"], "40755 0:0 0 ");
        assert_eq!(seen[""], "40751 0:5 0 ");
        let tmp = fs::metadata(root.join("tmp")).unwrap();
        assert_eq!(tmp.mtime(), i64::try_from(testing::layer::MTIME).unwrap());
        assert_eq!(fs::metadata(root.join("new/dir")).unwrap().mtime(), 0);
    });
}

#[test]
fn a_directory_that_gives_its_group_gives_it_to_nothing_that_says_another() {
    let shared = owned("srv", EntryType::Directory, 0o2775, 0, 50);
    let lower = Layer::new()
        .entry(&shared)
        .file("srv/file", 0o644, b"f")
        .dir("srv/dir", 0o755)
        .file("srv/new/file", 0o644, b"f")
        .symlink("srv/link", "file");
    let upper = Layer::new()
        .file("srv/later", 0o644, b"l")
        .file("srv/newer/file", 0o644, b"f");
    let (_f, image) = import(&[lower, upper], Compression::None);
    merged(&image, |root| {
        let seen = summary(root);
        assert_eq!(seen["srv"], "42775 0:50 0 ");
        assert_eq!(seen["srv/file"], "100644 0:0 0 f");
        assert_eq!(seen["srv/dir"], "40755 0:0 0 ");
        assert_eq!(seen["srv/new"], "40755 0:0 0 ");
        assert_eq!(seen["srv/new/file"], "100644 0:0 0 f");
        assert_eq!(seen["srv/link"], "120777 0:0 0 file");
        assert_eq!(seen["srv/later"], "100644 0:0 0 l");
        assert_eq!(seen["srv/newer"], "40755 0:0 0 ");
        assert_eq!(seen["srv/newer/file"], "100644 0:0 0 f");
    });
}

#[test]
fn a_link_of_a_lower_layer_is_followed_not_replaced() {
    let upper = Layer::new()
        .file("bin/tool", 0o755, b"tool")
        .whiteout("bin/sh");
    let (_f, image) = import(&[base(), upper], Compression::Zstd);
    merged(&image, |root| {
        let seen = summary(root);
        assert_eq!(seen["bin"], "120777 0:0 0 usr/bin");
        assert_eq!(seen["usr/bin/tool"], "100755 0:0 0 tool");
        assert!(!seen.contains_key("usr/bin/sh"));
    });
    // Made a directory by name, it is one from then on.
    let upper = Layer::new()
        .file("bin/first", 0o755, b"1")
        .dir("bin", 0o700)
        .file("bin/second", 0o755, b"2");
    let (_f, image) = import(&[base(), upper], Compression::None);
    merged(&image, |root| {
        let seen = summary(root);
        assert_eq!(seen["bin"], "40700 0:0 0 ");
        assert!(seen.contains_key("usr/bin/first") && seen.contains_key("bin/second"));
        assert!(!seen.contains_key("bin/first"));
    });
}

#[test]
fn a_whiteout_concerns_only_the_layers_below() {
    for upper in [
        Layer::new()
            .dir("opt", 0o700)
            .file("opt/mine", 0o644, b"m")
            .whiteout("opt"),
        Layer::new()
            .whiteout("opt")
            .dir("opt", 0o700)
            .file("opt/mine", 0o644, b"m"),
        Layer::new().whiteout("opt").file("opt/mine", 0o644, b"m"),
        Layer::new()
            .file("opt", 0o644, b"")
            .dir("opt", 0o700)
            .file("opt/mine", 0o644, b"m"),
    ] {
        let (_f, image) = import(&[base(), upper], Compression::Gzip);
        merged(&image, |root| {
            let seen = summary(root);
            assert!(seen.contains_key("opt/mine"));
            assert!(!seen.contains_key("opt/b"), "{:?}", seen.keys());
        });
    }
    let (_f, image) = import(
        &[
            base(),
            Layer::new()
                .file("etc/passwd", 0o644, b"m")
                .whiteout("etc/passwd"),
        ],
        Compression::Gzip,
    );
    merged(&image, |root| {
        assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"m")
    });
}

#[test]
fn a_whiteout_in_the_root_of_the_lowest_layer_hides_nothing() {
    let lowest = || base().whiteout("x").whiteout("etc/y");
    for layers in [
        vec![lowest()],
        vec![lowest(), Layer::new().whiteout("loop")],
    ] {
        let above = layers.len() - 1;
        let (_f, image) = import(&layers, Compression::None);
        let whiteouts = |layer: &Path| {
            let is = |meta: fs::Metadata| meta.file_type().is_char_device();
            let entries = ["x", "etc/y", "loop"].map(|name| layer.join(name));
            let found = entries
                .iter()
                .filter_map(|path| fs::symlink_metadata(path).ok());
            found.filter(|meta| is(meta.clone())).count()
        };
        let found: usize = image.layers.iter().map(|layer| whiteouts(layer)).sum();
        assert_eq!(found, above, "only the upper layer's");
        merged(&image, |root| {
            let seen = summary(root);
            assert!(!seen.contains_key("x") && !seen.contains_key("etc/y"));
            assert_eq!(seen.contains_key("loop"), above == 0);
        });
    }
}

#[test]
fn an_opaque_root_hides_all_below() {
    let upper = Layer::new()
        .file(".wh..wh..opq", 0o644, b"")
        .file("only", 0o644, b"1")
        .dir("etc", 0o755);
    let (_f, image) = import(&[base(), upper], Compression::Gzip);
    merged(&image, |root| {
        let names: Vec<String> = summary(root).into_keys().collect();
        assert_eq!(names, ["", "etc", "only"]);
    });
}

#[test]
fn the_later_entry_of_one_name_wins() {
    let layer = Layer::new()
        .dir("d", 0o755)
        .file("d/inner", 0o644, b"1")
        .file("d", 0o600, b"now a file")
        .file("f", 0o644, b"long content")
        .file("f", 0o600, b"short")
        .file("kept", 0o644, b"both")
        .hardlink("link", "kept")
        .hardlink("link", "kept")
        .file("kept", 0o644, b"replaced")
        .symlink("s", "f")
        .file("s", 0o644, b"no link");
    let (_f, image) = import(&[layer], Compression::Gzip);
    merged(&image, |root| {
        let seen = summary(root);
        assert_eq!(seen["d"], "100600 0:0 0 now a file");
        assert_eq!(seen["f"], "100600 0:0 0 short");
        assert_eq!(seen["link"], "100644 0:0 0 both");
        assert_eq!(seen["kept"], "100644 0:0 0 replaced");
        assert_eq!(seen["s"], "100644 0:0 0 no link");
        assert!(!seen.contains_key("d/inner"));
    });
}

#[test]
fn a_file_is_read_through_the_stack_as_overlayfs_shows_it() {
    let layers = [
        base()
            .symlink("etc/absolute", "/usr/bin/sh")
            .symlink("etc/up", "../../../../usr/bin/sh")
            .symlink("etc/dangling", "/none")
            .symlink("escape", "/../../../../../etc"),
        Layer::new()
            .file("etc/passwd", 0o644, b"new")
            .whiteout("etc/shadow"),
        Layer::new()
            .opaque("srv")
            .dir("usr", 0o755)
            .whiteout("opt")
            .file("opt", 0o644, b"file"),
    ];
    let (_f, image) = import(&layers, Compression::Gzip);
    for (path, content) in [
        ("/etc/passwd", Some("new")),
        ("etc/passwd", Some("new")),
        ("bin/sh", Some("sh")),
        ("/bin/../bin/./sh", Some("sh")),
        ("/etc/absolute", Some("sh")),
        ("/etc/up", Some("sh")),
        ("/escape/passwd", Some("new")),
        ("/../../etc/passwd", Some("new")),
        ("/etc/dangling", None),
        ("/etc/shadow", None),
        ("/srv/old", None),
        ("/none/at/all", None),
        ("/opt", Some("file")),
    ] {
        let read = rootfs_read(&image.layers, path, 100).unwrap();
        assert_eq!(read.as_deref(), content.map(str::as_bytes), "{path}");
    }
    for (path, problem) in [
        ("/etc", "it is a directory"),
        ("/loop", "Too many levels of symbolic links"),
        ("/etc/passwd/x", "Not a directory"),
    ] {
        let error = rootfs_read(&image.layers, path, 100)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{path}: {error}");
    }
    let error = rootfs_read(&image.layers, "/etc/passwd", 2)
        .unwrap_err()
        .to_string();
    assert!(error.contains("3 bytes, more than 2"), "{error}");
    for (path, kind) in [
        ("/tmp", Some(FileKind::Directory)),
        ("/bin/sh", Some(FileKind::File)),
        ("/no", None),
    ] {
        assert_eq!(rootfs_kind(&image.layers, path).unwrap(), kind, "{path}");
    }
}

#[test]
fn a_part_of_a_root_is_what_overlayfs_merges() {
    let layers = [
        Layer::new()
            .dir("data", 0o755)
            .file("data/old", 0o644, b"1")
            .dir("data/sub", 0o755)
            .file("data/sub/one", 0o644, b"1"),
        Layer::new()
            .opaque("data/sub")
            .file("data/sub/two", 0o644, b"2")
            .symlink("link", "/data/sub")
            .symlink("out", "../../etc"),
        Layer::new().whiteout("data/old"),
    ];
    let (_f, image) = import(&layers, Compression::Gzip);
    let [top, middle, base] = image.layers.as_slice() else {
        panic!("{:?}", image.layers);
    };
    let part = |path: &str| rootfs_part(&image.layers, path).unwrap();
    let all = [top, middle, base].map(Clone::clone).to_vec();
    assert_eq!(part(""), Some(Part::Directory(all)));
    let data = [top, middle, base].map(|layer| layer.join("data"));
    assert_eq!(part("data"), Some(Part::Directory(data.to_vec())));
    // An opaque directory shows nothing of what is below, and a link is followed within the root.
    let sub = Some(Part::Directory(vec![middle.join("data/sub")]));
    assert_eq!(part("data/sub"), sub);
    assert_eq!(part("link/."), sub);
    let two = Some(Part::File(middle.join("data/sub/two")));
    assert_eq!(part("link/two"), two);
    for none in ["data/old", "data/sub/one", "none", "out"] {
        assert_eq!(part(none), None, "{none}");
    }
    let error = rootfs_part(&image.layers, "link/two/x").unwrap_err();
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn a_fifo_in_place_of_passwd_is_not_opened() {
    let layer = Layer::new()
        .dir("etc", 0o755)
        .entry(&Entry::new("etc/passwd", EntryType::Fifo));
    let (_f, image) = import(&[layer], Compression::Gzip);
    let error = rootfs_read(&image.layers, "/etc/passwd", 100)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no regular file"), "{error}");
}

#[test]
fn a_hundred_layers_unpack_in_any_order() {
    let layers: Vec<Layer> = (0..100)
        .map(|number| {
            let layer = Layer::new().file(&format!("d/f{number}"), 0o644, b"x");
            if number == 0 {
                Layer::new().entry(&owned("d", EntryType::Directory, 0o700, 9, 9))
            } else {
                layer
            }
        })
        .collect();
    let (_f, image) = import(&layers, Compression::None);
    assert_eq!(image.layers.len(), 100);
    for layer in &image.layers {
        let meta = fs::metadata(layer.join("d")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o700, 9));
    }
    assert!(rootfs_read(&image.layers, "d/f57", 10).unwrap().is_some());
}

/// A default ACL that leaves nothing to others, in the kernel's form (linux/posix_acl_xattr.h): version 2, then tag,
/// permissions and id of each entry.
fn strict_acl() -> Vec<u8> {
    let entries = [(0x01u16, 7u16), (0x04, 5), (0x20, 0)].map(|(tag, perm)| {
        let id = u32::MAX;
        [
            &tag.to_le_bytes()[..],
            &perm.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    });
    [2u32.to_le_bytes().as_slice(), &entries.concat()].concat()
}

#[test]
fn modes_are_the_archives_whatever_umask_and_default_acls_say() {
    let acl = strict_acl();
    let strict = [("SCHILY.xattr.system.posix_acl_default", acl.as_slice())];
    let modes = [0o644, 0o600, 0o666, 0o777, 0o444, 0, 0o4755, 0o2711, 0o1777];
    let fill = |mut layer: Layer, above: &str| {
        for mode in modes {
            for again in 0..2 {
                let name = format!("{above}f{mode:o}-{again}");
                layer = layer.file(&name, mode, b"content");
                let name = format!("{above}d{mode:o}-{again}");
                layer = layer.dir(&name, mode);
                // Below a set-group-id directory, too.
                layer = layer.file(&format!("{name}/in"), mode, b"");
                layer = layer.dir(&format!("{name}/on"), mode);
            }
        }
        layer
    };
    let acl = Entry {
        pax: &strict,
        ..owned("acl", EntryType::Directory, 0o755, 0, 0)
    };
    let first = fill(fill(Layer::new(), "").entry(&acl), "acl/");
    // Its directory as the layer below has it.
    let second = fill(Layer::new(), "acl/");
    // What a plain directory was seen to get says nothing of those below one that gives its group or its ACL away.
    let plain = || Layer::new().dir("d755-0", 0o755);
    let in_group = plain().dir("d2775-0", 0o2775).dir("d2775-0/d755-0", 0o755);
    let in_acl = plain().entry(&acl).dir("acl/d755-0", 0o755);
    let in_copied = plain().dir("acl/d755-0", 0o755);
    let layers = [first, second, in_group, in_acl, in_copied];
    let mut checked = 0;
    for mask in [0o022, 0, 0o077] {
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        let (_f, image) = import(&layers, Compression::None);
        rustix::process::umask(before);
        for layer in &image.layers {
            for (name, seen) in tree(layer) {
                let (above, last) = name.rsplit_once('/').unwrap_or(("", &name));
                let said = if last == "in" || last == "on" {
                    above.rsplit('/').next().unwrap_or_default()
                } else {
                    last
                };
                let Some((mode, _)) = said.get(1..).and_then(|rest| rest.split_once('-')) else {
                    continue;
                };
                let mode = u32::from_str_radix(mode, 8).unwrap();
                assert_eq!(seen.mode & 0o7777, mode, "{name} with umask {mask:o}");
                assert_eq!(seen.gid, 0, "{name}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 3 * (3 * modes.len() * 2 * 4 + 3 + 2 + 2));
}

//! Archives of every form come in, are found, are readable by other tools, and go.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    fs,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use image::{Error, ImportOptions, LayerId, Progress, Store, rootfs_read};
use serde_json::json;
use support::fixture;
use testing::{
    image::{Builder, Compression, busybox, layout, multi_platform, pack},
    layer::Layer,
};

fn nobody(_: &LayerId) -> bool {
    false
}

fn small(name: &str) -> Builder {
    Builder::new(name)
        .layer(
            Layer::new()
                .dir("etc", 0o755)
                .file("etc/base", 0o644, b"base"),
        )
        .layer(Layer::new().file("etc/top", 0o600, name.as_bytes()))
}

#[test]
fn the_demo_image_comes_in_whatever_its_form() {
    for compression in Compression::ALL {
        let f = fixture();
        let builder = busybox().unwrap().compression(compression);
        let built = builder.build().unwrap();
        let images = f.import(&pack(&builder.oci_files().unwrap())).unwrap();
        let [image] = images.as_slice() else {
            panic!("{images:?}")
        };
        assert_eq!(image.id, built.config);
        assert_eq!(image.manifest, built.manifest);
        assert_eq!(image.size, built.size);
        assert_eq!(image.repo_tags, ["docker.io/library/coffer-demo:latest"]);
        let digest = format!("docker.io/library/coffer-demo@{}", built.manifest);
        assert_eq!(image.repo_digests, [digest]);
        assert_eq!(image.config.user, "user");
        assert_eq!((image.uid(), image.username()), (None, "user"));
        assert_eq!(image.config.working_dir, "/www");
        assert_eq!(image.config.entrypoint, ["/bin/sh", "-c"]);
        assert_eq!(
            image.config.env,
            ["PATH=/bin:/sbin:/usr/bin", "GREETING=hello"]
        );
        assert_eq!(image.layers.len(), 2);
        let page = rootfs_read(&image.layers, "/www/index.html", 1000)
            .unwrap()
            .unwrap();
        assert_eq!(page, testing::rootfs::PAGE.as_bytes());
        let program = rootfs_read(&image.layers, "sbin/sh", 10 << 20)
            .unwrap()
            .unwrap();
        assert_eq!(program, fs::read(testing::rootfs::BUSYBOX).unwrap());
    }
}

#[test]
fn docker_archives_and_packed_archives_are_the_same_image() {
    let builder = busybox().unwrap();
    let (oci, docker) = (
        builder.oci_files().unwrap(),
        builder.docker_files().unwrap(),
    );
    let built = builder.build().unwrap();
    for (what, files) in [("oci", oci), ("docker", docker)] {
        for outer in Compression::ALL {
            let f = fixture();
            let archive = outer.compress(&pack(&files)).unwrap();
            let images = f
                .import(&archive)
                .unwrap_or_else(|e| panic!("{what}: {}", e.sentence()));
            assert_eq!(images[0].id, built.config, "{what} {outer:?}");
            assert_eq!(
                images[0].repo_tags,
                ["docker.io/library/coffer-demo:latest"]
            );
            let state = f.reopen();
            assert_eq!(state.store.list().unwrap(), images, "{what} {outer:?}");
            assert!(
                state.store.findings().is_empty(),
                "{:?}",
                state.store.findings()
            );
        }
    }
}

#[test]
fn an_image_is_found_by_each_of_its_names() {
    let f = fixture();
    let built = small("example.org/app:1").build().unwrap();
    f.import(&pack(&layout(std::slice::from_ref(&built)).unwrap()))
        .unwrap();
    let pinned = format!("example.org/app@{}", built.manifest);
    let both = format!("example.org/app:anything@{}", built.manifest);
    for name in [
        "example.org/app:1",
        &pinned,
        &both,
        &built.config,
        &built.config[7..],
        &built.config[7..19],
        &built.config[..15],
        &built.manifest,
    ] {
        let found = f.store.get(name).unwrap();
        assert_eq!(
            found.map(|image| image.id),
            Some(built.config.clone()),
            "{name}"
        );
    }
    for name in [
        "example.org/app",
        "example.org/app:2",
        "app:1",
        "0000",
        &"0".repeat(64),
    ] {
        assert_eq!(f.store.get(name).unwrap(), None, "{name}");
    }
    assert!(matches!(
        f.store.get("Not A Name"),
        Err(Error::Reference(_))
    ));
}

#[test]
fn an_ambiguous_prefix_names_both_images() {
    let f = fixture();
    let mut ids: Vec<String> = Vec::new();
    for number in 0..20 {
        let images = f
            .import(&pack(&small(&format!("a/b:{number}")).oci_files().unwrap()))
            .unwrap();
        ids.push(images[0].id.clone());
    }
    ids.sort();
    // Twenty ids over sixteen first digits: two share one.
    let pair = ids
        .windows(2)
        .find(|pair| pair[0][..8] == pair[1][..8])
        .unwrap();
    let error = f.store.get(&pair[0][7..8]).unwrap_err().to_string();
    assert!(
        error.contains("ambiguous") && error.contains(&pair[0]),
        "{error}"
    );
}

#[test]
fn skopeo_and_umoci_read_the_store() {
    let f = fixture();
    f.import(&pack(&busybox().unwrap().oci_files().unwrap()))
        .unwrap();
    f.import(&pack(&small("example.org/app:1").docker_files().unwrap()))
        .unwrap();
    let store = f.root().join("images").display().to_string();
    for (name, part) in [
        ("docker.io/library/coffer-demo:latest", "\"GREETING=hello\""),
        ("example.org/app:1", "\"Architecture\": \"amd64\""),
    ] {
        let out = Command::new("skopeo")
            .args(["inspect", &format!("oci:{store}:{name}")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(
            out.status.success() && text.contains(part),
            "{name}: {out:?}"
        );
    }
    let copy = f.dir.path().join("copy.tar");
    let out = Command::new("skopeo")
        .args(["copy", "--insecure-policy"])
        .arg(format!("oci:{store}:example.org/app:1"))
        .arg(format!("oci-archive:{}:example.org/app:1", copy.display()))
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    let other = fixture();
    let images = other.import(&fs::read(copy).unwrap()).unwrap();
    assert_eq!(images[0].repo_tags, ["example.org/app:1"]);

    let out = Command::new("umoci")
        .args(["ls", "--layout", &store])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("example.org/app:1"), "{out:?}");
}

#[test]
fn layers_are_shared_and_unpacked_once() {
    let f = fixture();
    let one = f
        .import(&pack(&small("a/one:1").oci_files().unwrap()))
        .unwrap()
        .remove(0);
    let seen = Mutex::new(Vec::new());
    let note = |event| {
        if let Progress::LayerDone { index, shared, .. } = event {
            seen.lock().unwrap().push((index, shared));
        }
    };
    let archive = pack(
        &small("a/two:1")
            .compression(Compression::Zstd)
            .oci_files()
            .unwrap(),
    );
    let opts = ImportOptions::default();
    let two = f
        .store
        .import(
            &mut archive.as_slice(),
            &opts,
            &note,
            &AtomicBool::new(false),
        )
        .unwrap()
        .remove(0);
    assert_eq!(seen.into_inner().unwrap(), [(0, true), (1, false)]);
    assert_eq!(one.layers[1], two.layers[1]);
    assert_ne!(one.layers[0], two.layers[0]);

    assert!(f.store.untag("a/one:1", &nobody).unwrap());
    assert!(!one.layers[0].exists());
    assert!(two.layers[1].exists());
    assert!(f.store.untag("a/two:1", &nobody).unwrap());
    assert!(!two.layers[1].exists());
    assert!(
        !f.store.untag("a/two:1", &nobody).unwrap(),
        "removing again is fine"
    );
}

#[test]
fn everything_is_gone_after_the_last_removal() {
    let f = fixture();
    let empty = f.footprint();
    let before = f.store.fs_info().unwrap();
    assert_eq!(before.used_bytes, 0);
    assert!(before.mountpoint.is_dir());
    let id = f
        .import(&pack(&busybox().unwrap().oci_files().unwrap()))
        .unwrap()
        .remove(0)
        .id;
    let used = f.store.fs_info().unwrap();
    assert!(
        used.used_bytes > 2_000_000 && used.inodes_used > 250,
        "{used:?}"
    );
    assert!(f.store.untag(&id, &nobody).unwrap());
    let mut after = f.footprint();
    let mut empty = empty;
    // The derived index stays, listing nothing.
    for tree in [&mut after, &mut empty] {
        tree.remove(&f.root().join("images/index.json").display().to_string());
    }
    assert_eq!(after, empty);
    assert_eq!(f.store.fs_info().unwrap(), before);
}

#[test]
fn layers_in_use_stay_until_the_collection() {
    let f = fixture();
    let image = f
        .import(&pack(&small("a/b:1").oci_files().unwrap()))
        .unwrap()
        .remove(0);
    let used = LayerId::of_diff(&image.layers[0]).unwrap();
    let in_use = |layer: &LayerId| *layer == used;
    assert!(f.store.untag(&image.id, &in_use).unwrap());
    assert!(image.layers[0].exists());
    assert!(!image.layers[1].exists());
    assert_eq!(f.store.gc(&in_use).unwrap(), 0);
    let f = f.reopen();
    assert!(
        image.layers[0].exists(),
        "a restart keeps what a container may use"
    );
    assert!(f.store.gc(&nobody).unwrap() > 0);
    assert!(!image.layers[0].exists());
}

#[test]
fn a_tag_moves_and_only_its_name_goes_when_another_is_left() {
    let f = fixture();
    let old = f
        .import_as(&pack(&small("x/y:1").oci_files().unwrap()), "a/app:1")
        .unwrap()
        .remove(0);
    f.import_as(&pack(&small("x/y:1").oci_files().unwrap()), "a/app:stable")
        .unwrap();
    let new = f
        .import_as(&pack(&small("x/y:2").oci_files().unwrap()), "a/app:1")
        .unwrap()
        .remove(0);
    assert_ne!(old.id, new.id);
    assert_eq!(f.store.get("a/app:1").unwrap().unwrap().id, new.id);
    let old = f.store.get(&old.id).unwrap().unwrap();
    assert_eq!(old.repo_tags, ["docker.io/a/app:stable"]);
    f.import_as(&pack(&small("x/y:1").oci_files().unwrap()), "a/other:1")
        .unwrap();
    assert!(f.store.untag("a/other:1", &nobody).unwrap());
    assert!(f.store.get("a/app:stable").unwrap().is_some());
    assert!(f.store.untag("a/app:stable", &nobody).unwrap());
    assert_eq!(f.store.get(&old.id).unwrap(), None);
}

#[test]
fn of_several_platforms_this_one_is_taken() {
    let f = fixture();
    let foreign = small("x/y:1")
        .unnamed()
        .platform("linux", "riscv64")
        .build()
        .unwrap();
    let own = small("x/y:1").unnamed().build().unwrap();
    let files = multi_platform("a/multi:1", &[foreign.clone(), own.clone()]).unwrap();
    let image = f.import(&pack(&files)).unwrap().remove(0);
    assert_eq!(image.id, own.config);
    assert_eq!(image.manifest, own.manifest);
    assert_eq!(
        image.repo_digests.len(),
        2,
        "by manifest and by index: {image:?}"
    );

    let files = multi_platform("a/multi:1", &[foreign]).unwrap();
    let error = f.import(&pack(&files)).unwrap_err();
    let text = "the image is for linux/riscv64, and this machine needs linux/amd64";
    assert_eq!(error.to_string(), text);
}

#[test]
fn several_images_come_in_at_once_and_one_name_cannot_name_them() {
    let f = fixture();
    let images = [
        small("a/one:1").build().unwrap(),
        small("a/two:1").build().unwrap(),
    ];
    let archive = pack(&layout(&images).unwrap());
    let error = f.import_as(&archive, "a/three:1").unwrap_err().to_string();
    assert!(error.contains("2 images"), "{error}");
    let names: Vec<String> = f
        .import(&archive)
        .unwrap()
        .into_iter()
        .flat_map(|image| image.repo_tags)
        .collect();
    assert_eq!(names, ["docker.io/a/one:1", "docker.io/a/two:1"]);
}

#[test]
fn an_image_without_a_name_asks_for_one() {
    let f = fixture();
    let nameless = pack(&small("x/y:1").unnamed().oci_files().unwrap());
    let error = f.import(&nameless).unwrap_err().to_string();
    assert!(error.contains("(--name)"), "{error}");
    let bare = small("x/y:1")
        .unnamed()
        .annotation("org.opencontainers.image.ref.name", "latest");
    let error = f
        .import(&pack(&bare.oci_files().unwrap()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"latest\", which may be a tag or a name"),
        "{error}"
    );
    let docker = pack(&small("x/y:1").unnamed().docker_files().unwrap());
    assert!(matches!(f.import(&docker), Err(Error::Unnamed(_))));
    assert_eq!(
        f.import_as(&nameless, "a/b").unwrap()[0].repo_tags,
        ["docker.io/a/b:latest"]
    );
}

#[test]
fn a_name_with_a_digest_must_mean_this_image() {
    let f = fixture();
    let built = small("x/y:1").build().unwrap();
    let archive = pack(&layout(std::slice::from_ref(&built)).unwrap());
    let wrong = format!("a/b@sha256:{}", "0".repeat(64));
    assert!(matches!(
        f.import_as(&archive, &wrong),
        Err(Error::Digest { .. })
    ));
    let right = format!("a/b@{}", built.manifest);
    let image = f.import_as(&archive, &right).unwrap().remove(0);
    assert!(image.repo_tags.is_empty());
    assert_eq!(image.repo_digests, [format!("docker.io/{right}")]);
}

#[test]
fn odd_but_legal_configurations_are_read() {
    let f = fixture();
    let builder = small("x/y:1")
        .set("Env", json!(null))
        .set("Cmd", json!(null))
        .set("Labels", json!(null))
        .set("Volumes", json!({ "/data": {} }))
        .set("ExposedPorts", json!({ "80/tcp": {} }))
        .set("OnBuild", json!(null));
    let image = f
        .import(&pack(&builder.oci_files().unwrap()))
        .unwrap()
        .remove(0);
    assert!(image.config.env.is_empty());
    assert!(image.config.volumes.contains("/data"));
    assert!(image.config.exposed_ports.contains("80/tcp"));
    assert_eq!(image.uid(), Some(0));
}

#[test]
fn pins_are_kept() {
    let f = fixture();
    f.import(&pack(&small("x/y:1").oci_files().unwrap()))
        .unwrap();
    assert!(f.store.pin("x/y:1", true).unwrap());
    assert!(!f.store.pin("x/z:1", true).unwrap());
    assert!(f.reopen().store.get("x/y:1").unwrap().unwrap().pinned);
}

#[test]
fn a_second_store_on_the_same_root_is_refused() {
    let f = fixture();
    assert!(matches!(Store::open(&f.root()), Err(Error::InUse(_))));
}

#[test]
fn cancelling_leaves_nothing() {
    let f = fixture();
    let before = f.footprint();
    let archive = pack(&busybox().unwrap().oci_files().unwrap());
    let opts = ImportOptions::default();
    // At the first event of each kind in turn: while reading, between, while unpacking, at the end.
    for at in 0..12 {
        let (cancel, count) = (AtomicBool::new(false), Mutex::new(0));
        let progress = |_| {
            let mut count = count.lock().unwrap();
            if *count == at {
                cancel.store(true, Ordering::Relaxed);
            }
            *count += 1;
        };
        let result = f
            .store
            .import(&mut archive.as_slice(), &opts, &progress, &cancel);
        if at < *count.lock().unwrap() {
            assert!(matches!(result, Err(Error::Cancelled)), "{at}: {result:?}");
            assert_eq!(f.footprint(), before, "{at}");
        } else {
            // There were fewer events: the import went through.
            assert_eq!(result.unwrap().len(), 1);
            return;
        }
    }
}

#[test]
fn imports_and_removals_at_once_leave_whole_images() {
    let f = fixture();
    let archives: Vec<Vec<u8>> = (0..4)
        .map(|number| pack(&small(&format!("a/p{number}:1")).oci_files().unwrap()))
        .collect();
    std::thread::scope(|scope| {
        for (number, archive) in archives.iter().enumerate() {
            let f = &f;
            scope.spawn(move || {
                for _ in 0..15 {
                    let image = f.import(archive).unwrap().remove(0);
                    for (path, data) in [
                        ("etc/base", "base".to_owned()),
                        ("etc/top", format!("a/p{number}:1")),
                    ] {
                        let read = rootfs_read(&image.layers, path, 100).unwrap();
                        assert_eq!(read, Some(data.into_bytes()));
                    }
                    f.store.untag(&image.id, &nobody).unwrap();
                }
            });
        }
    });
    f.store.gc(&nobody).unwrap();
    assert_eq!(f.store.fs_info().unwrap().used_bytes, 0);
}

//! Images in the daemon: what is kept and what goes, many layers, content that is held against its
//! digests, what a kubelet hears of the disk.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use cri_api::v1;
use system_tests::{
    Node, configs,
    said::{fails, ok, stderr},
};
use testing::{
    image::{busybox, pack},
    layer::Layer,
};
use tonic::Code;

/// The demo image with one file more, so that it is an image of its own.
fn image(name: &str) -> Vec<u8> {
    let top = Layer::new().file("name", 0o644, name.as_bytes());
    pack(&busybox().unwrap().layer(top).oci_files().unwrap())
}

async fn import(node: &Node, name: &str) -> String {
    let images = node
        .client()
        .await
        .import(name, &image(name))
        .await
        .unwrap();
    images[0].id.clone()
}

/// Bytes and inodes below `dirs` as `du` would count them.
fn usage(dirs: &[&Path]) -> (u64, u64) {
    let (mut bytes, mut inodes) = (0, 0);
    let mut seen = std::collections::HashSet::new();
    let mut todo: Vec<_> = dirs.iter().map(|dir| dir.to_path_buf()).collect();
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if seen.insert(meta.ino()) {
            bytes += meta.blocks() * 512;
            inodes += 1;
        }
        if meta.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    (bytes, inodes)
}

#[tokio::test]
async fn what_nothing_uses_goes_and_what_is_pinned_or_used_stays() {
    let node = Node::started().await;
    for name in [
        "keep.test/a:1",
        "keep.test/b:1",
        "keep.test/used:1",
        "keep.test/free:1",
    ] {
        import(&node, name).await;
    }
    let run = [
        "run",
        "-d",
        "--network",
        "host",
        "--name",
        "one",
        "keep.test/used:1",
        "sleep 1000",
    ];
    ok(&node, &run);
    ok(&node, &["image", "pin", "keep.test/a:1"]);
    fails(&node, &["image", "pin", "none"], 1, &["no image named"]);
    let pinned = ok(&node, &["images", "-q", "--filter", "pinned=true"]);
    assert_eq!(pinned.lines().count(), 1);
    // A name that moves leaves an image without one.
    ok(&node, &["tag", "keep.test/free:1", "keep.test/b:1"]);

    // Nobody can be asked here.
    fails(&node, &["image", "prune"], 2, &["--force"]);
    let said = ok(&node, &["image", "prune", "-f"]);
    assert!(said.starts_with("image keep.test/b@sha256:"), "{said}");
    assert!(said.contains("\nfreed "), "{said}");
    let names = || {
        let mut names: Vec<String> = ok(&node, &["images", "-o", "name"])
            .lines()
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    let all = [
        "keep.test/a:1",
        "keep.test/b:1",
        "keep.test/free:1",
        "keep.test/used:1",
    ];
    assert_eq!(names(), all);
    let said = ok(&node, &["image", "prune", "-af"]);
    assert!(
        said.contains("keep.test/free:1") && said.contains("keep.test/b:1"),
        "{said}"
    );
    assert_eq!(names(), ["keep.test/a:1", "keep.test/used:1"]);

    // `coffer prune` takes ended containers of `coffer run` first, and then their images.
    ok(&node, &["prune", "-af"]);
    assert_eq!(names(), ["keep.test/a:1", "keep.test/used:1"]);
    ok(&node, &["stop", "-t", "0", "one"]);
    let said = ok(&node, &["prune", "-af"]);
    assert!(said.contains("container one\n"), "{said}");
    assert!(said.contains("image keep.test/used:1\n"), "{said}");
    assert_eq!(names(), ["keep.test/a:1"]);
    ok(&node, &["image", "unpin", "keep.test/a:1"]);
    ok(&node, &["rmi", "--all"]);
    fails(&node, &["rmi", "keep.test/a:1"], 1, &["no image named"]);
    ok(&node, &["rmi", "-f", "keep.test/a:1"]);
    for dir in ["layers", "images/blobs/sha256"] {
        assert_eq!(
            fs::read_dir(node.root().join(dir)).unwrap().count(),
            0,
            "{dir}"
        );
    }
    node.finish().await;
}

#[tokio::test]
async fn a_prune_leaves_containers_of_a_kubelet_alone() {
    let (node, id) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::host_pod("theirs", &node.logs());
    let container = configs::command("theirs", &id, &["/bin/true"]);
    let (pod, container) = client.run(&config, &container).await.unwrap();
    client.wait(&container).await.unwrap();
    ok(&node, &["prune", "-af"]);
    // Its status and its image are the kubelet's still.
    assert_eq!(client.status(&container).await.unwrap().exit_code, 0);
    assert!(!ok(&node, &["images", "-q"]).is_empty());
    client.stop_pod(&pod).await.unwrap();
    client.remove_pod(&pod).await.unwrap();
    node.finish().await;
}

#[tokio::test]
async fn an_image_of_many_layers_runs() {
    let node = Node::started().await;
    let layers = 130;
    let builder = (0..layers).fold(busybox().unwrap(), |builder, number: usize| {
        let text = number.to_string();
        let layer = Layer::new().file(&format!("f{number}"), 0o644, b"");
        builder.layer(layer.file("last", 0o644, text.as_bytes()))
    });
    let tar = pack(&builder.oci_files().unwrap());
    node.client()
        .await
        .import("many.test/layers:1", &tar)
        .await
        .unwrap();
    let run = ["run", "-u0", "--rm", "--network=host", "many.test/layers:1"];
    let script = "ls / | grep -c '^f[0-9]'; cat /last; echo > /writable";
    let said = ok(&node, &[&run[..], &[script][..]].concat());
    assert_eq!(said, format!("{layers}\n{}", layers - 1));
    let read_only = [
        &run[..4],
        &["--read-only"][..],
        &run[4..],
        &["echo > /x"][..],
    ]
    .concat();
    let failed = node.coffer(&read_only);
    assert!(stderr(&failed).contains("Read-only"), "{}", stderr(&failed));
    node.finish().await;
}

/// Inodes are the same, and bytes but for what a filesystem itself needs for a file's map.
fn close(said: (u64, u64), found: (u64, u64)) {
    assert_eq!(said.1, found.1);
    assert!(said.0.abs_diff(found.0) <= 64 << 10, "{said:?} {found:?}");
}

#[tokio::test]
async fn image_fs_info_says_what_du_says() {
    let node = Node::started().await;
    let client = node.client().await;
    let info = || async {
        let request = v1::ImageFsInfoRequest {};
        let answer = client.images.clone().image_fs_info(request).await.unwrap();
        let answer = answer.into_inner();
        (
            answer.image_filesystems[0].clone(),
            answer.container_filesystems[0].clone(),
        )
    };
    let numbers = |usage: &v1::FilesystemUsage| {
        (
            usage.used_bytes.as_ref().unwrap().value,
            usage.inodes_used.as_ref().unwrap().value,
        )
    };
    let (images, containers) = info().await;
    assert_eq!((numbers(&images), numbers(&containers)), ((0, 0), (0, 0)));
    // One filesystem has one name: a kubelet would take two names for two filesystems.
    assert_eq!(images.fs_id, containers.fs_id);
    assert!(Path::new(&images.fs_id.as_ref().unwrap().mountpoint).is_dir());

    import(&node, "disk.test/a:1").await;
    import(&node, "disk.test/b:1").await;
    let (images, _) = info().await;
    let root = node.root();
    // Directories that only hold others count nothing: what is counted is content.
    let entries = fs::read_dir(root.join("layers")).unwrap();
    let diffs: Vec<_> = entries
        .map(|entry| entry.unwrap().path().join("diff"))
        .collect();
    let entries = fs::read_dir(root.join("images/blobs/sha256")).unwrap();
    let blobs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let all: Vec<&Path> = diffs.iter().chain(&blobs).map(AsRef::as_ref).collect();
    close(numbers(&images), usage(&all));

    // A container's writable layer, looked at after it has ended.
    let script = "dd if=/dev/zero of=/big bs=1M count=3; mkdir /d; echo x > /d/f";
    let run = [
        "run",
        "-u0",
        "--network",
        "host",
        "--name",
        "one",
        "disk.test/a:1",
        script,
    ];
    ok(&node, &run);
    let (after, containers) = info().await;
    assert_eq!(numbers(&after), numbers(&images));
    let entries = fs::read_dir(root.join("containers")).unwrap();
    let uppers: Vec<_> = entries
        .map(|entry| entry.unwrap().path().join("upper"))
        .collect();
    let uppers: Vec<&Path> = uppers.iter().map(AsRef::as_ref).collect();
    // The figures of a container name its filesystem as this does: where it begins.
    let mountpoint = &containers.fs_id.as_ref().unwrap().mountpoint;
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_eq!(device(Path::new(mountpoint)), device(uppers[0]));
    if let Some(above) = Path::new(mountpoint).parent() {
        assert_ne!(device(above), device(uppers[0]), "{mountpoint}");
    }
    let request = v1::ListContainerStatsRequest { filter: None };
    let runtime = node.client().await.runtime;
    let stats = runtime.clone().list_container_stats(request).await.unwrap();
    let layer = stats.into_inner().stats.remove(0).writable_layer.unwrap();
    assert_eq!(layer.fs_id, containers.fs_id);
    close(numbers(&containers), usage(&uppers));
    assert!(numbers(&containers).0 >= 3 << 20);
    ok(&node, &["rm", "one"]);
    let (_, containers) = info().await;
    assert_eq!(numbers(&containers), (0, 0));
    node.finish().await;
}

#[tokio::test]
async fn content_that_has_changed_on_the_disk_is_not_run_where_that_is_asked() {
    let mut node = Node::new();
    node.configuration = "[image]\nverify = \"create\"\n".to_owned();
    node.start().await;
    import(&node, "sound.test/a:1").await;
    assert_eq!(
        ok(&node, &["image", "verify", "sound.test/a:1"]),
        "sound.test/a:1: sound\n"
    );
    let run = [
        "run",
        "--rm",
        "--network",
        "host",
        "sound.test/a:1",
        "cat /name",
    ];
    assert_eq!(ok(&node, &run), "sound.test/a:1");
    let entries = fs::read_dir(node.root().join("layers")).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().path().join("diff/name"));
    let name = names.find(|path| path.exists()).unwrap();
    fs::write(name, "sound.test/A:1").unwrap();
    fails(
        &node,
        &["image", "verify", "sound.test/a:1"],
        1,
        &["name has another"],
    );
    fails(
        &node,
        &run,
        125,
        &["is not what its digests say", "fetch it again"],
    );
    ok(&node, &["rmi", "sound.test/a:1"]);
    import(&node, "sound.test/a:1").await;
    assert_eq!(ok(&node, &run), "sound.test/a:1");
    node.finish().await;
}

#[tokio::test]
async fn a_name_without_a_registry_is_the_configured_ones_or_refused() {
    let mut node = Node::new();
    node.default_registry = "short.test".to_owned();
    node.start().await;
    let id = import(&node, "short.test/app:1").await;
    let client = node.client().await;
    let status = |word: &str| {
        let image = Some(v1::ImageSpec {
            image: word.to_owned(),
            ..Default::default()
        });
        let request = v1::ImageStatusRequest {
            image,
            verbose: false,
        };
        let mut images = client.images.clone();
        async move {
            images
                .image_status(request)
                .await
                .map(|answer| answer.into_inner().image)
        }
    };
    for word in ["app:1", "short.test/app:1", &id, &id[7..], &id[7..19]] {
        assert_eq!(status(word).await.unwrap().unwrap().id, id, "{word}");
    }
    assert!(status("docker.io/library/app:1").await.unwrap().is_none());
    ok(&node, &["tag", "app:1", "other"]);
    assert!(status("short.test/other:latest").await.unwrap().is_some());
    node.terminate();
    node.default_registry = String::new();
    node.start().await;
    let client = node.client().await;
    let refused = client.import("app:2", &image("app:2")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("registry.default"),
        "{}",
        refused.message()
    );
    fails(
        &node,
        &["run", "app:1", "true"],
        125,
        &["names no registry"],
    );
    ok(&node, &["rmi", &id[7..19]]);
    node.finish().await;
}

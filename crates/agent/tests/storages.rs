//! Storage drivers and declared devices, with loop devices as disks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test"
)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use agent_api::grpc;
use agent_api::sandbox;
use agent_api::ttrpc::Code;
use common::disk::{Disk, run};
use common::{Calls, Pod, soon, status, text, until};
use serde_json::json;

const MIB: u64 = 1024 * 1024;

fn storage(driver: &str, source: &Path, fstype: &str, point: &Path) -> grpc::Storage {
    grpc::Storage {
        driver: driver.into(),
        source: text(source),
        fstype: fstype.into(),
        mount_point: text(point),
        ..Default::default()
    }
}

/// A container that holds `storages`, and sees the first at /data.
fn with(pod: &Pod, id: &str, storages: &[grpc::Storage]) -> sandbox::CreateContainerRequest {
    let source = storages[0].mount_point.clone();
    let mut request = pod.container(id, &["sleep", "1000"], |spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({
            "destination": "/data", "type": "bind", "source": source, "options": ["rbind"],
        }));
    });
    request.storages = storages.to_vec();
    request
}

async fn refusal(calls: &Calls, request: &sandbox::CreateContainerRequest) -> (Code, String) {
    status(calls.own.create_container(soon(), request).await)
}

fn mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let point = text(point);
    mounts.lines().any(|l| l.split(' ').nth(1) == Some(&point))
}

#[tokio::test]
async fn disks_are_mounted_given_to_a_group_and_unmounted_by_the_last() {
    let (pod, calls) = Pod::sandbox().await;
    let file = pod.dir.path().join("disk");
    let disk = Disk::make(&file, 16 * MIB, &["mkfs.ext4", "-q", "-F"]);
    let point = pod.dir.path().join("volume");
    let mut by_node = storage("blk", &disk.node, "ext4", &point);
    by_node.options = vec!["nodev".into()];
    by_node.fs_group = Some(grpc::FsGroup {
        group_id: 777,
        group_change_policy: 0,
    });
    calls
        .run(&with(&pod, "a1", std::slice::from_ref(&by_node)))
        .await;
    assert!(mounted(&point));
    let meta = fs::metadata(&point).unwrap();
    assert_eq!((meta.gid(), meta.mode() & 0o2070), (777, 0o2070));
    let written = calls
        .sh("a1", "echo x >/data/f && stat -c %g /data/f")
        .await;
    assert_eq!(written.1, "777\n", "{written:?}");
    // Another driver's name for the same mount point: it is counted.
    let by_path = storage("mmioblk", &disk.node, "ext4", &point);
    calls.run(&with(&pod, "b1", &[by_path])).await;
    calls.remove("a1").await;
    assert!(mounted(&point));
    calls.remove("b1").await;
    assert!(!mounted(&point) && !point.exists());
    for (bad, code, part) in [
        (
            storage("blk", Path::new("02/03"), "ext4", &point),
            Code::DEADLINE_EXCEEDED,
            "02/03",
        ),
        (
            storage("blk", Path::new("nonsense"), "ext4", &point),
            Code::INVALID_ARGUMENT,
            "PCI",
        ),
        (
            storage("blk", &disk.node, "", &point),
            Code::INVALID_ARGUMENT,
            "fstype",
        ),
        (
            storage("blk", &disk.node, "xfs", &point),
            Code::INTERNAL,
            "cannot mount",
        ),
        (
            storage("scsi", Path::new("99:99"), "xfs", &point),
            Code::DEADLINE_EXCEEDED,
            "99:99",
        ),
        (
            storage("nvdimm", Path::new("/etc/passwd"), "xfs", &point),
            Code::INVALID_ARGUMENT,
            "no device",
        ),
        (
            storage("blk-ccw", &disk.node, "ext4", &point),
            Code::INVALID_ARGUMENT,
            "known: 9p",
        ),
    ] {
        let (got, said) = refusal(&calls, &with(&pod, "c1", &[bad])).await;
        assert_eq!(got, code, "{said}");
        assert!(said.contains(part), "{said}");
        assert!(!mounted(&point));
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn volumes_tell_their_size_and_grow_while_mounted() {
    let (pod, calls) = Pod::sandbox().await;
    for (fstype, size, mkfs) in [
        ("ext4", 32 * MIB, &["mkfs.ext4", "-q", "-F"][..]),
        ("xfs", 320 * MIB, &["mkfs.xfs", "-q"]),
        ("btrfs", 128 * MIB, &["mkfs.btrfs", "-q"]),
    ] {
        let disk = Disk::make(&pod.dir.path().join(fstype), size, mkfs);
        let point = pod.dir.path().join(format!("mnt-{fstype}"));
        calls
            .run(&with(
                &pod,
                fstype,
                &[storage("blk", &disk.node, fstype, &point)],
            ))
            .await;
        let total = async || {
            let request = grpc::VolumeStatsRequest {
                volume_guest_path: text(&point),
            };
            let stats = calls
                .agent
                .get_volume_stats(soon(), &request)
                .await
                .unwrap();
            assert_eq!(stats.volume_condition.unwrap().message, "OK");
            let [bytes, inodes] = stats.usage.try_into().unwrap();
            assert_eq!((bytes.unit, inodes.unit), (1, 2));
            assert!(bytes.used + bytes.available <= bytes.total && bytes.total > 0);
            bytes.total
        };
        let before = total().await;
        let resize = async |size| {
            let request = grpc::ResizeVolumeRequest {
                volume_guest_path: text(&point),
                size,
            };
            calls.agent.resize_volume(soon(), &request).await
        };
        let (code, said) = status(resize(4 * size).await);
        assert_eq!(code, Code::FAILED_PRECONDITION, "{said}");
        assert!(
            said.contains(&format!("its device has {size} bytes")),
            "{said}"
        );
        disk.grow(2 * size);
        match resize(2 * size).await {
            Ok(_) => assert!(total().await > before + size / 2, "{fstype}"),
            // ext4 asks for CAP_SYS_RESOURCE, which a root in a container may lack.
            Err(e) if fstype == "ext4" && !has_cap_sys_resource() => {
                assert!(e.to_string().contains("Operation not permitted"), "{e}");
            }
            Err(e) => panic!("{fstype}: {e}"),
        }
        calls.remove(fstype).await;
    }
    let outside = grpc::ResizeVolumeRequest {
        volume_guest_path: "/".into(),
        size: 0,
    };
    let refused = calls.agent.resize_volume(soon(), &outside).await;
    assert_eq!(status(refused).0, Code::FAILED_PRECONDITION);
    let missing = grpc::VolumeStatsRequest {
        volume_guest_path: "relative".into(),
    };
    let refused = calls.agent.get_volume_stats(soon(), &missing).await;
    assert_eq!(status(refused).0, Code::INVALID_ARGUMENT);
    pod.destroy(calls).await;
}

fn has_cap_sys_resource() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let sets = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    sets & (1 << 24) != 0
}

#[tokio::test]
async fn layers_on_disks_are_one_tree() {
    let (pod, calls) = Pod::sandbox().await;
    let mut disks = Vec::new();
    for (name, files) in [
        ("top", &[("both", "top")][..]),
        ("bottom", &[("both", "bottom"), ("low", "low")]),
    ] {
        let dir = pod.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        for (file, content) in files {
            fs::write(dir.join(file), content).unwrap();
        }
        let image = pod.dir.path().join(format!("{name}.erofs"));
        run(&["mkfs.erofs", "--quiet", &text(&image), &text(&dir)]);
        disks.push(Disk::of(&image));
    }
    let point = pod.dir.path().join("image");
    let mut layers = storage("erofs.multi-layer", &disks[0].node, "erofs", &point);
    layers.driver_options = vec![format!("layer={}", disks[1].node.display())];
    let writable = grpc::Storage {
        options: vec!["io.katacontainers.fs-opt.overlay-rw".into()],
        mount_point: text(&pod.dir.path().join("image-rw")),
        ..layers.clone()
    };
    calls
        .run(&with(&pod, "ro", std::slice::from_ref(&layers)))
        .await;
    calls.run(&with(&pod, "rw", &[writable])).await;
    for (id, allowed) in [("ro", false), ("rw", true)] {
        let read = calls.sh(id, "cat /data/both /data/low").await;
        assert_eq!(read.1, "toplow", "{read:?}");
        let wrote = calls.sh(id, "echo x >/data/new").await;
        assert_eq!(wrote.0 == 0, allowed, "{wrote:?}");
        calls.remove(id).await;
    }
    layers.driver_options.clear();
    calls.run(&with(&pod, "one", &[layers])).await;
    assert_eq!(calls.sh("one", "cat /data/*").await.1, "top");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_watched_copy_follows_its_source() {
    let (pod, calls) = Pod::sandbox().await;
    let source = pod.dir.path().join("config");
    fs::create_dir_all(source.join("v1")).unwrap();
    fs::write(source.join("v1/key"), "one").unwrap();
    symlink("v1", source.join("now")).unwrap();
    let point = pod.dir.path().join("watched");
    calls
        .run(&with(
            &pod,
            "c1",
            &[storage("watchable-bind", &source, "bind", &point)],
        ))
        .await;
    let key = async || calls.sh("c1", "cat /data/now/key").await.1;
    assert_eq!(key().await, "one");
    fs::create_dir(source.join("v2")).unwrap();
    fs::write(source.join("v2/key"), "two").unwrap();
    symlink("v2", source.join("next")).unwrap();
    fs::rename(source.join("next"), source.join("now")).unwrap();
    fs::remove_dir_all(source.join("v1")).unwrap();
    until("the second content", async || key().await == "two").await;
    until("the first is gone", async || {
        calls.sh("c1", "ls /data").await.1 == "now\nv2\n"
    })
    .await;
    // A large tree is bound: what is written there is seen at once.
    let large = pod.dir.path().join("large");
    fs::create_dir(&large).unwrap();
    for n in 0..20 {
        fs::write(large.join(n.to_string()), "").unwrap();
    }
    let bound = pod.dir.path().join("bound");
    calls
        .run(&with(
            &pod,
            "c2",
            &[storage("watchable-bind", &large, "bind", &bound)],
        ))
        .await;
    fs::write(large.join("new"), "x").unwrap();
    assert_eq!(calls.sh("c2", "cat /data/new").await.1, "x");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn scratch_space_and_copied_files_are_found_by_their_prefixes() {
    let (pod, calls) = Pod::sandbox().await;
    let copied = pod.dir.path().join("state/files/conf");
    fs::create_dir_all(&copied).unwrap();
    fs::write(copied.join("f"), "copied\n").unwrap();
    let disk = Disk::make(
        &pod.dir.path().join("disk"),
        4 * MIB,
        &["mkfs.ext4", "-q", "-F"],
    );
    let request = pod.container("c1", &["sleep", "1000"], |spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        let mount = |kind: &str, source: &str, to: &str| {
            let options = if kind == "bind" {
                vec!["rbind"]
            } else {
                vec![]
            };
            json!({"type": kind, "source": source, "destination": to, "options": options})
        };
        mounts.push(mount("ext4", &text(&disk.node), "tmp:/disk"));
        mounts.push(mount("bind", "tmp:/disk/sub", "/disk"));
        mounts.push(mount("bind", "tmp:/space", "/space"));
        mounts.push(mount("bind", "vm:/dev/hostfs/conf", "/conf"));
    });
    calls.run(&request).await;
    let script = "cat /conf/f; echo x >/space/x; stat -f -c %T /space /disk; stat -c %a /space";
    let said = calls.sh("c1", script).await;
    assert_eq!(said.1, "copied\ntmpfs\next2/ext3\n1777\n", "{said:?}");
    let scratch = pod.dir.path().join("state/storages.d/tmp-c1");
    assert!(mounted(&scratch) && mounted(&scratch.join("disk")));
    assert!(scratch.join("space/x").exists());
    calls.remove("c1").await;
    assert!(!scratch.exists());
    let out = pod.container("c2", &["true"], |spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({
            "type": "bind", "source": "tmp:/../../../etc", "destination": "/x", "options": ["rbind"],
        }));
    });
    let (code, said) = refusal(&calls, &out).await;
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(said.contains("leads out of its place"), "{said}");
    fs::remove_dir_all(pod.dir.path().join("state/files")).unwrap();
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_device_gets_the_numbers_that_it_has_here() {
    let (pod, calls) = Pod::sandbox().await;
    let disk = Disk::make(
        &pod.dir.path().join("disk"),
        4 * MIB,
        &["mkfs.ext4", "-q", "-F"],
    );
    let device = grpc::Device {
        r#type: "blk".into(),
        vm_path: text(&disk.node),
        container_path: "/dev/data".into(),
        ..Default::default()
    };
    let container = |id: &str, devices: &[grpc::Device]| {
        let mut request = pod.container(id, &["sleep", "1000"], |spec| {
            spec["linux"]["devices"] = json!([
                {"path": "/dev/data", "type": "b", "major": 253, "minor": 99},
            ]);
            spec["linux"]["resources"]["devices"] = json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "b", "major": 253, "minor": 99, "access": "r"},
            ]);
        });
        request.devices = devices.to_vec();
        request
    };
    calls
        .run(&container("c1", std::slice::from_ref(&device)))
        .await;
    let (major, minor) = disk.numbers();
    let shown = calls.sh("c1", "stat -c %t:%T /dev/data").await;
    assert_eq!(shown.1, format!("{major:x}:{minor:x}\n"), "{shown:?}");
    // The rule followed too: the device cgroup lets it be read.
    let read = calls.sh("c1", "head -c 1 /dev/data | wc -c").await;
    assert_eq!(read.1.trim(), "1", "{read:?}");
    // A rootfs device is only awaited.
    let awaited = grpc::Device {
        container_path: String::new(),
        ..device.clone()
    };
    calls.run(&container("c2", &[awaited])).await;
    for (bad, code, part) in [
        (
            grpc::Device {
                container_path: "/dev/other".into(),
                ..device.clone()
            },
            Code::INVALID_ARGUMENT,
            "no such entry",
        ),
        (
            grpc::Device {
                vm_path: "/dev/none-such".into(),
                ..device.clone()
            },
            Code::DEADLINE_EXCEEDED,
            "/dev/none-such",
        ),
        (
            grpc::Device {
                id: "02/03".into(),
                ..device.clone()
            },
            Code::DEADLINE_EXCEEDED,
            "PCI path 02/03",
        ),
        (
            grpc::Device {
                r#type: "vfio-ap".into(),
                ..device.clone()
            },
            Code::INVALID_ARGUMENT,
            "known: blk",
        ),
        (
            grpc::Device {
                vm_path: String::new(),
                ..device.clone()
            },
            Code::INVALID_ARGUMENT,
            "neither id nor vm_path",
        ),
    ] {
        let (got, said) = refusal(&calls, &container("c3", &[bad])).await;
        assert_eq!(got, code, "{said}");
        assert!(said.contains(part), "{said}");
    }
    pod.destroy(calls).await;
}

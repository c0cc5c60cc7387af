//! What the validation suites for CRI ask of containers: what a request says is what a process inside
//! finds. One row a wish; the pods are shared, so that a row costs one container.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, os::unix::fs::symlink, path::Path};

use cri_api::v1;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use system_tests::{Client, Node, configs};
use testing::{image, layer::Layer};
use tonic::Code;

/// The demo image with a group that has its user as a member.
async fn import(node: &Node) -> String {
    let groups = "root:x:0:\nuser:x:1000:\nextra:x:5000:user\n";
    let path = node.base.join("groups.tar");
    image::busybox()
        .unwrap()
        .layer(Layer::new().file("etc/group", 0o644, groups.as_bytes()))
        .oci_archive(&path)
        .unwrap();
    let client = node.client().await;
    let images = client.import("", &fs::read(&path).unwrap()).await.unwrap();
    images[0].id.clone()
}

fn security(config: &mut v1::ContainerConfig) -> &mut v1::LinuxContainerSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

fn of_pod(config: &mut v1::PodSandboxConfig) -> &mut v1::LinuxSandboxSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

/// Runs a container to its end: its code, and what it wrote.
async fn said(
    client: &Client,
    pod: &str,
    pod_config: &v1::PodSandboxConfig,
    config: &v1::ContainerConfig,
) -> (i32, String) {
    let id = client.create(pod, pod_config, config).await.unwrap();
    client.start(&id).await.unwrap();
    let status = client.wait(&id).await.unwrap();
    let log = fs::read_to_string(&status.log_path).unwrap();
    client.remove(&id).await.unwrap();
    // TIME STREAM TAG TEXT
    let texts = log.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap());
    (status.exit_code, texts.collect::<Vec<_>>().join("\n"))
}

type Change = fn(&mut v1::ContainerConfig);

fn int(value: i64) -> Option<v1::Int64Value> {
    Some(v1::Int64Value { value })
}

/// What is changed in a container's configuration, the script that looks, and what it says.
const WISHES: &[(&str, Change, &str, &str)] = &[
    (
        "the image's user",
        |_| (),
        "id -u; id -g; id -G",
        "1000\n1000\n1000 5000",
    ),
    (
        "a user by number, its groups merged",
        |config| {
            security(config).run_as_user = int(1000);
            security(config).supplemental_groups = vec![3000, 3001];
        },
        "id -u; id -g; id -G",
        "1000\n1000\n1000 3000 3001 5000",
    ),
    (
        "the groups of the request alone",
        |config| {
            security(config).run_as_user = int(1000);
            security(config).supplemental_groups = vec![3000];
            security(config).supplemental_groups_policy =
                v1::SupplementalGroupsPolicy::Strict.into();
        },
        "id -G",
        "1000 3000",
    ),
    (
        "a user by name and another group",
        |config| {
            security(config).run_as_username = "user".into();
            security(config).run_as_group = int(2000);
        },
        "id -u; id -g",
        "1000\n2000",
    ),
    (
        "no new privileges",
        |config| security(config).no_new_privs = true,
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    ),
    (
        "new privileges as setuid programs give them",
        |_| (),
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t0",
    ),
    (
        "masked and read-only paths",
        |config| {
            security(config).run_as_user = int(0);
            security(config).masked_paths = vec!["/etc/passwd".into(), "/www".into()];
            security(config).readonly_paths = vec!["/tmp".into()];
        },
        "wc -c </etc/passwd; ls /www | wc -l; touch /tmp/x 2>/dev/null || echo read-only",
        "0\n0\nread-only",
    ),
    (
        "a read-only root with writable shared memory",
        |config| {
            security(config).run_as_user = int(0);
            security(config).readonly_rootfs = true;
        },
        "touch /x 2>/dev/null || echo read-only; touch /dev/shm/x && echo written",
        "read-only\nwritten",
    ),
    (
        "no capability but one",
        |config| {
            security(config).run_as_user = int(0);
            security(config).capabilities = Some(v1::Capability {
                add_capabilities: vec!["CHOWN".into()],
                drop_capabilities: vec!["ALL".into()],
                ..Default::default()
            });
        },
        "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | uniq",
        "0000000000000001",
    ),
    (
        "nothing said of seccomp",
        |_| (),
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t0",
    ),
    (
        "the default seccomp profile",
        |config| security(config).seccomp = Some(v1::SecurityProfile::default()),
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t2",
    ),
    (
        "no seccomp profile",
        |config| {
            security(config).seccomp = Some(v1::SecurityProfile {
                profile_type: v1::security_profile::ProfileType::Unconfined.into(),
                localhost_ref: String::new(),
            });
        },
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t0",
    ),
    (
        "a seccomp profile below the configured directory",
        |config| {
            security(config).seccomp = Some(v1::SecurityProfile {
                profile_type: v1::security_profile::ProfileType::Localhost.into(),
                localhost_ref: "no-mkdir.json".into(),
            });
        },
        "mkdir /tmp/x 2>&1",
        "mkdir: can't create directory '/tmp/x': Permission denied",
    ),
    (
        "processes of its own",
        |config| {
            let own = configs::namespaces(v1::NamespaceMode::Pod);
            security(config).namespace_options = Some(own);
        },
        "echo $$",
        "1",
    ),
    (
        "the pod's sysctl",
        |_| (),
        "cat /proc/sys/net/core/somaxconn",
        "321",
    ),
    (
        "the pod's hostname",
        |_| (),
        "hostname; cat /etc/hostname",
        "plain\nplain",
    ),
    (
        "the pod's name servers",
        |_| (),
        "cat /etc/resolv.conf",
        "search a.example b.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions ndots:3",
    ),
    (
        "a limit of memory and one of CPU",
        |config| {
            config.linux.get_or_insert_default().resources = Some(v1::LinuxContainerResources {
                memory_limit_in_bytes: 32 << 20,
                memory_swap_limit_in_bytes: 32 << 20,
                cpu_quota: 20_000,
                cpu_period: 100_000,
                cpu_shares: 2,
                oom_score_adj: 1000,
                ..Default::default()
            });
        },
        "cat /proc/self/oom_score_adj",
        "1000",
    ),
];

#[tokio::test]
async fn what_a_request_says_is_what_a_process_finds() {
    let mut node = Node::new();
    let profiles = node.base.join("profiles");
    node.configuration = format!("seccomp_root = {profiles:?}\n");
    fs::create_dir(&profiles).unwrap();
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}"#;
    fs::write(profiles.join("no-mkdir.json"), profile).unwrap();
    node.start().await;
    let image = import(&node).await;
    let client = node.client().await;
    let mut pod_config = configs::pod("plain", &node.logs());
    pod_config.dns_config = Some(v1::DnsConfig {
        servers: vec!["192.0.2.53".into(), "2001:db8::53".into()],
        searches: vec!["a.example".into(), "b.example".into()],
        options: vec!["ndots:3".into()],
    });
    // Without a host port it is information.
    pod_config.port_mappings.push(v1::PortMapping {
        container_port: 80,
        ..Default::default()
    });
    let linux = pod_config.linux.get_or_insert_default();
    linux.sysctls = [("net.core.somaxconn".to_owned(), "321".to_owned())].into();
    // What a kubelet says of every pod.
    of_pod(&mut pod_config).seccomp = Some(v1::SecurityProfile::default());
    let pod = client.run_pod(&pod_config).await.unwrap();
    for (at, (what, change, script, expected)) in WISHES.iter().enumerate() {
        let mut config = configs::shell(&format!("c{at}"), &image, script);
        change(&mut config);
        let (_, text) = said(&client, &pod, &pod_config, &config).await;
        assert_eq!(text, *expected, "{what}: {script}");
    }
    node.finish().await;
}

#[tokio::test]
async fn a_privileged_container_has_none_of_the_confinements() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut pod_config = configs::pod("privileged", &node.logs());
    of_pod(&mut pod_config).privileged = true;
    let pod = client.run_pod(&pod_config).await.unwrap();
    let script = "grep Seccomp: /proc/self/status; \
                  echo 99 >/proc/sys/net/core/somaxconn && cat /proc/sys/net/core/somaxconn; \
                  grep -c ' /proc/kcore ' /proc/self/mountinfo; ls /dev/kmsg /dev/loop-control 2>&1 | head -n 1";
    let mut config = configs::shell("main", &image, script);
    security(&mut config).run_as_user = int(0);
    security(&mut config).privileged = true;
    // Clients send these with it, and they are void.
    security(&mut config).masked_paths = vec!["/proc/kcore".into()];
    security(&mut config).readonly_paths = vec!["/proc/sys".into()];
    security(&mut config).seccomp = Some(v1::SecurityProfile::default());
    let (_, text) = said(&client, &pod, &pod_config, &config).await;
    assert!(text.starts_with("Seccomp:\t0\n99\n0\n/dev/"), "{text}");

    // It needs a pod that was made for it.
    let plain = configs::pod("plain", &node.logs());
    let pod = client.run_pod(&plain).await.unwrap();
    let refused = client.create(&pod, &plain, &config).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("privileged"), "{refused:?}");
    node.finish().await;
}

/// A container's pid and ipc namespaces, by their inodes.
const NAMESPACES: &str = "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc";

fn of_host(kind: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.display().to_string()
}

#[tokio::test]
async fn processes_and_shared_memory_are_whose_they_are_said_to_be() {
    use v1::NamespaceMode as Mode;
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let with = |pid: Mode, target: &str| v1::NamespaceOption {
        pid: pid.into(),
        target_id: target.to_owned(),
        ..Default::default()
    };
    let mut shared = configs::pod("shared", &node.logs());
    of_pod(&mut shared).namespace_options = Some(with(Mode::Pod, ""));
    let pod = client.run_pod(&shared).await.unwrap();
    let found = async |name: &str, options: v1::NamespaceOption| {
        let mut config = configs::shell(name, &image, NAMESPACES);
        security(&mut config).namespace_options = Some(options);
        let (_, text) = said(&client, &pod, &shared, &config).await;
        let (pid, ipc) = text.split_once('\n').unwrap();
        (pid.to_owned(), ipc.to_owned())
    };
    let (pid, ipc) = found("a", with(Mode::Pod, "")).await;
    assert_eq!(
        found("b", with(Mode::Pod, "")).await,
        (pid.clone(), ipc.clone())
    );
    let (own, same) = found("c", with(Mode::Container, "")).await;
    assert!(own != pid && same == ipc && ipc != of_host("ipc"));
    // An ephemeral container looks at another one's processes.
    let mut target = configs::shell("target", &image, configs::FOREVER);
    security(&mut target).namespace_options = Some(with(Mode::Container, ""));
    let id = client.create(&pod, &shared, &target).await.unwrap();
    client.start(&id).await.unwrap();
    let (_, theirs) = client
        .exec(&id, &["readlink", "/proc/self/ns/pid"])
        .await
        .unwrap();
    let (pid, _) = found("d", with(Mode::Target, &id)).await;
    assert_eq!(pid, theirs.trim());

    let mut host = configs::host_pod("host", &node.logs());
    let node_wide = v1::NamespaceOption {
        network: Mode::Node.into(),
        pid: Mode::Node.into(),
        ipc: Mode::Node.into(),
        ..Default::default()
    };
    of_pod(&mut host).namespace_options = Some(node_wide.clone());
    // What is the host's already needs no publishing.
    host.port_mappings.push(v1::PortMapping {
        container_port: 80,
        host_port: 80,
        ..Default::default()
    });
    let pod = client.run_pod(&host).await.unwrap();
    let mut config = configs::shell("main", &image, NAMESPACES);
    security(&mut config).namespace_options = Some(node_wide);
    let (_, text) = said(&client, &pod, &host, &config).await;
    assert_eq!(text, format!("{}\n{}", of_host("pid"), of_host("ipc")));
    node.finish().await;
}

fn mounted(from: &Path, to: &str, propagation: v1::MountPropagation) -> v1::Mount {
    v1::Mount {
        host_path: from.display().to_string(),
        container_path: to.to_owned(),
        propagation: propagation.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn mounts_of_every_kind() {
    use v1::MountPropagation::{
        PropagationBidirectional as Both, PropagationHostToContainer as FromHost,
        PropagationPrivate as Private,
    };
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut pod_config = configs::pod("mounts", &node.logs());
    of_pod(&mut pod_config).privileged = true;
    let pod = client.run_pod(&pod_config).await.unwrap();
    let volume = node.base.join("volume");
    fs::create_dir_all(volume.join("later")).unwrap();
    fs::create_dir_all(volume.join("theirs")).unwrap();
    mount_bind(&volume, &volume).unwrap();
    mount_change(&volume, MountPropagationFlags::SHARED).unwrap();

    let mut config = configs::shell("main", &image, configs::FOREVER);
    security(&mut config).run_as_user = int(0);
    security(&mut config).privileged = true;
    config.mounts = vec![
        mounted(&volume, "/private", Private),
        mounted(&volume, "/slave", FromHost),
        mounted(&volume, "/shared", Both),
    ];
    let id = client.create(&pod, &pod_config, &config).await.unwrap();
    client.start(&id).await.unwrap();
    let other = node.base.join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), "").unwrap();
    mount_bind(&other, volume.join("later")).unwrap();
    let look = "for one in private slave shared; do ls /$one/later | wc -l; done; \
                mount -t tmpfs inside /shared/theirs && touch /shared/theirs/made";
    let (code, seen) = client.exec(&id, &["sh", "-c", look]).await.unwrap();
    assert_eq!((code, seen.as_str()), (0, "0\n1\n1\n"));
    assert!(volume.join("theirs/made").exists(), "it came to the host");
    client.remove(&id).await.unwrap();

    // A mount below the volume stays writable unless it is said to be read-only all the way down.
    for (name, recursive, expected) in [("ro", false, "written"), ("rro", true, "read-only")] {
        let script = "touch /volume/x 2>/dev/null && echo no; \
                      touch /volume/later/x 2>/dev/null && echo written || echo read-only";
        let mut config = configs::shell(name, &image, script);
        security(&mut config).run_as_user = int(0);
        config.mounts = vec![v1::Mount {
            readonly: true,
            recursive_read_only: recursive,
            ..mounted(&volume, "/volume", Private)
        }];
        let (_, text) = said(&client, &pod, &pod_config, &config).await;
        assert_eq!(text, expected, "{name}");
    }

    // A symbolic link is followed on the host; what is missing is made there.
    let link = node.base.join("link");
    symlink(&other, &link).unwrap();
    let missing = node.base.join("missing/dir");
    let mut config = configs::shell("paths", &image, "ls /link; ls /missing | wc -l");
    config.mounts = vec![
        mounted(&link, "/link", Private),
        mounted(&missing, "/missing", Private),
    ];
    let (_, text) = said(&client, &pod, &pod_config, &config).await;
    assert!(
        text.starts_with("file\n") && text.ends_with("\n0"),
        "{text}"
    );
    assert!(missing.is_dir());
    // A volume that nobody else shares can't be shared with a container.
    let alone = node.base.join("alone");
    fs::create_dir(&alone).unwrap();
    mount_bind(&alone, &alone).unwrap();
    mount_change(&alone, MountPropagationFlags::PRIVATE).unwrap();
    let mut config = configs::shell("alone", &image, "true");
    config.mounts = vec![mounted(&alone, "/alone", Both)];
    let refused = client.create(&pod, &pod_config, &config).await.unwrap_err();
    assert!(
        refused.message().contains("mounts[0].propagation"),
        "{refused:?}"
    );
    for mount in [volume.join("theirs"), volume.join("later"), volume, alone] {
        rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    node.finish().await;
}

/// A volume that shows the image, or what is at `sub_path` of it.
fn of_image(image: &str, sub_path: &str, to: &str) -> v1::Mount {
    v1::Mount {
        container_path: to.to_owned(),
        readonly: true,
        image: Some(v1::ImageSpec {
            image: image.to_owned(),
            user_specified_image: "models:1".to_owned(),
            ..Default::default()
        }),
        image_sub_path: sub_path.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_image_is_a_volume() {
    let (mut node, image) = Node::with_image().await;
    let path = node.base.join("models.tar");
    let own = [
        Layer::new()
            .dir("models", 0o755)
            .file("models/old", 0o644, b"old")
            .file("models/run", 0o755, b"#!/bin/sh\necho runs\n"),
        Layer::new()
            .whiteout("models/old")
            .file("models/new", 0o644, b"new")
            .file("odd,a:b\\c/file", 0o644, b"odd"),
    ];
    // More layers than fsconfig takes in one string.
    let many = (0..10).map(|n| Layer::new().file(&format!("many/{n}"), 0o644, b""));
    own.into_iter()
        .chain(many)
        .fold(image::Builder::new("models:1"), image::Builder::layer)
        .oci_archive(&path)
        .unwrap();
    let client = node.client().await;
    let models = client.import("", &fs::read(&path).unwrap()).await.unwrap();
    let models = models[0].id.clone();
    let pod_config = configs::pod("volumes", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();

    let mut config = configs::shell("main", &image, configs::FOREVER);
    security(&mut config).run_as_user = int(0);
    config.mounts = vec![
        of_image(&models, "", "/all"),
        of_image(&models, "models", "/part"),
        of_image(&models, "models/new", "/part-file"),
        of_image(&image, "bin", "/tools"),
        of_image(&models, "odd,a:b\\c", "/odd"),
    ];
    let id = client.create(&pod, &pod_config, &config).await.unwrap();
    client.start(&id).await.unwrap();
    let look = "ls /all/many | wc -l; ls /all /all/models /part; cat /part-file; /part/run; /tools/busybox true && echo runs; \
                touch /all/x /part/x 2>&1 | grep -c Read-only; echo x >/part-file; cat /odd/file";
    let (_, seen) = client.exec(&id, &["sh", "-c", look]).await.unwrap();
    let expected = "10\n/all:\nmany\nmodels\nodd,a:b\\c\n\n/all/models:\nnew\nrun\n\n/part:\nnew\nrun\nnewruns\nruns\n2\nodd";
    assert_eq!(seen, expected);
    let told = client.status(&id).await.unwrap().mounts;
    let mut said = config.mounts.clone();
    for (mount, image) in said
        .iter_mut()
        .zip([&models, &models, &models, &image, &models])
    {
        mount.image.as_mut().unwrap().image_ref.clone_from(image);
    }
    assert_eq!(told, said);

    // A prune of all that no container uses leaves it.
    let pruned = node.coffer(&["image", "prune", "-a", "-f"]);
    assert!(pruned.status.success(), "{pruned:?}");
    let mut again = configs::shell("again", &image, "true");
    again.mounts = vec![of_image(&models, "", "/all")];
    let kept = client.create(&pod, &pod_config, &again).await.unwrap();
    client.remove(&kept).await.unwrap();

    // What it shows outlives the image and the daemon, and goes with the container.
    let request = v1::RemoveImageRequest {
        image: Some(v1::ImageSpec {
            image: models.clone(),
            ..Default::default()
        }),
    };
    client.images.clone().remove_image(request).await.unwrap();
    let layers = || fs::read_dir(node.root().join("layers")).unwrap().count();
    let held = layers();
    node.kill();
    node.start().await;
    let client = node.client().await;
    let (_, seen) = client.exec(&id, &["cat", "/part/new"]).await.unwrap();
    assert_eq!(seen, "new");
    let mut late = configs::shell("late", &image, "true");
    late.mounts = vec![of_image(&models, "", "/all")];
    let refused = client.create(&pod, &pod_config, &late).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    client.remove(&id).await.unwrap();
    let gone = || fs::read_dir(node.root().join("layers")).unwrap().count() + 12 == held;
    for tries in 0.. {
        if gone() {
            break;
        }
        assert!(tries < 500, "the volume's layers are left behind");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    for (mount, field) in [
        (of_image(&image, "none", "/x"), "image_sub_path"),
        (of_image(&image, "../etc", "/x"), "image_sub_path"),
        (
            v1::Mount {
                readonly: false,
                ..of_image(&image, "", "/x")
            },
            "readonly",
        ),
    ] {
        let mut config = configs::shell("wrong", &image, "true");
        config.mounts = vec![mount];
        let refused = client.create(&pod, &pod_config, &config).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(field), "{refused:?}");
    }
    node.finish().await;
}

#[tokio::test]
async fn a_container_out_of_memory_says_so() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("greedy", &node.logs());
    let mut config = configs::shell("main", &image, "exec tail /dev/zero");
    config.linux.get_or_insert_default().resources = Some(v1::LinuxContainerResources {
        memory_limit_in_bytes: 24 << 20,
        memory_swap_limit_in_bytes: 24 << 20,
        ..Default::default()
    });
    let (_, id) = client.run(&pod_config, &config).await.unwrap();
    let status = client.wait(&id).await.unwrap();
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "OOMKilled")
    );
    let told = status.resources.unwrap().linux.unwrap();
    assert_eq!(told.memory_limit_in_bytes, 24 << 20);
    node.finish().await;
}

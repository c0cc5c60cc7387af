//! Whole documents, compared with files, and the request's fields one by one. `COFFER_BLESS=1`
//! rewrites the files; read the difference before committing it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use image::Part;

use super::*;
use crate::domain::{
    Capabilities, ContainerConfig, ContainerMetadata, ContainerSecurity, Device, EnvValue, EnvVar,
    HugepageLimit, ImageSpec, Mount, NamespaceMode, Namespaces, PodConfig, PodSecurity,
    Propagation, Resources, SecurityProfile,
};

/// A host in tables.
#[derive(Default)]
struct TableHost {
    links: BTreeMap<&'static str, &'static str>,
    shared: Vec<&'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl Host for TableHost {
    fn mount_source(&self, path: &Path) -> io::Result<PathBuf> {
        let text = path.to_str().unwrap();
        if text.starts_with("/broken") {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(PathBuf::from(self.links.get(text).copied().unwrap_or(text)))
    }

    fn peers(&self, path: &Path) -> io::Result<Peers> {
        let shared = self.shared.iter().any(|point| path.starts_with(point));
        Ok(Peers {
            shared,
            slave: false,
        })
    }

    fn devices(&self, path: &Path) -> io::Result<Vec<HostDevice>> {
        let device = |path: &str, block, major, minor| HostDevice {
            path: PathBuf::from(path),
            block,
            major,
            minor,
            mode: 0o660,
            uid: 0,
            gid: 6,
        };
        let all = vec![
            device("/dev/fuse", false, 10, 229),
            device("/dev/loop/0", true, 7, 0),
            device("/dev/loop/1", true, 7, 1),
        ];
        let found: Vec<HostDevice> = all
            .into_iter()
            .filter(|device| device.path.starts_with(path))
            .collect();
        if found.is_empty() {
            Err(io::Error::other("it is not a device"))
        } else {
            Ok(found)
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = self
            .files
            .get(path.to_str().unwrap())
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }
}

/// A request with everything around it, to be changed by a test.
struct Case {
    config: ContainerConfig,
    pod: PodConfig,
    image: ImageInput,
    volumes: Vec<Part>,
    node: NodeSettings,
    facts: HostFacts,
    host: TableHost,
    host_network: bool,
}

impl Case {
    fn new() -> Case {
        Case {
            config: ContainerConfig {
                metadata: ContainerMetadata {
                    name: "web".to_owned(),
                    attempt: 0,
                },
                log_path: "web/0.log".to_owned(),
                ..Default::default()
            },
            pod: PodConfig {
                log_directory: PathBuf::from("/var/log/pods/p"),
                ..Default::default()
            },
            image: ImageInput {
                name: "web:1".to_owned(),
                user: "web".to_owned(),
                env: vec!["PATH=/bin".to_owned()],
                entrypoint: vec!["/bin/httpd".to_owned()],
                cmd: vec!["-f".to_owned()],
                working_dir: "/www".to_owned(),
                stop_signal: "SIGQUIT".to_owned(),
            },
            volumes: Vec::new(),
            node: NodeSettings::default(),
            facts: HostFacts {
                swap_accounting: true,
                hugepage_sizes: vec!["2MB".to_owned()],
                // KILL, CHOWN and SYS_ADMIN.
                capabilities: 1 << 5 | 1 | 1 << 21,
                ..Default::default()
            },
            host: TableHost::default(),
            host_network: false,
        }
    }

    fn build(&self) -> Result<Built, SpecError> {
        let own = !self.host_network;
        let pod = PodInput {
            config: &self.pod,
            cgroup_parent: "/coffer/p1",
            hostname: "web-0",
            netns: own.then_some(Path::new("/run/coffer/pods/p1/net")),
            shm: (self.pod.security.namespaces.ipc != NamespaceMode::Node)
                .then_some(Path::new("/run/coffer/pods/p1/shm")),
            hostname_file: Some(Path::new("/run/coffer/pods/p1/hostname")),
            hosts_file: Some(Path::new("/run/coffer/pods/p1/hosts")),
            resolv_file: Some(Path::new("/run/coffer/pods/p1/resolv.conf")),
        };
        let files = RootfsFiles {
            passwd: Some("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/www:/bin/sh\n".into()),
            group: Some("web:x:1000:\nmedia:x:2000:web\n".into()),
        };
        let input = ContainerInput {
            id: "c1",
            config: &self.config,
            pod: &pod,
            image: &self.image,
            volumes: &self.volumes,
            files: &files,
            node: &self.node,
        };
        let built = container(&input, &self.facts, &self.host)?;
        // Whatever is built is a document that the core takes.
        oci::runtime::validate(&built.spec).unwrap();
        Ok(built)
    }

    fn linux(&self) -> Linux {
        self.build().unwrap().spec.linux.unwrap()
    }

    fn error(&self) -> String {
        let error = self.build().unwrap_err();
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    }
}

fn compare(name: &str, case: &Case) {
    let mut spec = case.build().unwrap().spec;
    // The default profile is long and has tests of its own.
    if let Some(linux) = &mut spec.linux {
        linux.seccomp = None;
    }
    let got = serde_json::to_string_pretty(&spec).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("COFFER_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &got).unwrap();
    }
    let golden = fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; COFFER_BLESS=1 writes it", path.display()));
    assert_eq!(got, golden, "{name} has changed");
}

#[test]
fn golden_a_request_that_says_nothing() {
    compare("minimal.json", &Case::new());
}

#[test]
fn golden_a_kubelets_request() {
    let mut case = Case::new();
    case.config.command = vec!["/bin/server".to_owned()];
    case.config.envs = vec![EnvVar {
        key: "PORT".to_owned(),
        value: EnvValue::from("80"),
    }];
    case.config.mounts = vec![
        Mount {
            container_path: "/var/run/secrets/kubernetes.io/serviceaccount".to_owned(),
            host_path: "/var/lib/kubelet/pods/u/volumes/token".to_owned(),
            readonly: true,
            recursive_read_only: true,
            ..Default::default()
        },
        Mount {
            container_path: "/etc/hosts".to_owned(),
            host_path: "/var/lib/kubelet/pods/u/etc-hosts".to_owned(),
            ..Default::default()
        },
    ];
    case.config.resources = Some(Resources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        memory_swap_limit_in_bytes: 64 << 20,
        oom_score_adj: 985,
        hugepage_limits: vec![
            HugepageLimit {
                page_size: "2MB".to_owned(),
                limit: 0,
            },
            HugepageLimit {
                page_size: "1GB".to_owned(),
                limit: 0,
            },
        ],
        ..Default::default()
    });
    case.config.security = ContainerSecurity {
        namespaces: Namespaces {
            pid: NamespaceMode::Container,
            ..Default::default()
        },
        capabilities: Capabilities {
            drop: vec!["ALL".to_owned()],
            ..Default::default()
        },
        run_as_user: Some(1000),
        supplemental_groups: vec![3000],
        readonly_rootfs: true,
        no_new_privs: true,
        masked_paths: vec!["/proc/kcore".to_owned()],
        readonly_paths: vec!["/proc/sys".to_owned()],
        ..Default::default()
    };
    compare("kubelet.json", &case);
}

#[test]
fn golden_a_privileged_container_on_the_hosts_namespaces() {
    let mut case = Case::new();
    let node = Namespaces {
        network: NamespaceMode::Node,
        pid: NamespaceMode::Node,
        ipc: NamespaceMode::Node,
        ..Default::default()
    };
    case.host_network = true;
    case.pod.security = PodSecurity {
        namespaces: node.clone(),
        privileged: true,
        ..Default::default()
    };
    case.config.tty = true;
    case.config.security = ContainerSecurity {
        privileged: true,
        namespaces: node,
        run_as_user: Some(0),
        // What a kubelet sends all the same; none of it counts.
        masked_paths: vec!["/proc/kcore".to_owned()],
        readonly_paths: vec!["/proc/sys".to_owned()],
        seccomp: Some(SecurityProfile::RuntimeDefault),
        apparmor: Some(SecurityProfile::Localhost("x".to_owned())),
        ..Default::default()
    };
    compare("privileged.json", &case);
    assert_eq!(case.linux().seccomp, None);
}

#[test]
fn the_facts_are_what_was_decided() {
    let mut case = Case::new();
    case.host.links.insert("/link", "/target");
    case.config.mounts = vec![Mount {
        container_path: "/data".to_owned(),
        host_path: "/link".to_owned(),
        ..Default::default()
    }];
    let facts = case.build().unwrap().facts;
    assert_eq!((facts.user.uid, facts.user.gid), (1000, 1000));
    assert_eq!(facts.user.groups, [1000, 2000]);
    assert_eq!(facts.pid, PidNamespace::Pod);
    assert_eq!(
        facts.log_path,
        Some(PathBuf::from("/var/log/pods/p/web/0.log"))
    );
    assert_eq!(facts.stop_signal, Some(3));
    assert_eq!(
        facts.mounts,
        [ResolvedMount {
            index: 0,
            source: PathBuf::from("/target")
        }]
    );
}

#[test]
fn a_privileged_container_needs_a_privileged_pod() {
    let mut case = Case::new();
    case.config.security.privileged = true;
    assert!(
        case.error()
            .starts_with("linux.security_context.privileged: "),
        "{}",
        case.error()
    );
}

fn mount(container_path: &str, host_path: &str) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_owned(),
        ..Default::default()
    }
}

#[test]
fn shallow_mounts_come_first_and_replace_the_defaults() {
    let mut case = Case::new();
    case.config.mounts = vec![
        mount("/a/b/c", "/3"),
        mount("/a", "/1"),
        mount("/sys/fs/cgroup/", "/2"),
    ];
    let mounts = case.build().unwrap().spec.mounts;
    let place = |path: &str| mounts.iter().position(|mount| mount.destination == path);
    assert!(place("/a") < place("/a/b/c"));
    let cgroup: Vec<_> = mounts
        .iter()
        .filter(|mount| mount.destination == "/sys/fs/cgroup")
        .collect();
    assert_eq!(cgroup.len(), 1);
    assert_eq!(cgroup[0].source.as_deref(), Some("/2"));

    case.config.mounts = vec![mount("/dev", "/dev")];
    let mounts = case.build().unwrap().spec.mounts;
    let below_dev = |mount: &&oci::runtime::Mount| mount.destination.starts_with("/dev");
    assert_eq!(mounts.iter().filter(below_dev).count(), 1);
}

#[test]
fn propagation_needs_a_host_mount_that_can() {
    let mut case = Case::new();
    case.host.shared = vec!["/shared"];
    let table = [
        ("/shared/x", Propagation::Private, Some("rprivate"), None),
        (
            "/shared/x",
            Propagation::HostToContainer,
            Some("rslave"),
            Some("rslave"),
        ),
        (
            "/shared/x",
            Propagation::Bidirectional,
            Some("rshared"),
            Some("rshared"),
        ),
        ("/private", Propagation::Private, Some("rprivate"), None),
        ("/private", Propagation::HostToContainer, None, None),
        ("/private", Propagation::Bidirectional, None, None),
    ];
    for (source, propagation, option, rootfs) in table {
        case.config.mounts = vec![Mount {
            propagation,
            ..mount("/data", source)
        }];
        match option {
            Some(option) => {
                let spec = case.build().unwrap().spec;
                let options = &spec.mounts.last().unwrap().options;
                assert_eq!(*options, ["rbind", option, "rw"]);
                assert_eq!(spec.linux.unwrap().rootfs_propagation.as_deref(), rootfs);
            }
            None => {
                let error = case.error();
                assert!(
                    error.starts_with("mounts[0].propagation: needs /private"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn mounts_that_cannot_be_are_named() {
    let relabel = Mount {
        selinux_relabel: true,
        ..mount("/data", "/x")
    };
    let both = Mount {
        readonly: true,
        recursive_read_only: true,
        ..mount("/data", "/x")
    };
    let table = [
        (mount("data", "/x"), "mounts[0].container_path"),
        (mount("/", "/x"), "mounts[0].container_path"),
        (mount("/a/../b", "/x"), "mounts[0].container_path"),
        (mount("/data", "x"), "mounts[0].host_path"),
        (mount("/data", ""), "mounts[0].host_path"),
        (
            mount("/data", "/broken"),
            "mounts[0].host_path: cannot resolve /broken: permission",
        ),
        (
            Mount {
                readonly: false,
                ..both.clone()
            },
            "mounts[0].recursive_read_only",
        ),
        (
            Mount {
                propagation: Propagation::HostToContainer,
                ..both
            },
            "mounts[0].recursive_read_only",
        ),
        (relabel, "mounts[0].selinux_relabel is not supported"),
    ];
    for (mount, expected) in table {
        let mut case = Case::new();
        case.facts.selinux = true;
        case.config.mounts = vec![mount.clone()];
        let error = case.error();
        assert!(error.starts_with(expected), "{mount:?}: {error}");
    }
}

fn of_image(container_path: &str, sub_path: &str) -> Mount {
    Mount {
        readonly: true,
        image: Some(ImageSpec {
            image: "models".to_owned(),
            ..Default::default()
        }),
        image_sub_path: sub_path.to_owned(),
        ..mount(container_path, "")
    }
}

#[test]
fn an_image_is_mounted_read_only() {
    let mut case = Case::new();
    case.config.mounts = vec![
        mount("/host", "/x"),
        of_image("/models", "a:b"),
        of_image("/models/config", "config.json"),
    ];
    case.volumes = vec![
        Part::Directory(vec![
            "/l/2/diff/a:b".into(),
            "/l/1,\\/diff".into(),
            "/n".into(),
        ]),
        Part::File("/l/1/diff/config.json".into()),
    ];
    let mounts = case.build().unwrap().spec.mounts;
    let [.., directory, file] = mounts.as_slice() else {
        panic!("{mounts:?}");
    };
    assert_eq!(directory.destination, "/models");
    assert_eq!(directory.type_.as_deref(), Some("overlay"));
    assert_eq!(
        directory.options,
        ["ro", "nodev", r"lowerdir=/l/2/diff/a\:b:/l/1\,\\/diff:/n"]
    );
    assert_eq!(file.source.as_deref(), Some("/l/1/diff/config.json"));
    assert_eq!(file.options, ["bind", "rprivate", "ro", "nodev"]);
    case.volumes[0] = Part::Directory(vec!["/layer/of/an/image".into(); 300]);
    let error = case.error();
    assert!(
        error.starts_with("mounts[1].image is not supported"),
        "{error}"
    );
}

#[test]
fn mounts_of_images_that_cannot_be_are_named() {
    let change = |change: fn(&mut Mount)| {
        let mut mount = of_image("/models", "");
        change(&mut mount);
        mount
    };
    for (mount, field) in [
        (change(|m| m.readonly = false), "readonly"),
        (change(|m| m.host_path = "/x".to_owned()), "host_path"),
        (
            change(|m| m.propagation = Propagation::Bidirectional),
            "propagation",
        ),
        (of_image("/models", "../x"), "image_sub_path"),
        (of_image("/models", "/x"), "image_sub_path"),
        (
            Mount {
                image_sub_path: "x".to_owned(),
                ..mount("/data", "/x")
            },
            "image_sub_path",
        ),
    ] {
        let mut case = Case::new();
        case.volumes = vec![Part::Directory(vec!["/l".into(), "/n".into()])];
        case.config.mounts = vec![mount.clone()];
        let error = case.error();
        let expected = format!("mounts[0].{field}: ");
        assert!(error.starts_with(&expected), "{mount:?}: {error}");
    }
}

#[test]
fn a_relabel_on_a_host_without_selinux_is_nothing_to_do() {
    let mut case = Case::new();
    case.config.mounts = vec![Mount {
        selinux_relabel: true,
        ..mount("/data", "/x")
    }];
    case.build().unwrap();
}

fn device(container_path: &str, host_path: &str, permissions: &str) -> Device {
    Device {
        container_path: container_path.to_owned(),
        host_path: host_path.to_owned(),
        permissions: permissions.to_owned(),
    }
}

#[test]
fn devices_become_nodes_and_rules() {
    let mut case = Case::new();
    case.config.devices = vec![
        device("/dev/fuse", "/dev/fuse", "mr"),
        device("/dev/disk", "/dev/loop", "rwm"),
    ];
    let linux = case.linux();
    let paths: Vec<&str> = linux
        .devices
        .iter()
        .map(|device| device.path.as_str())
        .collect();
    assert_eq!(paths, ["/dev/fuse", "/dev/disk/0", "/dev/disk/1"]);
    let rules = linux.resources.unwrap().devices;
    assert!(!rules[0].allow, "everything is denied first");
    let last: Vec<_> = rules[rules.len() - 3..]
        .iter()
        .map(|rule| (rule.major, rule.access.as_deref()))
        .collect();
    assert_eq!(
        last,
        [
            (Some(10), Some("rm")),
            (Some(7), Some("rwm")),
            (Some(7), Some("rwm"))
        ]
    );
}

#[test]
fn devices_that_cannot_be_are_named() {
    let table = [
        (device("/dev/x", "/dev/fuse", ""), "devices[0].permissions"),
        (
            device("/dev/x", "/dev/fuse", "rx"),
            "devices[0].permissions",
        ),
        (
            device("dev/x", "/dev/fuse", "r"),
            "devices[0].container_path",
        ),
        (
            device("/dev/../x", "/dev/fuse", "r"),
            "devices[0].container_path",
        ),
        (device("/dev/x", "fuse", "r"), "devices[0].host_path"),
        (
            device("/dev/x", "/etc/passwd", "r"),
            "devices[0].host_path: cannot use as a device",
        ),
    ];
    for (said, expected) in table {
        let mut case = Case::new();
        case.config.devices = vec![said.clone()];
        let error = case.error();
        assert!(error.starts_with(expected), "{said:?}: {error}");
    }
}

#[test]
fn seccomp_is_what_is_said_and_none_where_nothing_is() {
    let mut case = Case::new();
    assert_eq!(case.linux().seccomp, None);
    case.config.security.seccomp = Some(SecurityProfile::RuntimeDefault);
    let default = case.linux().seccomp.unwrap();
    assert!(!default.syscalls.is_empty());
    case.config.security.seccomp = Some(SecurityProfile::Unconfined);
    assert_eq!(case.linux().seccomp, None);

    let key = "security.alpha.kubernetes.io/seccomp/pod".to_owned();
    case.pod
        .annotations
        .insert(key, "runtime/default".to_owned());
    assert_eq!(case.linux().seccomp, None, "the field wins");
    case.config.security.seccomp = None;
    assert_eq!(case.linux().seccomp, Some(default), "the annotation counts");
}

#[test]
fn a_local_seccomp_profile_is_read() {
    let mut case = Case::new();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW",
        "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}"#;
    case.host
        .files
        .insert("/var/lib/kubelet/seccomp/web.json", profile);
    case.host.files.insert("/tmp/broken.json", "{");
    let with = |case: &mut Case, name: &str| {
        case.config.security.seccomp = Some(SecurityProfile::Localhost(name.to_owned()));
    };
    for name in ["web.json", "/var/lib/kubelet/seccomp/web.json"] {
        with(&mut case, name);
        assert_eq!(case.linux().seccomp.unwrap().syscalls[0].names, ["mkdir"]);
    }
    for (name, expected) in [
        (
            "gone.json",
            "cannot read the profile /var/lib/kubelet/seccomp/gone.json",
        ),
        (
            "/tmp/broken.json",
            "/tmp/broken.json is not a seccomp profile",
        ),
        ("../../etc/passwd", "is not a file below"),
    ] {
        with(&mut case, name);
        let error = case.error();
        assert!(
            error.starts_with("linux.security_context.seccomp.localhost_ref"),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn namespaces_are_the_pods() {
    use oci::runtime::NamespaceType as T;
    let types = |case: &Case| -> Vec<T> {
        case.linux()
            .namespaces
            .iter()
            .map(|namespace| namespace.type_)
            .collect()
    };
    let mut case = Case::new();
    assert_eq!(
        types(&case),
        [T::Mount, T::Cgroup, T::Network, T::Uts, T::Ipc, T::Pid]
    );
    let network = case.linux().namespaces[2].path.clone();
    assert_eq!(network.as_deref(), Some("/run/coffer/pods/p1/net"));

    case.host_network = true;
    case.pod.security.namespaces.network = NamespaceMode::Node;
    case.pod.security.namespaces.ipc = NamespaceMode::Node;
    case.pod.security.namespaces.pid = NamespaceMode::Node;
    assert_eq!(types(&case), [T::Mount, T::Cgroup]);
    let shm = |case: &Case| {
        let mounts = case.build().unwrap().spec.mounts;
        mounts
            .into_iter()
            .find(|mount| mount.destination == "/dev/shm")
            .unwrap()
            .source
            .unwrap()
    };
    assert_eq!(shm(&case), "/dev/shm");
    assert_eq!(shm(&Case::new()), "/run/coffer/pods/p1/shm");
}

#[test]
fn a_container_cannot_ask_for_more_of_the_host_than_its_pod_has() {
    for (field, namespaces) in [
        (
            "network",
            Namespaces {
                network: NamespaceMode::Node,
                ..Default::default()
            },
        ),
        (
            "ipc",
            Namespaces {
                ipc: NamespaceMode::Node,
                ..Default::default()
            },
        ),
        (
            "pid",
            Namespaces {
                pid: NamespaceMode::Node,
                ..Default::default()
            },
        ),
    ] {
        let mut case = Case::new();
        case.config.security.namespaces = namespaces;
        let expected = format!("linux.security_context.namespace_options.{field}: is NODE");
        assert!(case.error().starts_with(&expected), "{}", case.error());
    }
}

#[test]
fn annotations_pass_only_where_the_operator_says_so() {
    let mut case = Case::new();
    case.pod
        .annotations
        .insert("a/pod".to_owned(), "1".to_owned());
    case.config
        .annotations
        .insert("a/container".to_owned(), "2".to_owned());
    case.config
        .annotations
        .insert("b".to_owned(), "3".to_owned());
    assert!(case.build().unwrap().spec.annotations.is_empty());
    case.node.passed_annotations = vec!["a/*".to_owned()];
    let passed = case.build().unwrap().spec.annotations;
    assert_eq!(passed.keys().collect::<Vec<_>>(), ["a/container", "a/pod"]);
}

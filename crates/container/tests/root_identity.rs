//! Who a process is: user namespaces, joined namespaces, capabilities, seccomp, limits, terminal.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{io::Read, os::fd::AsFd};

use common::{Bundle, Live, process};
use container::{Gate, Stdio};
use serde_json::{Value, json};

fn quiet() -> Stdio {
    Stdio::Fds {
        stdin: None,
        stdout: None,
        stderr: None,
    }
}

fn namespaces(bundle: &mut Bundle, extra: &[Value]) {
    let list = bundle.json["linux"]["namespaces"].as_array_mut().unwrap();
    for namespace in extra {
        list.retain(|n| n["type"] != namespace["type"]);
        list.push(namespace.clone());
    }
}

fn user_namespace(bundle: &mut Bundle) {
    namespaces(bundle, &[json!({"type": "user"})]);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.json["linux"]["uidMappings"] = map.clone();
    bundle.json["linux"]["gidMappings"] = map;
    // The parent of a temporary directory is not for strangers.
    use std::os::unix::fs::PermissionsExt;
    for dir in [bundle.dir.path().to_owned(), bundle.root()] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_user_namespace_maps_root_to_nobody_special() {
    let mut bundle = Bundle::script(
        "id -u; cut -d: -f1 /dev/null; cat /proc/self/uid_map | tr -s ' '; cat /proc/self/oom_score_adj; \
         echo x > /dev/null; stat -c %F /dev/zero; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    user_namespace(&mut bundle);
    bundle.json["process"]["oomScoreAdj"] = json!(321);
    bundle.json["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
    bundle.json["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "7"});
    let ran = bundle.run();
    assert_eq!(
        ran.ok(),
        "0\n 0 100000 65536\n321\ncharacter special file\nbox\n7"
    );
}

#[test]
fn exec_enters_a_user_namespace() {
    let mut bundle = Bundle::script("exec sleep 100");
    user_namespace(&mut bundle);
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let mut wanted = process(&[
        "sh",
        "-c",
        "id -u; tr -s ' ' < /proc/self/uid_map; ulimit -n",
    ]);
    wanted["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]);
    assert_eq!(live.exec(wanted).ok(), "0\n 0 100000 65536\n77");
}

#[test]
fn a_user_namespace_is_joined_by_path() {
    let mut first = Bundle::script("exec sleep 100");
    user_namespace(&mut first);
    let spec = first.spec();
    let mut live = Live::create(&first, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let mut second =
        Bundle::script("id -u; for n in user net pid; do readlink /proc/self/ns/$n; done; echo $$");
    user_namespace(&mut second);
    let path = |n: &str| {
        json!({"type": if n == "net" { "network" } else { n },
        "path": format!("/proc/{}/ns/{n}", live.container.init.pid)})
    };
    namespaces(
        &mut second,
        &[
            path("user"),
            path("net"),
            path("pid"),
            json!({"type": "uts"}),
        ],
    );
    second.json["linux"]["uidMappings"] = json!([]);
    second.json["linux"]["gidMappings"] = json!([]);
    // sysfs belongs to the user namespace of the network: it is the same here.
    let ran = second.run();
    let link = |n: &str| {
        let path = format!("/proc/{}/ns/{n}", live.container.init.pid);
        std::fs::read_link(path)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let expected = format!("0\n{}\n{}\n{}\n", link("user"), link("net"), link("pid"));
    assert!(ran.ok().starts_with(&expected), "{ran:?} {expected}");
    assert_ne!(ran.stdout.lines().last(), Some("1"));
}

#[test]
fn a_new_user_namespace_beside_a_joined_network() {
    let first = Bundle::script("exec sleep 100");
    let spec = first.spec();
    let mut live = Live::create(&first, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let mut second = Bundle::script("id -u; readlink /proc/self/ns/net");
    user_namespace(&mut second);
    let net = format!("/proc/{}/ns/net", live.container.init.pid);
    namespaces(&mut second, &[json!({"type": "network", "path": net})]);
    // sysfs is the host network's: it can't be mounted from within.
    second.json["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/sys"));
    let expected = format!("0\n{}", std::fs::read_link(&net).unwrap().display());
    assert_eq!(second.run().ok(), expected);
}

#[test]
fn a_pid_namespace_is_joined_by_path() {
    let first = Bundle::script("exec sleep 100");
    let spec = first.spec();
    let mut live = Live::create(&first, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let mut second = Bundle::script(
        "test $$ != 1 && cat /proc/1/cmdline | tr '\\0' ' '; cat /proc/self/stat | cut -d' ' -f4",
    );
    let path = format!("/proc/{}/ns/pid", live.container.init.pid);
    namespaces(&mut second, &[json!({"type": "pid", "path": path})]);
    let ran = second.run();
    assert!(ran.ok().starts_with("sleep 100 "), "{ran:?}");
}

#[test]
fn time_offsets_hold_for_all_of_it() {
    let mut bundle = Bundle::script("cut -d. -f1 /proc/uptime");
    namespaces(&mut bundle, &[json!({"type": "time"})]);
    bundle.json["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000}});
    let uptime: u64 = bundle.run().ok().parse().unwrap();
    assert!(uptime >= 1_000_000, "{uptime}");
}

#[test]
fn capabilities_are_as_asked_in_all_sets() {
    let mut bundle = Bundle::script("grep ^Cap /proc/self/status | cut -f2");
    bundle.json["process"]["capabilities"] = json!({
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
    });
    bundle.json["process"]["user"] = json!({"uid": 33, "gid": 33, "additionalGids": [5, 7]});
    // An ordinary user keeps over execve what is ambient.
    assert_eq!(
        bundle.run().ok(),
        "0000000000000001\n0000000000000001\n0000000000000001\n0000000000002021\n0000000000000001"
    );
    bundle.json["process"]["args"] = json!([
        "sh",
        "-c",
        "id -u; id -G; umask; echo $HOME; grep NoNew /proc/self/status | cut -f2"
    ]);
    bundle.json["process"]["noNewPrivileges"] = json!(true);
    bundle.json["process"]["user"]["umask"] = json!(0o77);
    assert_eq!(bundle.run().ok(), "33\n33 5 7\n0077\n/srv\n1");
}

#[test]
fn capabilities_that_we_lack_are_refused_by_name_or_clamped() {
    let mut bundle = Bundle::script("grep CapBnd /proc/self/status | cut -f2");
    let list = json!(["CAP_KILL", "CAP_SYS_RESOURCE"]);
    bundle.json["process"]["capabilities"] = json!({"bounding": list});
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours
        .lines()
        .find_map(|l| l.strip_prefix("CapBnd:"))
        .unwrap()
        .trim()
        .to_owned();
    let has = u64::from_str_radix(&ours, 16).unwrap() & (1 << 24) != 0;
    if has {
        assert_eq!(bundle.run().ok(), "0000000001000020");
    } else {
        let said = bundle.fails();
        assert!(
            said.contains("CAP_SYS_RESOURCE is not supported: we do not have it"),
            "{said}"
        );
    }
    let spec = bundle.spec();
    let (stdio, output) = common::piped();
    let mut request = bundle.request(&spec, stdio, Gate::None);
    request.clamp_capabilities = true;
    let container = common::engine().create(request).unwrap();
    let (stdout, _) = output.read();
    container::destroy(&container.as_ref(&spec, bundle.dir.path())).unwrap();
    sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
    let expected = if has {
        "0000000001000020\n"
    } else {
        "0000000000000020\n"
    };
    assert_eq!(stdout, expected);
}

#[test]
fn seccomp_filters_before_and_after_privileges_are_given_up() {
    for no_new_privileges in [false, true] {
        let mut bundle =
            Bundle::script("mkdir /tmp/x; echo $?; grep Seccomp: /proc/self/status | cut -f2");
        bundle.json["process"]["noNewPrivileges"] = json!(no_new_privileges);
        bundle.json["process"]["capabilities"] = if no_new_privileges {
            json!({})
        } else {
            bundle.json["process"]["capabilities"].clone()
        };
        bundle.json["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
        });
        let ran = bundle.run();
        assert_eq!(ran.stdout, "1\n2\n", "{ran:?}");
        assert!(ran.stderr.contains("not supported"), "{ran:?}");
    }
}

#[test]
fn a_terminal_is_the_containers_own() {
    let mut bundle = Bundle::script(
        "tty; stty size; test -c /dev/console && echo console; cat /proc/self/stat | cut -d' ' -f7",
    );
    bundle.json["process"]["terminal"] = json!(true);
    bundle.json["process"]["consoleSize"] = json!({"height": 33, "width": 111});
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, Stdio::Terminal, Gate::Pipe).unwrap();
    let console = live.container.init.console.take().unwrap();
    live.container.start().unwrap();
    let mut text = String::new();
    // The other side's end is EIO.
    let _ = std::fs::File::from(console).read_to_string(&mut text);
    assert_eq!(live.wait(), 0);
    assert_eq!(
        text.replace("\r\n", " "),
        "/dev/pts/0 33 111 console 34816 "
    );
}

#[test]
fn exec_gets_a_terminal_too() {
    let bundle = Bundle::script("exec sleep 100");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let wanted = serde_json::from_value(process(&["tty"])).unwrap();
    let request = container::ExecRequest {
        process: &wanted,
        stdio: Stdio::Terminal,
        preserve_fds: 0,
        no_new_keyring: false,
        extra_env: vec![],
        clamp_capabilities: false,
        ignore_paused: false,
    };
    let reference = live.container.as_ref(&spec, bundle.dir.path());
    let entered = common::engine().exec(&reference, request).unwrap();
    let mut text = String::new();
    let _ = std::fs::File::from(entered.console.unwrap()).read_to_string(&mut text);
    sys::wait::wait(entered.pidfd.as_fd()).unwrap();
    assert_eq!(text, "/dev/pts/0\r\n");
}

/// An image whose log is a link to /dev/stdout, and whose user is not root.
#[test]
fn a_user_may_open_its_streams_again() {
    let script = "id -u; echo out > /dev/stdout; echo err > /dev/stderr";
    let mut bundle = Bundle::script(script);
    bundle.json["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let ran = bundle.run();
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("1000\nout\n", "err\n")
    );
    user_namespace(&mut bundle);
    let ran = bundle.run();
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("1000\nout\n", "err\n")
    );

    let mut bundle = Bundle::script("exec sleep 100");
    user_namespace(&mut bundle);
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let mut entered = process(&["sh", "-c", script]);
    entered["user"] = json!({"uid": 7, "gid": 7});
    let ran = live.exec(entered);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("7\nout\n", "err\n")
    );
}

/// S1 (CVE-2019-5736): a process of ours that is in the container's pid namespace already, but not
/// yet theirs, shows them neither its program nor its descriptors.
#[test]
fn what_waits_at_the_gate_is_closed_to_its_neighbours() {
    let first = Bundle::script("exec sleep 100");
    let spec = first.spec();
    let mut live = Live::create(&first, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let mut second = Bundle::script("true");
    let path = format!("/proc/{}/ns/pid", live.container.init.pid);
    namespaces(&mut second, &[json!({"type": "pid", "path": path})]);
    let second_spec = second.spec();
    let waiting = Live::create(&second, &second_spec, quiet(), Gate::Pipe).unwrap();
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", waiting.container.init.pid)).unwrap();
    let inner = status
        .lines()
        .find_map(|l| l.strip_prefix("NSpid:"))
        .unwrap();
    let inner = inner.split_whitespace().last().unwrap();
    let script = format!(
        "test -d /proc/{inner} && for f in exe fd/0 root cwd; do readlink /proc/{inner}/$f || echo denied; done; \
         for f in /proc/{inner}/fd/*; do readlink $f; done; head -c 1 /proc/{inner}/mem || echo denied"
    );
    let ran = live.exec(process(&["sh", "-c", &script]));
    assert_eq!(
        ran.stdout, "denied\ndenied\ndenied\ndenied\ndenied\n",
        "{ran:?}"
    );
}

#[test]
fn many_containers_are_made_at_once() {
    // Made before: a program that is still being copied is inherited, open for writing, by what is
    // cloned meanwhile, and is "text file busy" then.
    let bundles: Vec<_> = (0..12)
        .map(|n| Bundle::script(&format!("echo {n}; exit {n}")))
        .collect();
    std::thread::scope(|scope| {
        for (n, bundle) in (0..12).zip(&bundles) {
            scope.spawn(move || {
                let ran = bundle.run();
                assert_eq!((ran.code, ran.stdout), (n, format!("{n}\n")));
            });
        }
    });
}

/// An interface pair of the host's; what of it is left goes with the guard.
struct Veth(String);

impl Veth {
    fn new(name: &str) -> Self {
        let this = Self(name.to_owned());
        let peer = format!("{name}p");
        this.ip(&["link", "add", name, "type", "veth", "peer", "name", &peer]);
        this.ip(&["addr", "add", "10.213.7.1/30", "dev", name]);
        this
    }

    fn ip(&self, words: &[&str]) {
        let ran = std::process::Command::new("ip").args(words).status();
        assert!(ran.unwrap().success(), "{words:?}");
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let peer = format!("{}p", self.0);
        let _ = std::process::Command::new("ip")
            .args(["link", "del", &peer])
            .stderr(std::process::Stdio::null())
            .status();
    }
}

#[test]
fn network_devices_move_in_with_their_addresses_and_a_new_name() {
    let name = format!("cft{}", std::process::id());
    let veth = Veth::new(&name);
    let mut bundle = Bundle::script(
        "ip -o addr show dev data0 | awk '{print $3, $4}'; ip -o link show dev data0 | grep -c UP",
    );
    bundle.json["linux"]["netDevices"] = json!({&name: {"name": "data0"}});
    assert_eq!(bundle.run().ok(), "inet 10.213.7.1/30\n1");
    // A virtual device ends with its namespace; what is not there is told by name.
    let said = bundle.fails();
    let wanted = format!("linux.netDevices[{name:?}]: find it: No such device");
    assert!(said.starts_with(&wanted), "{said}");
    assert!(common::cgroup_gone(bundle.id.as_str()));
    drop(veth);
}

#[test]
fn what_this_machine_has_not_is_an_error_that_says_so() {
    // The kernels and processors that have these run the tests of their modules; a label or a group that
    // is silently left out would be a hole.
    let cases = [
        (
            "/linux/intelRdt",
            json!({"l3CacheSchema": "L3:0=f"}),
            "linux.intelRdt is not supported: resctrl is not mounted",
            "/sys/fs/resctrl/schemata",
        ),
        (
            "/linux/mountLabel",
            json!("system_u:object_r:container_file_t:s0"),
            "linux.mountLabel is not supported: SELinux is not enabled",
            "/sys/fs/selinux/enforce",
        ),
        (
            "/process/selinuxLabel",
            json!("system_u:system_r:container_t:s0"),
            "process.selinuxLabel is not supported: SELinux is not enabled",
            "/sys/fs/selinux/enforce",
        ),
        (
            "/process/apparmorProfile",
            json!("some-profile"),
            "process.apparmorProfile is not supported: AppArmor is not enabled",
            "/sys/kernel/security/apparmor/profiles",
        ),
    ];
    for (pointer, value, text, here) in cases {
        if std::path::Path::new(here).exists() {
            continue;
        }
        let mut bundle = Bundle::script("true");
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bundle.json.pointer_mut(parent).unwrap()[key] = value;
        let said = bundle.fails();
        assert!(said.starts_with(text), "{said}");
        assert!(common::cgroup_gone(bundle.id.as_str()));
    }
}

#[test]
fn a_process_has_all_cpus_of_its_cgroup_whatever_the_runtime_is_bound_to() {
    let bundle = Bundle::script("grep Cpus_allowed_list /proc/self/status");
    let all = bundle.run().ok().to_owned();
    let bound = std::thread::spawn(move || {
        let mut one = rustix::thread::CpuSet::new();
        one.set(0);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        bundle.run().ok().to_owned()
    });
    assert_eq!(bound.join().unwrap(), all);
}

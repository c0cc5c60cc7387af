//! The systemd driver against a real bus on which a thread plays systemd: it makes and removes the
//! scope's directory as systemd does. The bus itself refuses messages that are not well formed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio as Pipe},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use common::{Bundle, chain, piped};
use container::{
    CgroupManager, Engine, EngineOptions, Gate,
    cgroup::Cgroup,
    dbus::{self, Call, Connection, Message, Value},
};
use serde_json::json;

const CONFIG: &str = r#"<busconfig><type>system</type><listen>unix:path=BUS</listen>
<auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"#;

/// Members that were called, with their arguments.
type Calls = Vec<(String, Vec<Value>)>;

/// A bus with a systemd on it.
struct Bus {
    dir: tempfile::TempDir,
    daemon: Child,
    calls: Arc<Mutex<Calls>>,
    systemd: Option<JoinHandle<()>>,
    slice: String,
}

/// How systemd behaves.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Works,
    JobFails,
    /// A failed unit of that name must be reset first.
    Remembers,
}

impl Bus {
    fn new(name: &str, mood: Mood) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("bus");
        let config = dir.path().join("bus.conf");
        fs::write(&config, CONFIG.replace("BUS", socket.to_str().unwrap())).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Pipe::piped())
            .spawn()
            .unwrap();
        // The address is printed once it can be connected to.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("unix:path="), "{line:?}");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let mut bus = Connection::open(&socket).unwrap();
        let request = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "RequestName",
        };
        let body = vec![Value::text("org.freedesktop.systemd1"), Value::U32(4)];
        assert_eq!(bus.call(&request, body).unwrap(), [Value::U32(1)]);
        let heard = Arc::clone(&calls);
        let systemd = std::thread::spawn(move || systemd(&mut bus, mood, &heard));
        Self {
            dir,
            daemon,
            calls,
            systemd: Some(systemd),
            slice: format!("coffertest{name}{}.slice", std::process::id()),
        }
    }

    fn engine(&self) -> Engine {
        Engine::probe(EngineOptions {
            cgroup_manager: CgroupManager::Systemd,
            bus: Some(self.dir.path().join("bus")),
            ..EngineOptions::default()
        })
        .unwrap()
    }

    /// Members called since the last time, without the bus' own.
    fn heard(&self) -> Vec<(String, Vec<Value>)> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        if let Some(systemd) = self.systemd.take() {
            let _ = systemd.join();
        }
        let _ = fs::remove_dir(Path::new(&systemd_root()).join(&self.slice));
    }
}

/// The hierarchy that systemd itself has on this machine.
fn systemd_root() -> PathBuf {
    let named = Path::new("/sys/fs/cgroup/systemd");
    if named.is_dir() {
        named.to_owned()
    } else {
        "/sys/fs/cgroup".into()
    }
}

fn properties(value: &Value) -> BTreeMap<String, Value> {
    let Value::Array(_, list) = value else {
        panic!("{value:?}")
    };
    let pair = |value: &Value| match value {
        Value::Struct(pair) => match pair.as_slice() {
            [name, Value::Variant(value)] => (name.as_text().unwrap().to_owned(), *value.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    list.iter().map(pair).collect()
}

fn systemd(bus: &mut Connection, mood: Mood, heard: &Mutex<Calls>) {
    let mut scopes: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut jobs = 0;
    let mut remembered = mood == Mood::Remembers;
    // The end of the bus is our end.
    while let Ok(call) = bus.next_message() {
        let (Some(member), Some(sender)) = (call.member(), call.sender()) else {
            continue;
        };
        if !call.is_call() {
            continue;
        }
        let name = call
            .body()
            .first()
            .and_then(Value::as_text)
            .unwrap_or_default();
        heard
            .lock()
            .unwrap()
            .push((member.to_owned(), call.body().to_vec()));
        let error =
            |name: &str| Message::error(&call, &format!("org.freedesktop.systemd1.{name}"), "no");
        let mut job = None;
        let answer = match member {
            "StartTransientUnit" if remembered => error("UnitExists"),
            "StartTransientUnit" => {
                let properties = properties(&call.body()[2]);
                let slice = properties["Slice"].as_text().unwrap();
                let dir = systemd_root().join(slice).join(name);
                if mood != Mood::JobFails {
                    fs::create_dir_all(&dir).unwrap();
                    let Value::Array(_, pids) = &properties["PIDs"] else {
                        panic!()
                    };
                    for pid in pids {
                        let Value::U32(pid) = pid else { panic!() };
                        fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
                    }
                    scopes.insert(name.to_owned(), dir);
                }
                jobs += 1;
                job = Some(if mood == Mood::JobFails {
                    "failed"
                } else {
                    "done"
                });
                Message::answer(
                    &call,
                    vec![Value::Path(format!("/org/freedesktop/systemd1/job/{jobs}"))],
                )
            }
            "StopUnit" => match scopes.remove(name) {
                Some(dir) => {
                    let _by_us_or_them = fs::remove_dir(dir);
                    jobs += 1;
                    job = Some("done");
                    Message::answer(
                        &call,
                        vec![Value::Path(format!("/org/freedesktop/systemd1/job/{jobs}"))],
                    )
                }
                None => error("NoSuchUnit"),
            },
            "ResetFailedUnit" => {
                remembered = false;
                Message::answer(&call, vec![])
            }
            "Subscribe" | "SetUnitProperties" => Message::answer(&call, vec![]),
            _ => error("Unknown"),
        };
        let answer = answer.to(sender);
        if bus.send(&answer).is_err() {
            break;
        }
        if let Some(result) = job {
            let body = vec![
                Value::U32(jobs),
                Value::Path(format!("/org/freedesktop/systemd1/job/{jobs}")),
                Value::text(name),
                Value::text(result),
            ];
            let path = "/org/freedesktop/systemd1";
            let signal =
                Message::signal(path, "org.freedesktop.systemd1.Manager", "JobRemoved", body);
            if bus.send(&signal).is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_container_is_a_scope_of_systemds() {
    let bus = Bus::new("scope", Mood::Works);
    let engine = bus.engine();
    let mut bundle = Bundle::script("grep name=systemd /proc/self/cgroup; exec sleep 100");
    let unit = format!("t-{}.scope", bundle.id);
    bundle.json["linux"]["cgroupsPath"] = json!(format!("{}:t:{}", bus.slice, bundle.id));
    // One process: the one that keeps the scope meanwhile is not in its way.
    bundle.json["linux"]["resources"] =
        json!({"memory": {"limit": 64 << 20}, "cpu": {"shares": 512}, "pids": {"limit": 1}});
    bundle.json["annotations"] = json!({"org.systemd.property.TimeoutStopUSec": "uint64 5000000"});
    let spec = bundle.spec();
    let (stdio, output) = piped();
    let mut container = engine
        .create(bundle.request(&spec, stdio, Gate::Pipe))
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    let heard = bus.heard();
    let members: Vec<&str> = heard.iter().map(|(member, _)| member.as_str()).collect();
    assert_eq!(
        members,
        [
            "Subscribe",
            "StartTransientUnit",
            "SetUnitProperties",
            "SetUnitProperties"
        ]
    );
    let start = &heard[1].1;
    assert_eq!(start[..2], [Value::text(&unit), Value::text("replace")]);
    let of_scope = properties(&start[2]);
    assert_eq!(of_scope["Slice"], Value::text(&bus.slice));
    assert_eq!(of_scope["Delegate"], Value::Bool(true));
    assert_eq!(of_scope["TimeoutStopUSec"], Value::U64(5_000_000));
    let limits = properties(&heard[2].1[2]);
    let v2 = engine.hierarchy().is_v2();
    let memory = if v2 { "MemoryMax" } else { "MemoryLimit" };
    assert_eq!(limits[memory], Value::U64(64 << 20));
    assert_eq!(limits["DevicePolicy"], Value::text("strict"));
    assert!(!limits.contains_key("TasksMax"));
    assert_eq!(properties(&heard[3].1[2])["TasksMax"], Value::U64(1));

    // The files say it too, in all hierarchies.
    let path = format!("/{}/{unit}", bus.slice);
    assert_eq!(container.cgroup.path(), path);
    let of_init = fs::read_to_string(format!("/proc/{}/cgroup", container.init.pid)).unwrap();
    assert!(
        of_init.lines().filter(|line| line.ends_with(&path)).count() > 3,
        "{of_init}"
    );
    let pids = &container.cgroup.paths()[if v2 { "" } else { "pids" }];
    assert_eq!(fs::read_to_string(pids.join("pids.max")).unwrap(), "1\n");
    assert_eq!(container.cgroup.pids().unwrap(), [container.init.pid]);
    container.start().unwrap();

    // Another process finds it by its record, changes and ends it.
    let record = serde_json::to_string(&container.cgroup.record()).unwrap();
    let record = serde_json::from_str(&record).unwrap();
    let cgroup = Cgroup::from_record(engine.hierarchy(), &record).unwrap();
    assert_eq!(cgroup.unit().unwrap().name, unit);
    let update = serde_json::from_value(json!({"pids": {"limit": 7}})).unwrap();
    cgroup.apply(&update).unwrap();
    let heard = bus.heard();
    assert_eq!(properties(&heard[0].1[2])["TasksMax"], Value::U64(7));
    let reference = container::ContainerRef {
        cgroup: &cgroup,
        ..container.as_ref(&spec, bundle.dir.path())
    };
    engine
        .destroy(&reference)
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
    drop(output);
    assert!(!cgroup.exists());
    let members: Vec<String> = bus.heard().into_iter().map(|(member, _)| member).collect();
    assert_eq!(members, ["Subscribe", "StopUnit", "ResetFailedUnit"]);
}

#[test]
fn a_scope_is_kept_until_somebody_elses_processes_are_in_it() {
    let bus = Bus::new("prepared", Mood::Works);
    let engine = bus.engine();
    let mut bundle = Bundle::script("true");
    bundle.json["linux"]["cgroupsPath"] = json!(format!("{}:t:{}", bus.slice, bundle.id));
    bundle.json["linux"]["resources"] = json!({"pids": {"limit": 9}});
    let mut prepared = engine.prepare(&bundle.id, &bundle.spec()).unwrap();
    let heard = bus.heard();
    let properties = properties(&heard[2].1[2]);
    assert_eq!(properties["TasksMax"], Value::U64(9));
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let cgroup = prepared.cgroup.clone();
    cgroup.add(pid).unwrap();
    prepared.joined();
    assert_eq!(cgroup.pids().unwrap(), [pid]);
    child.kill().unwrap();
    child.wait().unwrap();
    cgroup.remove().unwrap();
    assert!(!cgroup.exists());
    let members: Vec<String> = bus.heard().into_iter().map(|(member, _)| member).collect();
    assert_eq!(members, ["Subscribe", "StopUnit", "ResetFailedUnit"]);
}

#[test]
fn what_systemd_refuses_is_told_and_leaves_nothing() {
    let bundle = |bus: &Bus| {
        let mut bundle = Bundle::script("true");
        bundle.json["linux"]["cgroupsPath"] = json!(format!("{}:t:{}", bus.slice, bundle.id));
        bundle
    };
    let refused = |bus: &Bus, bundle: &Bundle| {
        let spec = bundle.spec();
        let request = bundle.request(&spec, container::Stdio::Inherit, Gate::Pipe);
        chain(&bus.engine().create(request).unwrap_err())
    };
    let bus = Bus::new("refuses", Mood::JobFails);
    let failing = bundle(&bus);
    let said = refused(&bus, &failing);
    let unit = format!("t-{}.scope", failing.id);
    let wanted =
        format!("have systemd start {unit}: its job is \"failed\": see journalctl -u {unit}");
    assert_eq!(said, wanted);

    let mut odd = bundle(&bus);
    odd.json["linux"]["cgroupsPath"] = json!("/a/b");
    assert!(refused(&bus, &odd).contains("with systemd it is slice:prefix:name"));

    let bus = Bus::new("remembers", Mood::Remembers);
    let again = bundle(&bus);
    let spec = again.spec();
    let engine = bus.engine();
    let (stdio, _output) = piped();
    let container = engine
        .create(again.request(&spec, stdio, Gate::Pipe))
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    engine
        .destroy(&container.as_ref(&spec, again.dir.path()))
        .unwrap();
    sys::wait::wait(container.init.pidfd.as_fd()).unwrap();

    let socket = bus.dir.path().join("none");
    let error = Connection::open(&socket).unwrap_err();
    assert!(matches!(error, dbus::Error::Connect { .. }));
    let engine = Engine::probe(EngineOptions {
        cgroup_manager: CgroupManager::Systemd,
        bus: Some(socket.clone()),
        ..EngineOptions::default()
    });
    let request = again.request(&spec, container::Stdio::Inherit, Gate::Pipe);
    let said = chain(&engine.unwrap().create(request).unwrap_err());
    let wanted = format!(
        "have systemd find t-{}.scope: connect to the bus at {}: No such file",
        again.id,
        socket.display()
    );
    assert!(said.starts_with(&wanted), "{said}");
}

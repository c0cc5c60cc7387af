//! Commands that print or write documents: spec, plan, features, version, help.

mod common;

use common::{Oci, sleeper};
use serde_json::{Value, json};

#[test]
fn spec_writes_a_document_that_runs() {
    let oci = Oci::new();
    let dir = oci.dir().join("bundle");
    testing::rootfs::busybox(&dir.join("rootfs")).expect("a root");
    let dir = dir.to_str().expect("UTF-8");
    oci.run(&["spec", "-b", dir]).succeeds();
    let file = format!("{dir}/config.json");
    let text = std::fs::read_to_string(&file).expect("the document");
    let mut spec: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(spec["process"]["terminal"], true, "as runc has it");
    assert_eq!(spec["process"]["args"][0], "sh");
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let own = json!({"type": "cgroup"});
    let namespaces = spec["linux"]["namespaces"].as_array().expect("a list");
    assert_eq!(namespaces.contains(&own), v2, "as runc has it");
    oci.run(&["spec", "-b", dir])
        .fails(1, &["config.json", "remove it first"]);
    assert_eq!(
        std::fs::read_to_string(&file).expect("the document"),
        text,
        "untouched"
    );

    spec["process"]["args"] = serde_json::json!(["sh", "-c", "hostname; touch /x || echo ro"]);
    spec["process"]["terminal"] = Value::Bool(false);
    std::fs::write(&file, spec.to_string()).expect("writes");
    let done = oci.run(&["run", "-b", dir, &oci.id("spec")]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "coffer\nro\n"),
        "{done:?}"
    );
}

#[test]
fn spec_for_users_without_privileges() {
    let oci = Oci::new();
    let dir = oci.dir().to_str().expect("UTF-8");
    oci.run(&["spec", "--rootless", "--bundle", dir]).succeeds();
    let text = std::fs::read_to_string(oci.dir().join("config.json")).expect("the document");
    let spec: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(spec["linux"]["uidMappings"][0]["size"], 1);
    let namespaces = spec["linux"]["namespaces"].as_array().expect("a list");
    assert!(
        namespaces
            .iter()
            .any(|namespace| namespace["type"] == "user")
    );
    assert!(
        !namespaces
            .iter()
            .any(|namespace| namespace["type"] == "network")
    );
}

#[test]
fn plan_prints_the_steps_and_does_nothing() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let path = bundle.path().to_str().expect("UTF-8");
    let text = oci.run(&["plan", path]).succeeds().stdout;
    for word in ["pivot", "/proc", "bundle", "sleep"] {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
    oci.run(&["plan", "/nowhere"]).fails(1, &["/nowhere"]);
    assert!(!oci.root().exists(), "no state directory is made");
}

#[test]
fn features_version_and_help() {
    let oci = Oci::new();
    let features: Value =
        serde_json::from_str(&oci.run(&["features"]).succeeds().stdout).expect("JSON");
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(
        features["linux"]["namespaces"]
            .as_array()
            .is_some_and(|all| all.len() == 8)
    );
    // What an engine looks at before it asks for something.
    for (pointer, wanted) in [
        ("/linux/cgroup/rdma", "true"),
        ("/linux/apparmor/enabled", "true"),
        ("/linux/selinux/enabled", "true"),
        ("/linux/intelRdt/schemata", "true"),
        ("/linux/mountExtensions/idmap/enabled", "true"),
        ("/linux/netDevices/enabled", "true"),
        ("/linux/memoryPolicy/modes/0", "\"MPOL_DEFAULT\""),
        ("/linux/memoryPolicy/flags/2", "\"MPOL_F_STATIC_NODES\""),
        (
            "/linux/seccomp/supportedFlags/0",
            "\"SECCOMP_FILTER_FLAG_TSYNC\"",
        ),
        ("/mountOptions/0", "\"async\""),
        (
            "/potentiallyUnsafeConfigAnnotations/0",
            "\"org.systemd.property.\"",
        ),
        (
            "/annotations/org.opencontainers.runc.checkpoint.enabled",
            "\"true\"",
        ),
    ] {
        let found = features.pointer(pointer).map(Value::to_string);
        assert_eq!(found.as_deref(), Some(wanted), "{pointer} in {features}");
    }
    let library = &features["annotations"]["io.github.seccomp.libseccomp.version"];
    assert!(
        library.as_str().is_some_and(|v| v.starts_with("2.")),
        "{library}"
    );
    for args in ["--version", "-v"] {
        let text = oci.run(&[args]).succeeds().stdout;
        assert!(
            text.starts_with("coffer-oci version ")
                && text.contains("\ncommit: ")
                && text.contains("\nspec: 1."),
            "{text}"
        );
    }
    let text = oci.run(&["--help"]).succeeds().stdout;
    for command in [
        "create", "start", "run", "exec", "state", "kill", "delete", "spec", "plan",
    ] {
        assert!(text.contains(&format!("\n  {command} ")), "{command}");
        assert!(
            oci.run(&[command, "--help"])
                .succeeds()
                .stdout
                .starts_with(&format!("NAME:\n   coffer-oci {command} - ")),
            "{command}"
        );
    }
}

#[test]
fn under_another_name_it_speaks_of_itself_by_that() {
    let oci = Oci::new();
    let link = oci.dir().join("runc");
    std::os::unix::fs::symlink(common::program(), &link).expect("a link");
    let says = |words: &[&str]| {
        let output = std::process::Command::new(&link).args(words).output();
        let output = output.expect("starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), err)
    };
    assert!(says(&["-v"]).0.starts_with("runc version "));
    let help = says(&["-h"]).0;
    assert!(
        help.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"),
        "{help}"
    );
    assert!(
        says(&["pause", "-h"])
            .0
            .starts_with("NAME:\n   runc pause ")
    );
    assert!(says(&["foo", "-h"]).1.contains("No help topic for 'foo'"));
}

#[test]
fn debug_tells_the_steps() {
    let oci = Oci::new();
    let bundle = testing::bundle::Bundle::new(&["true"], |spec| {
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
        });
    })
    .expect("a bundle");
    let path = bundle.path().to_str().expect("UTF-8");
    let done = oci.run(&["--debug", "run", "-b", path, &oci.id("debug")]);
    for words in [
        "level=debug msg=\"runc exeseal: using /proc/self/exe clone",
        "level=debug msg=\"seccomp filter flags: 2\"",
        "level=debug msg=\"nsexec container setup",
        "child process in init()",
        "init: closing the pipe to signal completion",
    ] {
        assert!(done.stderr.contains(words), "{words}: {done:?}");
    }
    let sleeper = sleeper();
    let id = oci.start("exec", &sleeper);
    let process = oci.dir().join("process.json");
    let document = json!({"args": ["true"], "cwd": "/", "execCPUAffinity": {"initial": "0"}});
    std::fs::write(&process, document.to_string()).expect("writes");
    let (process, log) = (process.display().to_string(), oci.dir().join("log"));
    let log = log.to_str().expect("UTF-8");
    let words = ["--debug", "--log", log, "exec", "-p", &process, &id];
    let done = oci.run(&words).succeeds();
    assert_eq!(done.stderr, "");
    let text = std::fs::read_to_string(log).expect("the log");
    for words in ["nsexec: affinity: 0x1", "setns_init: about to exec "] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// The document as it was given is in the record, until something else than that is meant.
#[test]
fn the_record_holds_what_the_document_says() {
    let oci = Oci::new();
    let recorded = |id: &str| -> Value {
        let text = std::fs::read(oci.root().join(id).join("state.json")).expect("the record");
        let record: Value = serde_json::from_slice(&text).expect("JSON");
        record["config"].clone()
    };
    let bundle = sleeper();
    let text = std::fs::read(bundle.path().join("config.json")).expect("the document");
    let mut spec: Value = serde_json::from_slice(&text).expect("JSON");
    // Unknown keys, and what Go writes for nothing, are left as they are.
    spec["org.example.unknown"] = json!({"any": ["thing", null]});
    spec["linux"]["sysctl"] = Value::Null;
    bundle.write(&spec).expect("writes");
    let id = oci.start("as-given", &bundle);
    assert_eq!(recorded(&id), spec);
    // A change is of what was read.
    oci.run(&["update", "--pids-limit", "40", &id]).succeeds();
    let changed = recorded(&id);
    assert_eq!(changed["linux"]["resources"]["pids"]["limit"], 40);
    assert_eq!(
        changed["process"]["capabilities"],
        spec["process"]["capabilities"]
    );
    oci.run(&["delete", "--force", &id]).succeeds();

    // The 1.0.0-rc form is recorded as what it means today.
    spec["platform"] = json!({"os": "linux", "arch": oci::runtime::machine()});
    spec["linux"]["resources"]["disableOOMKiller"] = json!(false);
    bundle.write(&spec).expect("writes");
    let id = oci.create("upgraded", &bundle);
    let now = recorded(&id);
    assert_eq!(
        now["linux"]["resources"]["memory"]["disableOOMKiller"],
        false
    );
    let old = ["/platform", "/linux/resources/disableOOMKiller"];
    assert!(old.iter().all(|key| now.pointer(key).is_none()), "{now}");
    oci.run(&["delete", "--force", &id]).succeeds();
    oci.assert_empty();
}

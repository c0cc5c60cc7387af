//! What a process of a container starts with: by `run` and by `exec` the same, and nothing of ours.

mod common;

use common::{Oci, sleeper};
use serde_json::json;
use testing::bundle::Bundle;

/// Prints what a process inherits: the descriptors are the shell's (which has no pipe open
/// at that moment), the status that of its child, as the shell ignores SIGQUIT for itself.
const REPORT: &str = "grep -E '^(Sig(Blk|Ign)|Cap|NoNewPrivs|Umask|Groups|Seccomp:)' /proc/self/status; \
    ls /proc/$$/fd; \
    cat /proc/$$/oom_score_adj; \
    grep -E 'open files|core file' /proc/$$/limits | tr -s ' '; \
    env | sort";

/// No signal blocked or ignored, the capabilities that were asked for in three sets, stdio only.
const GOLDEN: &str = "Umask:\t0022\n\
    Groups:\t5 6 \n\
    SigBlk:\t0000000000000000\n\
    SigIgn:\t0000000000000000\n\
    CapInh:\t0000000000000000\n\
    CapPrm:\t0000000000000020\n\
    CapEff:\t0000000000000020\n\
    CapBnd:\t0000000000000020\n\
    CapAmb:\t0000000000000000\n\
    NoNewPrivs:\t1\n\
    Seccomp:\t0\n\
    0\n1\n2\n\
    500\n\
    Max core file size 0 0 bytes \n\
    Max open files 77 99 files \n\
    A=b\n\
    HOME=/root\n\
    PATH=/bin\n";

fn edit(spec: &mut serde_json::Value) {
    let process = &mut spec["process"];
    let kill = json!(["CAP_KILL"]);
    process["capabilities"] = json!({"bounding": kill, "effective": kill, "permitted": kill});
    process["user"]["additionalGids"] = json!([5, 6]);
    process["env"] = json!(["PATH=/bin", "A=b"]);
    process["oomScoreAdj"] = json!(500);
    process["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
}

/// The report without what the shell itself adds to its environment.
fn own(text: &str) -> String {
    text.lines()
        .filter(|line| {
            !["PWD=", "SHLVL=", "_="]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn run_gives_what_was_asked_for() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["sh", "-c", REPORT], edit).expect("a bundle");
    let path = bundle.path().to_str().expect("UTF-8");
    let done = oci.run(&["run", "-b", path, &oci.id("run")]).succeeds();
    assert_eq!(own(&done.stdout), GOLDEN);
}

#[test]
fn exec_gives_the_same() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["sleep", "1000"], edit).expect("a bundle");
    let id = oci.start("exec", &bundle);
    let done = oci.run(&["exec", &id, "sh", "-c", REPORT]).succeeds();
    assert_eq!(own(&done.stdout), GOLDEN);
}

#[test]
fn ignored_signals_of_the_caller_stay_with_the_caller() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("ignored", &bundle);
    let program = common::program();
    let root = oci.root().display().to_string();
    let line = format!(
        "trap '' HUP INT PIPE USR1; exec {program} --root {root} exec {id} grep SigIgn /proc/self/status"
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .output()
        .expect("starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "SigIgn:\t0000000000000000\n"
    );
}

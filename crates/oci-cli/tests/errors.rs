//! Bad input: a sentence that names the object and the cause, a fitting code, nothing left behind.

mod common;

use common::{Oci, script, sleeper};
use serde_json::json;
use testing::bundle::Bundle;

fn path(bundle: &Bundle) -> &str {
    bundle.path().to_str().expect("UTF-8")
}

#[test]
fn a_bundle_without_config_json() {
    let (oci, bundle) = (Oci::new(), sleeper());
    std::fs::remove_file(bundle.path().join("config.json")).expect("was there");
    let id = oci.id("none");
    for command in ["create", "run"] {
        oci.run(&[command, "-b", path(&bundle), &id]).fails(
            1,
            &[
                &format!("{}/config.json", path(&bundle)),
                "No such file or directory",
            ],
        );
    }
    oci.run(&["run", "-b", "/nowhere/at/all", &id])
        .fails(1, &["/nowhere/at/all"]);
    oci.assert_empty();
}

#[test]
fn documents_that_cannot_be_run() {
    let oci = Oci::new();
    let id = oci.id("bad");
    type Edit = fn(&mut serde_json::Value);
    let table: [(&str, Edit, &[&str]); 6] = [
        (
            "namespace",
            |s| s["linux"]["namespaces"][0]["type"] = json!("moon"),
            &[
                "linux.namespaces[0].type",
                "unknown namespace type \"moon\"",
            ],
        ),
        (
            "action",
            |s| s["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_MAYBE"}),
            &["linux.seccomp.defaultAction", "SCMP_ACT_MAYBE"],
        ),
        (
            "propagation",
            |s| s["linux"]["rootfsPropagation"] = json!("loud"),
            &["linux.rootfsPropagation", "\"loud\""],
        ),
        (
            "rlimit",
            |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}]);
            },
            &["process.rlimits[0].type", "RLIMIT_LUCK"],
        ),
        (
            "cwd and args",
            |s| {
                s["process"]["cwd"] = json!("tmp");
                s["process"]["args"] = json!([]);
            },
            &["process.cwd", "process.args"],
        ),
        (
            "type",
            |s| s["process"]["args"] = json!("sh"),
            &["process.args", "expected a sequence"],
        ),
    ];
    for (name, edit, texts) in table {
        let bundle = Bundle::new(&["true"], edit).expect("a bundle");
        let done = oci.run(&["run", "-b", path(&bundle), &id]).fails(1, texts);
        assert!(done.stderr.contains("config.json"), "{name}: {done:?}");
    }
    let bundle = sleeper();
    std::fs::write(bundle.path().join("config.json"), "{\"process\": {").expect("writes");
    oci.run(&["create", "-b", path(&bundle), &id])
        .fails(1, &["config.json", "EOF"]);
    oci.assert_empty();
}

#[test]
fn an_unknown_capability_is_left_out_with_a_warning() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["grep", "CapBnd", "/proc/self/status"], |s| {
        s["process"]["capabilities"] = json!({"bounding": ["CAP_KILL", "CAP_FLY"]});
    })
    .expect("a bundle");
    let done = oci.run(&["run", "-b", path(&bundle), &oci.id("cap")]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, "CapBnd:\t0000000000000020\n");
    assert!(done.stderr.contains("CAP_FLY"), "{done:?}");
}

#[test]
fn a_binary_that_is_not_there() {
    let oci = Oci::new();
    let id = oci.id("binary");
    let table: [(&[&str], &[&str]); 4] = [
        (
            &["frobnicate"],
            &["\"frobnicate\": executable file not found in $PATH"],
        ),
        (
            &["/bin/frobnicate"],
            &["/bin/frobnicate", "no such file or directory"],
        ),
        (&["/etc/passwd"], &["/etc/passwd", "permission denied"]),
        (&["/etc"], &["/etc"]),
    ];
    for (args, texts) in table {
        let bundle = Bundle::new(args, |_| {}).expect("a bundle");
        oci.run(&["create", "-b", path(&bundle), &id])
            .fails(1, texts);
        oci.run(&["run", "-b", path(&bundle), &id]).fails(1, texts);
    }
    oci.assert_empty();
}

#[test]
fn a_wrong_user() {
    let oci = Oci::new();
    let id = oci.id("user");
    let bundle = Bundle::new(&["true"], |s| {
        s["process"]["user"]["username"] = json!("bob")
    })
    .expect("a bundle");
    oci.run(&["run", "-b", path(&bundle), &id])
        .fails(1, &["process.user.username", "bob"]);
    let bundle =
        Bundle::new(&["true"], |s| s["process"]["user"]["uid"] = json!(-1)).expect("a bundle");
    oci.run(&["run", "-b", path(&bundle), &id])
        .fails(1, &["process.user.uid", "-1"]);
    let bundle = sleeper();
    let id = oci.start("user2", &bundle);
    oci.run(&["exec", "-u", "bob", &id, "true"])
        .fails(255, &["\"bob\"", "<uid>[:<gid>]"]);
}

#[test]
fn names_are_taken_once() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.create("twice", &bundle);
    for command in ["create", "run"] {
        oci.run(&[command, "-b", path(&bundle), &id])
            .fails(1, &["container with id exists", &id]);
    }
    assert_eq!(oci.status(&id), "created", "the first is unharmed");
    oci.run(&["start", &id]).succeeds();
    oci.run(&["start", &id])
        .fails(1, &["cannot start an already running container"]);
    assert_eq!(oci.status(&id), "running");
    oci.run(&["kill", &id, "KILL"]).succeeds();
    oci.await_status(&id, "stopped");
    oci.run(&["start", &id])
        .fails(1, &["cannot start a container that has stopped"]);
    oci.run(&["kill", &id]).fails(1, &["container not running"]);
    oci.run(&["exec", &id, "true"])
        .fails(255, &["cannot exec in a stopped container"]);
}

#[test]
fn containers_that_are_not_there() {
    let oci = Oci::new();
    let id = oci.id("absent");
    for args in [
        vec!["state", &id],
        vec!["start", &id],
        vec!["kill", &id],
        vec!["delete", &id],
        vec!["pause", &id],
        vec!["resume", &id],
        vec!["ps", &id],
        vec!["update", &id],
        vec!["events", "--stats", &id],
        vec!["checkpoint", &id],
    ] {
        oci.run(&args).fails(1, &["does not exist", &id]);
    }
    oci.run(&["exec", &id, "true"])
        .fails(255, &["does not exist", &id]);
    oci.run(&["delete", "--force", &id]).succeeds();
    assert_eq!(oci.run(&["list", "-q"]).succeeds().stdout, "");
}

#[test]
fn ids_that_are_none() {
    let (oci, bundle) = (Oci::new(), sleeper());
    for id in ["..", ".a", "a/b", "a b", "é"] {
        oci.run(&["create", "-b", path(&bundle), id])
            .fails(1, &["invalid character `", "container ID"]);
        oci.run(&["delete", "--force", id])
            .fails(1, &["invalid character `", "container ID"]);
    }
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let (oci, bundle) = (Oci::new(), sleeper());
    std::fs::write(oci.dir().join("state"), "").expect("a file in the way");
    oci.run(&["create", "-b", path(&bundle), &oci.id("ro")])
        .fails(1, &["state directory", &oci.root().display().to_string()]);
    std::fs::remove_file(oci.dir().join("state")).expect("removes");
}

#[test]
fn a_state_directory_that_others_may_write_to() {
    use std::os::unix::fs::PermissionsExt;
    let (oci, bundle) = (Oci::new(), sleeper());
    std::fs::create_dir(oci.root()).expect("a directory");
    std::fs::set_permissions(oci.root(), std::fs::Permissions::from_mode(0o777)).expect("chmod");
    oci.run(&["create", "-b", path(&bundle), &oci.id("open")])
        .fails(1, &["mode 0777", "writable by nobody else"]);
}

#[test]
fn a_record_that_cannot_be_read() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.create("torn", &bundle);
    let file = oci.root().join(&id).join("state.json");
    let whole = std::fs::read(&file).expect("the record");
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("writes");
    for command in ["state", "start", "kill", "delete"] {
        oci.run(&[command, &id])
            .fails(1, &[&id, "state.json", "delete --force"]);
    }
    let done = oci.run(&["list"]).succeeds();
    assert!(done.stderr.contains(&id), "the list tells of it: {done:?}");
    std::fs::write(&file, &whole).expect("writes");
    oci.run(&["delete", &id]).succeeds();
    oci.assert_empty();
}

#[test]
fn what_a_crashed_create_left_can_be_deleted() {
    let oci = Oci::new();
    let id = oci.id("crashed");
    std::fs::create_dir_all(oci.root().join(&id)).expect("a directory");
    oci.run(&["state", &id]).fails(1, &["does not exist"]);
    oci.run(&["delete", "-f", &id]).succeeds();
    oci.assert_empty();
}

#[test]
fn a_pid_file_that_cannot_be_written_undoes_the_container() {
    let (oci, bundle) = (Oci::new(), sleeper());
    oci.run(&[
        "create",
        "-b",
        path(&bundle),
        "--pid-file",
        "/nowhere/pid",
        &oci.id("pid"),
    ])
    .fails(1, &["/nowhere/pid"]);
    oci.assert_empty();
}

#[test]
fn what_is_not_supported_says_so() {
    let oci = Oci::new();
    oci.run(&["--log", "journald:x", "list"])
        .fails(1, &["--log journald:x is not supported"]);
    oci.run(&["frobnicate"])
        .fails(1, &["unknown command \"frobnicate\"", "--help"]);
    oci.assert_empty();
}

/// Where no cgroup can be made, `--rootless` says whether a container may do without.
#[test]
fn a_cgroup_that_cannot_be_made() {
    let (oci, bundle) = (Oci::new(), script("exit 3"));
    // All hierarchies read-only, for us alone.
    let script = "for m in $(grep ' - cgroup' /proc/self/mountinfo | cut -d' ' -f5); do \
                  mount -o remount,bind,ro $m || exit 99; done; exec \"$0\" \"$@\"";
    let run = |rootless: &str, id: &str| {
        let command = oci.command(&[rootless, "run", "-b", path(&bundle), &oci.id(id)]);
        let output = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("unshare");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for rootless in ["--rootless=auto", "--rootless=true"] {
        let (code, said) = run(rootless, rootless.trim_start_matches("--rootless="));
        assert_eq!(code, Some(3), "{rootless}: {said}");
        assert!(
            said.contains("the container runs without a cgroup"),
            "{said}"
        );
    }
    let (code, said) = run("--rootless=false", "false");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("make cgroup"), "{said}");
    oci.assert_empty();
}

#[test]
fn the_log_has_the_error_too() {
    let (oci, bundle) = (Oci::new(), script("true"));
    let id = oci.id("log");
    let log = oci.dir().join("log");
    let log = log.to_str().expect("UTF-8");
    oci.run(&["--log", log, "--log-format", "json", "state", &id])
        .fails(1, &["does not exist"]);
    let text = std::fs::read_to_string(log).expect("the log");
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("one JSON line");
    assert_eq!(line["level"], "error");
    assert!(
        line["msg"]
            .as_str()
            .is_some_and(|msg| msg.contains("does not exist")),
        "{line}"
    );
    assert!(
        line["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{line}"
    );

    oci.run(&["--log", log, "start", &id])
        .fails(1, &["does not exist"]);
    let text = std::fs::read_to_string(log).expect("the log");
    let last = text.lines().last().expect("appended");
    assert!(
        last.starts_with("time=\"") && last.contains(" level=error msg=\"container "),
        "{last}"
    );

    std::fs::remove_file(log).expect("the log");
    oci.run(&["--log", log, "run", "-b", path(&bundle), &id])
        .succeeds();
    assert_eq!(
        std::fs::read_to_string(log).expect("the log"),
        "",
        "no news is good news"
    );
}

#[test]
fn a_start_tells_what_the_hook_printed_that_ended_it() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["true"], |spec| {
        let script = "i=0; while [ $i -lt 999 ]; do echo $i; i=$((i + 1)); done; exit 4";
        spec["hooks"] = json!({ "startContainer": [
            { "path": "/bin/busybox", "args": ["sh", "-c", script] },
        ] });
    });
    let bundle = bundle.expect("a bundle");
    let id = oci.create("printed", &bundle);
    let done = oci.run(&["start", &id]);
    let done = done.fails(1, &["startContainer hook #0", "code 4, and printed: "]);
    // Its last words, not all.
    assert!(done.stderr.trim().ends_with("; 997; 998"), "{done:?}");
    assert!(done.stderr.len() < 4096, "{done:?}");
}

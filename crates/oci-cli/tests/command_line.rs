//! The command line itself: completions tried in the shells, the manual page in man, documents by
//! other names, and criu's absence.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use common::{Oci, program, sleeper};
use testing::bundle::Bundle;

fn path(bundle: &Bundle) -> &str {
    bundle.path().to_str().expect("UTF-8")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a shell offers for each line.
fn offered(shell: &str, line: &str) -> Vec<String> {
    let source = format!("{} completion {shell}", program());
    let program = match shell {
        "bash" => format!(
            "source <({source}); COMP_WORDS=({line} ''); [[ '{line}' == *[a-z] ]] && unset 'COMP_WORDS[-1]'; \
             COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _coffer_oci; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ),
        _ => format!("{source} | source; complete -C '{line}'"),
    };
    let output = Command::new(shell)
        .args(["-c", &program])
        .output()
        .expect("the shell");
    let text = text(&output);
    let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    text.lines().map(first).collect()
}

#[test]
fn shells_complete_commands_and_options() {
    for shell in ["bash", "fish"] {
        let table: [(&str, &[&str]); 4] = [
            ("coffer-oci re", &["resume", "restore"]),
            ("coffer-oci --cgroup-manager sys", &["systemd"]),
            ("coffer-oci kill --al", &["--all"]),
            ("coffer-oci list --format js", &["json"]),
        ];
        for (line, wanted) in table {
            let mut found = offered(shell, line);
            found.sort();
            let mut wanted = wanted.to_vec();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{shell}: {line}");
        }
    }
    let program = program();
    // zsh completes in its line editor only: the script must at least be one that it takes.
    let line = format!(
        "autoload -U compinit; compinit -D; source <({program} completion zsh); \
                        whence -w _coffer_oci"
    );
    let output = Command::new("zsh")
        .args(["-f", "-c", &line])
        .output()
        .expect("zsh");
    assert_eq!(text(&output), "_coffer_oci: function\n", "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_manual_page_is_one() {
    let page = text(&Command::new(program()).arg("man").output().expect("starts"));
    for macro_line in page.lines().filter(|line| line.starts_with('.')) {
        let known = [".TH", ".SH", ".SS", ".TP", ".B"];
        let name = macro_line.split(' ').next().unwrap_or_default();
        assert!(known.contains(&name), "{macro_line}");
    }
    assert!(page.contains(".SS coffer\\-oci run CONTAINER\n"), "{page}");
    assert!(page.contains(".B \\-b, \\-\\-bundle DIR\n"), "{page}");
}

#[test]
fn a_document_of_another_name() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let other = Bundle::new(&["sh", "-c", "exit 5"], |_| {}).expect("a bundle");
    let config = oci.dir().join("other.json");
    std::fs::copy(other.path().join("config.json"), &config).expect("copies");
    // A relative name counts from where we are, not from the bundle.
    let mut command = oci.command(&["run", "-f", "other.json", "-b", path(&bundle), &oci.id("f")]);
    let status = command.current_dir(oci.dir()).status().expect("starts");
    assert_eq!(status.code(), Some(5));
    let dir = oci.dir().join("spec");
    std::fs::create_dir(&dir).expect("a directory");
    let dir = dir.to_str().expect("UTF-8");
    oci.run(&["spec", "-b", dir, "-f", "mine.json"]).succeeds();
    let plan = oci.run(&["plan", "-f", &format!("{dir}/mine.json"), path(&bundle)]);
    let plan = plan.succeeds().stdout;
    assert!(plan.contains("execute [\"sh\"]"), "{plan}");
}

#[test]
fn criu_is_named_where_it_is_missing_or_fails() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("criu", &bundle);
    let images = oci.dir().join("images");
    let images = images.to_str().expect("UTF-8");
    let missing = ["/nowhere/criu", "apt install criu"];
    oci.run(&[
        "--criu",
        "/nowhere/criu",
        "checkpoint",
        "--image-path",
        images,
        &id,
    ])
    .fails(1, &missing);
    assert_eq!(oci.status(&id), "running");
    let other = oci.id("restored");
    let restore = |criu: &str| {
        oci.run(&[
            "--criu",
            criu,
            "restore",
            "-d",
            "--image-path",
            images,
            "-b",
            path(&bundle),
            &other,
        ])
    };
    restore("/nowhere/criu").fails(1, &missing);
    oci.run(&[
        "restore",
        "--image-path",
        "/nowhere",
        "-b",
        path(&bundle),
        &other,
    ])
    .fails(1, &["find the images in", "/nowhere"]);

    // A stand-in that writes down what it was told, and fails as criu does.
    let stand_in = oci.dir().join("criu");
    let said = oci.dir().join("said");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >{}\necho 'Error (criu/x.c:1): no way' >{images}/dump.log\n\
         cp {images}/dump.log {images}/restore.log\nexit 1\n",
        said.display()
    );
    std::fs::write(&stand_in, script).expect("writes");
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let stand_in = stand_in.to_str().expect("UTF-8");
    oci.run(&[
        "--criu",
        stand_in,
        "checkpoint",
        &id,
        "--image-path",
        images,
        "--tcp-established",
        "--leave-running",
        "--page-server",
        "[::1]:99",
    ])
    .fails(1, &["criu: Error (criu/x.c:1): no way", "dump.log"]);
    assert_eq!(oci.status(&id), "running", "a failed dump changes nothing");
    let pid = oci.state(&id)["pid"].to_string();
    let line = std::fs::read_to_string(&said).expect("what it was told");
    let wanted = [
        "dump",
        &format!("--tree {pid}"),
        &format!("--images-dir {images}"),
        "--tcp-established",
        "--leave-running",
        "--manage-cgroups=ignore",
        "--address [::1] --port 99",
    ];
    for words in wanted {
        assert!(line.contains(words), "no {words:?} in {line}");
    }
    restore(stand_in).fails(1, &["criu: Error (criu/x.c:1): no way", "restore.log"]);
    let line = std::fs::read_to_string(&said).expect("what it was told");
    for words in ["restore", "--restore-detached", "criu-root", "--pidfile"] {
        assert!(line.contains(words), "no {words:?} in {line}");
    }
    oci.run(&["state", &other]).fails(1, &["does not exist"]);
}

#[test]
fn what_criu_restores_is_in_the_cgroup_with_its_limits() {
    let oci = Oci::new();
    let bundle = testing::bundle::Bundle::new(&["true"], |spec| {
        spec["linux"]["resources"] = serde_json::json!({ "pids": { "limit": 77 } });
    });
    let bundle = bundle.expect("a bundle");
    let images = oci.dir().join("images");
    std::fs::create_dir(&images).expect("makes");
    let images = images.to_str().expect("UTF-8");
    // A stand-in for criu, whose process is as it was: asleep.
    let stand_in = oci.dir().join("criu");
    let script = "#!/bin/sh\nwhile [ \"$1\" != --pidfile ]; do shift; done\n\
                  sleep 1000 >/dev/null 2>&1 &\necho $! >\"$2\"\n";
    std::fs::write(&stand_in, script).expect("writes");
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let id = oci.id("slept");
    let line = |more: &[&'static str]| {
        let mut line: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
        let words = [
            "--criu",
            stand_in.to_str().expect("UTF-8"),
            "restore",
            "-d",
            "--image-path",
        ];
        line.extend(words.map(str::to_owned));
        line.extend([images, "-b", path(&bundle), &id].map(str::to_owned));
        line
    };
    // systemd's scope is asked for on the bus; here is none.
    let mut command = oci.command(&line(&["--systemd-cgroup"]));
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus");
    let output = command.output().expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.contains("/nowhere/bus"),
        "{said}"
    );
    oci.run(&["state", &id]).fails(1, &["does not exist"]);

    oci.detached(&line(&[])).succeeds();
    let state = oci.state(&id);
    assert_eq!(state["status"], "running");
    let of_it = std::fs::read_to_string(format!("/proc/{}/cgroup", state["pid"]));
    let of_it = of_it.expect("a process");
    let ours = of_it
        .lines()
        .filter(|line| line.ends_with(&format!("/{id}")));
    assert!(ours.count() > 0, "{of_it}");
    let stats = oci.run(&["events", "--stats", &id]).succeeds();
    let stats: serde_json::Value = serde_json::from_str(&stats.stdout).expect("JSON");
    assert_eq!(stats["data"]["pids"]["limit"], 77, "{stats}");
    oci.run(&["delete", "--force", &id]).succeeds();
    oci.assert_empty();
}

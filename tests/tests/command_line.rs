//! `coffer` as a person types it: what it prints, where, and its exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    io::Read,
    process::{Command, Output, Stdio},
};

use system_tests::{Node, node::program};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs and wants success.
#[track_caller]
fn ok(node: &Node, words: &[&str]) -> String {
    let output = node.coffer(words);
    assert!(
        output.status.success(),
        "coffer {words:?}: {}\n{}\n{}",
        output.status,
        stderr(&output),
        node.daemon_log()
    );
    stdout(&output)
}

/// Runs and wants this exit code and these parts in the message.
#[track_caller]
fn fails(node: &Node, words: &[&str], code: i32, parts: &[&str]) {
    let output = node.coffer(words);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "coffer {words:?}: {said}");
    for part in parts {
        assert!(
            said.contains(part),
            "coffer {words:?}: {part:?} is not in {said}"
        );
    }
}

#[tokio::test]
async fn a_day_at_the_command_line() {
    let node = Node::started().await;
    let archive = node.base.join("image.tar");
    testing::image::busybox_archive(&archive, testing::image::Compression::Zstd).unwrap();
    let said = node.coffer(&["import", &archive.display().to_string()]);
    assert!(said.status.success(), "{}", stderr(&said));
    assert!(stdout(&said).starts_with("imported docker.io/library/coffer-demo:latest"));
    assert!(
        stderr(&said).contains("unpacked"),
        "a line a layer: {}",
        stderr(&said)
    );
    assert!(ok(&node, &["images"]).contains("coffer-demo"));

    let said = ok(&node, &["run", "--rm", "-e", "GREETING=bye", "coffer-demo"]);
    assert_eq!(said, "bye from user in /www\n");
    let output = node.coffer(&["run", "--rm", "coffer-demo", "echo oops >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        (stdout(&output).as_str(), stderr(&output).as_str()),
        ("", "oops\n")
    );
    assert_eq!(ok(&node, &["pods", "-q"]), "", "--rm left a pod");

    let script = "trap 'exit 0' TERM; while :; do echo tick; sleep 0.1; done";
    let id = ok(
        &node,
        &["run", "-d", "--name", "web", "coffer-demo", script],
    );
    let id = id.trim();
    let table = ok(&node, &["ps"]);
    assert!(
        table.contains(&id[..12]) && table.contains("Up "),
        "{table}"
    );
    let listed: serde_json::Value =
        serde_json::from_str(&ok(&node, &["ps", "-o", "json"])).unwrap();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["state"]),
        (&id.into(), &"running".into())
    );
    let pods: serde_json::Value =
        serde_json::from_str(&ok(&node, &["pods", "-o", "json"])).unwrap();
    assert_eq!(
        (&pods[0]["name"], &pods[0]["state"]),
        (&"web".into(), &"ready".into())
    );
    assert_eq!(ok(&node, &["ps", "-q"]).trim(), id);

    assert_eq!(ok(&node, &["exec", "web", "id", "-u"]), "1000\n");
    assert_eq!(ok(&node, &["exec", &id[..10], "pwd"]), "/www\n");
    fails(
        &node,
        &["exec", "web", "sh", "-c", "echo no >&2; exit 3"],
        3,
        &["no"],
    );
    fails(
        &node,
        &["exec", "web", "no-such"],
        127,
        &["no-such", "not found"],
    );
    assert_eq!(ok(&node, &["logs", "--tail", "1", "web"]), "tick\n");
    let stats = ok(&node, &["stats", "--no-stream"]);
    assert!(
        stats.contains("web") && stats.contains("MiB") || stats.contains("KiB"),
        "{stats}"
    );
    let inspected: serde_json::Value =
        serde_json::from_str(&ok(&node, &["inspect", "web"])).unwrap();
    assert_eq!(inspected[0]["kind"], "container");

    let said = ok(
        &node,
        &[
            "run",
            "--rm",
            "--pod",
            "web",
            "--name",
            "guest",
            "coffer-demo",
            "hostname",
        ],
    );
    assert_eq!(said, "web\n");
    assert_eq!(
        ok(&node, &["pods", "-q"]).lines().count(),
        1,
        "the pod of others stays"
    );

    fails(&node, &["rm", "web"], 1, &["still runs", "rm -f"]);
    fails(
        &node,
        &["run", "--name", "web", "coffer-demo", "true"],
        125,
        &["web already"],
    );
    assert_eq!(ok(&node, &["stop", "-t", "5", "web"]), "web\n");
    assert_eq!(ok(&node, &["ps", "-q"]), "");
    assert!(ok(&node, &["ps", "-a"]).contains("Exited"));
    assert!(
        ok(&node, &["logs", "web"]).contains("tick"),
        "logs of an ended container"
    );
    assert_eq!(ok(&node, &["rm", "web"]), "web\n");
    assert_eq!(ok(&node, &["pods", "-q"]), "");
    let logs = fs::read_dir(node.root().join("logs")).unwrap().count();
    assert_eq!(logs, 0, "log directories are left");

    assert_eq!(ok(&node, &["rmi", "coffer-demo"]), "coffer-demo\n");
    assert_eq!(ok(&node, &["images", "-q"]), "");
    node.finish().await;
}

#[tokio::test]
async fn wrong_words_get_helpful_answers() {
    let (node, _) = Node::with_image().await;
    fails(
        &node,
        &["run", "cofer-demo"],
        125,
        &["cofer-demo", "import"],
    );
    fails(&node, &["run", "coffer-demo", "true"], 0, &[]);
    let name = ok(&node, &["ps", "-a", "-o", "json"]);
    let name: serde_json::Value = serde_json::from_str(&name).unwrap();
    let name = name[0]["name"].as_str().unwrap().to_owned();
    let slip = format!("{name}x");
    fails(
        &node,
        &["logs", &slip],
        1,
        &[&slip, &format!("did you mean {name:?}")],
    );
    fails(
        &node,
        &["logs", "quite-another"],
        1,
        &["there are: ", &name],
    );
    fails(
        &node,
        &["exec", &name, "true"],
        125,
        &["exited, not running"],
    );
    fails(
        &node,
        &["rm", "nobody", &name],
        1,
        &["nobody", "1 of 2 failed"],
    );
    fails(
        &node,
        &["run", "--memory", "lots", "coffer-demo"],
        125,
        &["lots", "64m"],
    );
    fails(
        &node,
        &["run", "-v", "relative:/x", "coffer-demo"],
        125,
        &["would be a volume by name", "./relative"],
    );
    fails(&node, &["import", "/no/such/file"], 1, &["/no/such/file"]);
    fails(
        &node,
        &["import", &node.base.display().to_string()],
        1,
        &["oci-layout"],
    );
    fails(
        &node,
        &["run", "--entrypoint", "no-such", "coffer-demo"],
        127,
        &["no-such"],
    );
    assert_eq!(ok(&node, &["pods", "-q"]), "", "a failed run leaves no pod");
    node.finish().await;
}

#[tokio::test]
async fn without_a_daemon_it_says_how_to_start_one() {
    let node = Node::new();
    fails(
        &node,
        &["ps"],
        1,
        &["cannot reach the daemon", "coffer serve --socket"],
    );
    fails(&node, &["run", "x"], 125, &["coffer serve"]);
    fs::create_dir_all(node.state()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(node.socket()).unwrap());
    fails(&node, &["version"], 1, &["its daemon is gone"]);
    fs::remove_file(node.socket()).unwrap();
    node.finish().await;
}

#[tokio::test]
async fn layouts_and_standard_input_can_be_imported() {
    let node = Node::started().await;
    let layout = node.base.join("layout");
    testing::image::busybox()
        .unwrap()
        .oci_layout(&layout)
        .unwrap();
    let id = ok(
        &node,
        &[
            "import",
            "-q",
            "--name",
            "from/layout:1",
            &layout.display().to_string(),
        ],
    );
    assert!(ok(&node, &["images"]).contains("from/layout:1"));
    let archive = node.base.join("image.tar");
    testing::image::busybox_archive(&archive, testing::image::Compression::None).unwrap();
    let output = Command::new(program("coffer"))
        .env("COFFER_SOCKET", node.socket())
        .args(["import", "-q", "--name", "from/stdin:1", "-"])
        .stdin(fs::File::open(&archive).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(
        ok(&node, &["run", "--rm", "from/stdin:1"]),
        "hello from user in /www\n"
    );
    node.finish().await;
}

#[tokio::test]
async fn ctrl_c_ends_what_runs_in_the_foreground() {
    let (node, _) = Node::with_image().await;
    let script = "trap 'echo bye; exit 4' INT; echo up; while :; do sleep 0.05; done";
    let mut child = Command::new(program("coffer"))
        .env("COFFER_SOCKET", node.socket())
        .args(["run", "--rm", "coffer-demo", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut first = [0; 3];
    pipe.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"up\n");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    pipe.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye\n");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(ok(&node, &["pods", "-q"]), "");
    node.finish().await;
}

#[tokio::test]
async fn limits_volumes_and_users_reach_the_container() {
    let (node, _) = Node::with_image().await;
    let shared = node.base.join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("note"), "from the host\n").unwrap();
    let volume = format!("{}:/mnt:ro", shared.display());
    let script = "id -u; id -g; cat /mnt/note; touch /mnt/x 2>&1 | grep -o 'Read-only'; pwd";
    let said = ok(
        &node,
        &[
            "run",
            "--rm",
            "-u",
            "7:8",
            "-v",
            &volume,
            "-w",
            "/tmp",
            "coffer-demo",
            script,
        ],
    );
    assert_eq!(said, "7\n8\nfrom the host\nRead-only\n/tmp\n");
    // More memory than allowed ends the process, with the reason.
    let eat = "x=; while :; do x=$x$(head -c 1000000 /dev/zero | tr '\\0' x); done";
    fails(
        &node,
        &["run", "--rm", "--memory", "32m", "coffer-demo", eat],
        137,
        &["out of memory"],
    );
    node.finish().await;
}

//! The commands that look: lists and their forms, filters, logs, events, waiting and signals, as a
//! person types them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use system_tests::{
    Node, configs,
    node::program,
    said::{fails, ok, stderr, stdout},
};

/// Prints a line with a number every tenth of a second, until TERM ends it with 4.
const TICKS: &str =
    "trap 'exit 4' TERM; i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done";

#[track_caller]
fn json(node: &Node, words: &[&str]) -> Value {
    serde_json::from_str(&ok(node, words)).unwrap()
}

/// A node with a pod `web` (running, label app=web) and `job` (ended with 3).
async fn with_two() -> Node {
    let (node, _) = Node::with_image().await;
    let run = [
        "run",
        "-d",
        "--name",
        "web",
        "-l",
        "app=web",
        "coffer-demo",
        TICKS,
    ];
    ok(&node, &run);
    fails(
        &node,
        &["run", "--name", "job", "coffer-demo", "echo done; exit 3"],
        3,
        &[],
    );
    node
}

#[tokio::test]
async fn lists_have_the_form_that_was_asked_for() {
    let node = with_two().await;
    let all = json(&node, &["ps", "-a", "-o", "json"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(
        (&all[0]["name"], &all[0]["state"], &all[0]["exit_code"]),
        (&"job".into(), &"exited".into(), &3.into()),
        "the newest first"
    );
    let id = all[1]["id"].as_str().unwrap();

    let table = ok(&node, &["ps", "-a"]);
    assert!(table.starts_with("CONTAINER ID   NAME"), "{table}");
    assert!(
        table.contains("Exited (3)") && table.contains("Up "),
        "{table}"
    );
    assert!(!table.contains(id) && table.contains(&id[..12]), "{table}");
    assert!(ok(&node, &["ps", "--no-trunc"]).contains(id));
    assert_eq!(ok(&node, &["ps", "-a", "--no-headers"]).lines().count(), 2);
    assert_eq!(ok(&node, &["ps", "-q"]), format!("{id}\n"));
    assert_eq!(ok(&node, &["ps", "-a", "-o", "name"]), "job\nweb\n");
    assert!(ok(&node, &["ps", "-o", "yaml"]).starts_with(&format!("- id: {id}\n  name: web\n")));
    assert!(ok(&node, &["ps", "-o", "wide"]).contains("POD ID"));
    let said = ok(
        &node,
        &[
            "ps",
            "-a",
            "--format",
            "{{.Names}}\\t{{.State}}/{{.exit_code}}",
        ],
    );
    assert_eq!(said, "job\texited/3\nweb\trunning/\n");
    fails(
        &node,
        &["ps", "--format", "{{.nam}}"],
        2,
        &["did you mean .name"],
    );
    fails(&node, &["ps", "-o", "xml"], 2, &["json", "yaml"]);

    assert_eq!(ok(&node, &["ps", "-l", "-o", "name"]), "job\n");
    assert_eq!(ok(&node, &["ps", "-n", "1", "-q"]).lines().count(), 1);
    // Other tools' words for the same.
    for words in [
        &["ls"][..],
        &["list"],
        &["container", "ls"],
        &["container", "list"],
    ] {
        assert!(ok(&node, words).contains("web"), "{words:?}");
    }
    for words in [&["pods"][..], &["pod", "ls"], &["pod", "ps"]] {
        assert!(ok(&node, words).contains("1/1 running"), "{words:?}");
    }
    for words in [
        &["images"][..],
        &["image", "ls"],
        &["images", "coffer-demo"],
    ] {
        assert!(ok(&node, words).contains("coffer-demo:latest"), "{words:?}");
    }
    assert_eq!(ok(&node, &["images", "--no-headers", "other"]), "");
    let pods = json(&node, &["pods", "-o", "json"]);
    assert_eq!(
        (&pods[0]["name"], &pods[0]["state"], &pods[1]["running"]),
        (&"job".into(), &"not_ready".into(), &1.into())
    );
    node.finish().await;
}

#[tokio::test]
async fn filters_choose_and_slips_in_them_are_named() {
    let node = with_two().await;
    for (filters, names) in [
        (&["status=exited"][..], "job\n"),
        (&["status=exited", "status=running"], "job\nweb\n"),
        (&["exited=3"], "job\n"),
        (&["exited=0"], ""),
        (&["label=app"], "web\n"),
        (&["label=app=db"], ""),
        (&["name=we"], "web\n"),
        (&["pod=job", "status=exited"], "job\n"),
        (&["ancestor=coffer-demo", "status=running"], "web\n"),
        (&["image=busybox"], ""),
    ] {
        let mut words = vec!["ps", "-o", "name"];
        words.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        assert_eq!(ok(&node, &words), names, "{filters:?}");
    }
    assert_eq!(
        ok(&node, &["pods", "-o", "name", "-f", "status=stopped"]),
        "job\n"
    );
    assert_eq!(ok(&node, &["images", "-q", "-f", "dangling=true"]), "");
    for (words, part) in [
        (
            &["ps", "-f", "colour=red"][..],
            "the keys are status, name, id, pod, image, label",
        ),
        (&["ps", "-f", "stats=x"], "did you mean \"status\"?"),
        (
            &["ps", "-f", "status=runing"],
            "did you mean status=running?",
        ),
        (&["ps", "-f", "running"], "KEY=VALUE"),
        (&["pods", "-f", "status=happy"], "one of ready, stopped"),
        (&["images", "-f", "dangling=maybe"], "one of true, false"),
        (&["events", "-f", "event=explode"], "one of create, start"),
    ] {
        fails(&node, words, 2, &[part]);
    }
    node.finish().await;
}

#[tokio::test]
async fn logs_are_bounded_by_number_and_time_and_merged() {
    let node = with_two().await;
    let all = || ok(&node, &["logs", "web"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while all().lines().count() < 8 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ok(&node, &["stop", "-t", "5", "web"]);
    let text = all();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() >= 8 && lines[0] == "tick 1", "{text}");

    let last = ok(&node, &["logs", "--tail", "2", "web"]);
    assert_eq!(last.lines().collect::<Vec<_>>(), lines[lines.len() - 2..]);
    assert_eq!(ok(&node, &["logs", "-n", "0", "web"]), "");
    assert_eq!(ok(&node, &["logs", "--tail", "all", "web"]), text);
    assert_eq!(ok(&node, &["logs", "--tail", "-1", "web"]), text);
    assert_eq!(ok(&node, &["logs", "--tail", "999", "web"]), text);

    let stamped = ok(&node, &["logs", "-t", "web"]);
    let third = stamped.lines().nth(2).unwrap();
    let (time, line) = third.split_once(' ').unwrap();
    assert_eq!(line, "tick 3");
    assert_eq!(
        ok(&node, &["logs", "--since", time, "web"]).lines().next(),
        Some("tick 3")
    );
    assert_eq!(
        ok(&node, &["logs", "--until", time, "web"]),
        "tick 1\ntick 2\ntick 3\n"
    );
    assert_eq!(ok(&node, &["logs", "--since", "1h", "web"]), text);
    assert_eq!(ok(&node, &["logs", "--until", "1h", "web"]), "");
    fails(
        &node,
        &["logs", "--since", "yesterday", "web"],
        2,
        &["10m", "2026-01-02T15:04:05Z"],
    );
    fails(
        &node,
        &["logs", "--tail", "few", "web"],
        2,
        &["number of lines"],
    );
    fails(
        &node,
        &["logs", "--tail", "-2", "web"],
        2,
        &["number of lines"],
    );

    let both = ok(&node, &["logs", "web", "job"]);
    assert!(
        both.contains("web | tick 1\n") && both.contains("job | done\n"),
        "{both}"
    );
    assert_eq!(both.lines().count(), lines.len() + 1);
    assert_eq!(ok(&node, &["logs", "pod/job"]), "done\n");
    assert_eq!(ok(&node, &["logs", "--names", "pod/job"]), "job | done\n");
    assert_eq!(ok(&node, &["pod", "logs", "job"]), "done\n");
    fails(&node, &["logs", "webb"], 1, &["did you mean \"web\""]);
    fails(&node, &["logs"], 2, &["NAME"]);
    node.finish().await;
}

#[tokio::test]
async fn followed_logs_go_on_across_rotation_until_the_end() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", "coffer-demo", TICKS]);
    let mut child = Command::new(program("coffer"))
        .env("COFFER_SOCKET", node.socket())
        .args(["logs", "-f", "web"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "tick 1");
    // As a kubelet rotates.
    let web = json(&node, &["inspect", "web"]);
    let log = web[0]["log_path"].as_str().unwrap();
    fs::rename(log, format!("{log}.1")).unwrap();
    let id = web[0]["id"].as_str().unwrap().to_owned();
    let request = cri_api::v1::ReopenContainerLogRequest { container_id: id };
    let client = node.client().await;
    client
        .runtime
        .clone()
        .reopen_container_log(request)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    ok(&node, &["stop", "-t", "5", "web"]);
    let seen: Vec<String> = lines.map(|line| line.unwrap()).collect();
    let wanted: Vec<String> = (2..seen.len() + 2)
        .map(|count| format!("tick {count}"))
        .collect();
    assert!(seen.len() > 4, "{seen:?}");
    assert_eq!(seen, wanted, "nothing lost, nothing twice");
    assert!(child.wait().unwrap().success());
    node.finish().await;
}

#[tokio::test]
async fn signals_waits_and_starts() {
    let (node, image) = Node::with_image().await;
    let script = "trap 'echo hup' HUP; trap 'exit 6' USR1; echo up; while :; do sleep 0.05; done";
    ok(
        &node,
        &["run", "-d", "--name", "web", "coffer-demo", script],
    );
    let says = |text: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !ok(&node, &["logs", "web"]).contains(text) {
            assert!(Instant::now() < deadline, "no {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    says("up");
    assert_eq!(ok(&node, &["kill", "-s", "HUP", "web"]), "web\n");
    says("hup");
    fails(
        &node,
        &["kill", "-s", "HPU", "web"],
        2,
        &["did you mean HUP"],
    );
    fails(&node, &["kill", "-s", "99", "web"], 2, &["1 to 64"]);
    let waiting = Command::new(program("coffer"))
        .env("COFFER_SOCKET", node.socket())
        .args(["wait", "web"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    ok(&node, &["kill", "--signal", "SIGUSR1", "web"]);
    let waited = waiting.wait_with_output().unwrap();
    assert_eq!(
        (stdout(&waited).as_str(), waited.status.code()),
        ("6\n", Some(0))
    );
    assert_eq!(
        ok(&node, &["wait", "web", "web"]),
        "6\n6\n",
        "it has ended already"
    );
    fails(&node, &["kill", "web"], 1, &["exited, not running"]);
    fails(&node, &["start", "web"], 1, &["runs once", "coffer rm web"]);
    fails(&node, &["kill"], 2, &["CONTAINER"]);

    // One that another client made and did not start.
    let client = node.client().await;
    let config = configs::pod("made", &node.logs());
    let pod = client.run_pod(&config).await.unwrap();
    let waiting = configs::shell("waiting", &image, "sleep 60");
    let id = client.create(&pod, &config, &waiting).await.unwrap();
    assert!(ok(&node, &["ps", "-a"]).contains("Created"));
    assert_eq!(ok(&node, &["start", &id[..12]]), format!("{}\n", &id[..12]));
    assert!(ok(&node, &["ps"]).contains("waiting"));
    assert_eq!(ok(&node, &["kill", "--all"]), format!("{id}\n"));
    assert_eq!(ok(&node, &["wait", "waiting"]), "137\n");
    node.finish().await;
}

#[tokio::test]
async fn rm_takes_all_that_was_meant_and_no_more() {
    let node = with_two().await;
    fails(
        &node,
        &["rm", "nope", "job"],
        1,
        &["no container or pod named \"nope\"", "1 of 2"],
    );
    assert_eq!(
        ok(&node, &["ps", "-a", "-o", "name"]),
        "web\n",
        "the others are done all the same"
    );
    assert_eq!(ok(&node, &["rm", "-f", "nope"]), "nope\n", "gone is gone");
    assert_eq!(ok(&node, &["rm", "--all"]), "", "what runs stays");
    ok(&node, &["rm", "-f", "--all"]);
    assert_eq!(ok(&node, &["pods", "-q"]), "");
    ok(
        &node,
        &["run", "-d", "--name", "again", "coffer-demo", TICKS],
    );
    fails(
        &node,
        &["pod", "rm", "web"],
        1,
        &["no pod named \"web\"; there are: again"],
    );
    assert_eq!(ok(&node, &["pod", "stop", "-t", "1", "again"]), "again\n");
    assert_eq!(ok(&node, &["rmp", "again"]), "again\n");
    node.finish().await;
}

#[tokio::test]
async fn events_come_once_and_in_order() {
    let (node, _) = Node::with_image().await;
    let mut child = Command::new(program("coffer"))
        .env("COFFER_SOCKET", node.socket())
        .args(["events", "--since", "1h", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> (String, String, Value) {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        (text("kind"), text("action"), event)
    };
    assert_eq!(next().1, "import", "what was before it started");
    fails(
        &node,
        &["run", "--rm", "--name", "job", "coffer-demo", "exit 3"],
        3,
        &[],
    );
    let mut seen = Vec::new();
    loop {
        let (kind, action, event) = next();
        if (kind.as_str(), action.as_str()) == ("container", "die") {
            assert_eq!(event["attributes"]["exit_code"], "3");
            assert_eq!(
                (&event["name"], &event["pod_name"]),
                (&"job".into(), &"job".into())
            );
        }
        let last = kind == "pod" && action == "remove";
        seen.push(format!("{kind} {action}"));
        if last {
            break;
        }
    }
    let of_container: Vec<&str> = seen
        .iter()
        .filter_map(|event| event.strip_prefix("container "))
        .collect();
    assert_eq!(
        of_container,
        ["create", "start", "die", "remove"],
        "{seen:?}"
    );
    child.kill().unwrap();
    child.wait().unwrap();

    let died = ok(&node, &["events", "--no-stream", "--filter", "event=die"]);
    assert_eq!(died.lines().count(), 1, "{died}");
    assert!(
        died.contains("container die") && died.contains("exit_code=3"),
        "{died}"
    );
    let said = ok(
        &node,
        &[
            "events",
            "--since",
            "1h",
            "--until",
            "1h",
            "--format",
            "{{.action}}",
        ],
    );
    assert_eq!(said, "", "the end is before the first");
    let started = Instant::now();
    let second = human_in(1);
    assert_eq!(ok(&node, &["events", "--until", &second]), "");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "it ends by itself"
    );
    node.finish().await;
}

/// Seconds since the epoch, so many from now.
fn human_in(seconds: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    (now.as_secs() + seconds).to_string()
}

#[tokio::test]
async fn everything_about_an_object_and_the_node() {
    let node = with_two().await;
    let found = json(&node, &["inspect", "web", "pod/web", "coffer-demo"]);
    let kinds: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["container", "pod", "image"]);
    assert_eq!(
        ok(&node, &["inspect", "-f", "{{.name}} {{.exit_code}}", "job"]),
        "job 3\n"
    );
    assert!(ok(&node, &["inspect", "-o", "yaml", "job"]).contains("exit_code: 3"));
    assert_eq!(
        json(&node, &["image", "inspect", "coffer-demo"])[0]["kind"],
        "image"
    );
    assert_eq!(json(&node, &["inspectp", "web"])[0]["kind"], "pod");
    fails(&node, &["inspect", "wbe"], 1, &["did you mean \"web\""]);
    fails(
        &node,
        &["inspecti", "cofer-demo"],
        1,
        &["did you mean \"coffer-demo\""],
    );

    let info = json(&node, &["info", "-o", "json"]);
    assert_eq!(
        (&info["containers"], &info["containers_running"]),
        (&2.into(), &1.into())
    );
    let shown = ok(&node, &["info"]);
    let mut names: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.contains(&"RuntimeReady"), "{shown}");
    assert_eq!(ok(&node, &["info", "--format", "table"]), shown);
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "something is said twice: {shown}");
    assert_eq!(
        ok(&node, &["info", "-f", "{{.version.runtime_name}}"]),
        "coffer\n"
    );

    let processes = json(&node, &["top", "web", "-o", "json"]);
    assert_eq!(processes[0]["pid"], 1);
    assert!(
        processes[0]["command"].as_str().unwrap().contains("tick"),
        "{processes}"
    );
    fails(&node, &["top", "job"], 1, &["exited, not running"]);
    let stats = ok(&node, &["stats"]);
    assert!(
        stats.contains("web") && !stats.contains("job"),
        "one answer, and an end: {stats}"
    );
    assert!(
        ok(&node, &["top"]).contains("web"),
        "without a terminal top is a table"
    );
    node.finish().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let node = with_two().await;
    for words in [
        &["ps", "-a"][..],
        &["logs", "-f", "web"],
        &["--help"],
        &["stats", "-i", "1"],
    ] {
        let mut child = Command::new(program("coffer"))
            .env("COFFER_SOCKET", node.socket())
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        let status = child.wait().unwrap();
        assert_eq!((said.as_str(), status.code()), ("", Some(0)), "{words:?}");
    }
    node.finish().await;
}

#[tokio::test]
async fn without_a_daemon_each_command_says_what_to_do() {
    let node = Node::new();
    for words in [
        &["ps"][..],
        &["pods"],
        &["images"],
        &["logs", "web"],
        &["top"],
        &["stats"],
        &["events"],
        &["inspect", "web"],
        &["info"],
        &["wait", "web"],
        &["kill", "web"],
        &["start", "web"],
        &["stop", "web"],
        &["rm", "web"],
        &["rmi", "x"],
    ] {
        let output = node.coffer(words);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(
            said.starts_with("coffer: cannot reach the daemon on"),
            "{words:?}: {said}"
        );
        assert!(
            said.contains("coffer serve --socket") && said.lines().count() == 2,
            "{said}"
        );
        assert_eq!(stdout(&output), "", "{words:?}");
    }
    let output = node.coffer(&["version"]);
    assert!(
        stdout(&output).starts_with("client    coffer "),
        "known also without a daemon"
    );
    assert_eq!(output.status.code(), Some(1));
    node.finish().await;
}

#[tokio::test]
async fn a_daemon_that_is_stuck_is_told_of_and_not_waited_for() {
    let node = Node::started().await;
    let pid = rustix::process::Pid::from_raw(node.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let output = node.coffer(&["ps"]);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["does not answer within", "coffer doctor"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(ok(&node, &["ps", "-q"]), "");
    node.finish().await;
}

#[tokio::test]
async fn words_of_other_tools_and_slips_are_answered() {
    let node = Node::new();
    for (words, code, part) in [
        (&["login", "x"][..], 2, "auth.json"),
        (&["restart", "web"], 2, "runs once"),
        (&["build", "."], 2, "coffer import"),
        (&["imgaes"], 2, "'images'"),
        (&["ps", "--fitler", "x"], 2, "--filter"),
        (&["run", "--memry", "1g", "x"], 125, "--memory"),
        (&["exec"], 125, "required"),
        (&["pod", "list", "--quite"], 2, "--quiet"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["help", "imgaes"], 2, "'images'"),
        (&["help", "login"], 2, "auth.json"),
        (&["run", "-it"], 125, "Usage: coffer run [OPTIONS] <IMAGE>"),
        (
            &["run", "--network", "host", "--hostname", "x", "y"],
            125,
            "--hostname has no effect",
        ),
        (
            &["run", "--network", "host", "-p", "80:80", "y"],
            125,
            "nothing to publish",
        ),
        (&["port-forward", "web", "70000"], 2, "\"70000\" is no port"),
    ] {
        fails(&node, words, code, &[part]);
    }
    assert_eq!(
        ok(&node, &["help", "run"]),
        ok(&node, &["run", "--help"]),
        "help is a word, too"
    );
    assert_eq!(ok(&node, &["help"]), ok(&node, &["--help"]));
    let help = node.coffer(&[]);
    assert!(stderr(&help).contains("Look:\n  ps "), "{}", stderr(&help));
    assert!(!stderr(&help).contains("__complete"));
    fails(&node, &["pod"], 2, &["Commands:", "ps "]);
    node.finish().await;
}

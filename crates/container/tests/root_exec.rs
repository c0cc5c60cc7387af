//! Entering a running container: namespaces, identity, and what must not follow along.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use common::{Bundle, Live, chain, process};
use container::{ErrorKind, Gate, Stdio};
use serde_json::json;

fn quiet() -> Stdio {
    Stdio::Fds {
        stdin: None,
        stdout: None,
        stderr: None,
    }
}

#[test]
fn a_process_enters_all_namespaces_and_the_cgroup() {
    let bundle = Bundle::script("exec sleep 100");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let ran = live.exec(process(&[
        "sh",
        "-c",
        "for n in mnt pid net ipc uts cgroup; do \
           test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) && echo $n; done; \
         hostname; cut -d: -f3 /proc/self/cgroup | sort -u; ls / | wc -l",
    ]));
    assert_eq!(ran.ok(), "mnt\npid\nnet\nipc\nuts\ncgroup\nbox\n/\n6");
}

#[test]
fn codes_and_output_come_back_from_many_at_once() {
    let bundle = Bundle::script("exec sleep 100");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let live = &live;
    std::thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || {
                let ran = live.exec(process(&["sh", "-c", &format!("echo out {n}; exit {n}")]));
                assert_eq!(
                    (ran.code, ran.stdout.as_str()),
                    (n, format!("out {n}\n").as_str())
                );
            });
        }
    });
}

#[test]
fn what_is_not_there_is_said_in_the_words_of_the_field() {
    let bundle = Bundle::script("exec sleep 100");
    let spec = bundle.spec();
    std::fs::write(bundle.root().join("etc/plain"), "x").unwrap();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    for (args, text, kind) in [
        (
            ["nothing"],
            "exec: \"nothing\": executable file not found in $PATH",
            ErrorKind::ExecNotFound,
        ),
        (
            ["/no/thing"],
            "exec: \"/no/thing\": no such file or directory",
            ErrorKind::ExecNotFound,
        ),
        (
            ["/etc/plain"],
            "exec: \"/etc/plain\": permission denied",
            ErrorKind::ExecPermission,
        ),
        (
            ["/etc"],
            "is a directory: permission denied",
            ErrorKind::ExecPermission,
        ),
    ] {
        let error = live.try_exec(process(&args)).unwrap_err();
        assert!(chain(&error).contains(text), "{}", chain(&error));
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn a_stopped_container_is_not_entered() {
    let bundle = Bundle::script("exit 0");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    rustix::event::poll(
        &mut [rustix::event::PollFd::new(
            &live.container.init.pidfd,
            rustix::event::PollFlags::IN,
        )],
        None,
    )
    .unwrap();
    let error = live.try_exec(process(&["true"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(
        error.to_string().contains("container not running"),
        "{error}"
    );
}

/// CVE-2024-21626: a working directory by a descriptor of ours.
#[test]
fn a_working_directory_outside_is_refused() {
    let bundle = Bundle::script("exec sleep 100");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    for number in 3..12 {
        let mut wanted = process(&["ls", "."]);
        wanted["cwd"] = json!(format!("/proc/self/fd/{number}"));
        match live.try_exec(wanted) {
            // Our descriptor of the container's own root is no way out.
            Ok(ran) => assert_eq!(
                ran.ok(),
                "bin\ndev\netc\nproc\nsys\ntmp",
                "descriptor {number}"
            ),
            Err(e) => assert!(chain(&e).contains("process.cwd failed"), "{}", chain(&e)),
        }
    }
    let mut bundle = Bundle::script("ls .");
    for number in 3..12 {
        bundle.json["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        match bundle.try_run() {
            Ok(ran) => assert_eq!(
                ran.ok(),
                "bin\ndev\netc\nproc\nsys\ntmp",
                "descriptor {number}"
            ),
            Err(e) => assert!(!chain(&e).is_empty()),
        }
    }
}

#[test]
fn nothing_of_ours_is_inherited() {
    // What a careless caller leaves behind: open files, a lowered umask, an ignored signal.
    let _open = std::fs::File::open("/etc/passwd").unwrap();
    let leak = rustix::io::fcntl_dupfd_cloexec(&_open, 50).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let probe = "ls /proc/self/fd | wc -l; grep -E '^(Sig(Pnd|Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp:|Umask)' \
                 /proc/self/status; cut -d' ' -f6 /proc/self/stat; cat /proc/self/oom_score_adj; env | sort; \
                 cat /proc/self/timerslack_ns 2>/dev/null";
    let bundle = Bundle::script(probe);
    let created = bundle.run();
    let keep = Bundle::script("exec sleep 100");
    let spec = keep.spec();
    let mut live = Live::create(&keep, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let entered = live.exec(process(&["sh", "-c", probe]));
    let golden = |session: &str| {
        // 0, 1, 2 and the directory that ls reads.
        format!(
            "4\nUmask:\t0022\nSigPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n\
             SigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n\
             CapInh:\t0000000000000000\nCapPrm:\t0000000020000420\nCapEff:\t0000000020000420\n\
             CapBnd:\t0000000020000420\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\n\
             {session}\n0\nHOME=/root\nPATH=/bin\nPWD=/\nSHLVL=1\n"
        )
    };
    let lines = |text: &str| {
        text.lines()
            .take(19)
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    };
    assert_eq!(lines(&created.stdout), golden("1"));
    let session = entered.stdout.lines().nth(13).unwrap().to_owned();
    assert_eq!(lines(&entered.stdout), golden(&session));
    assert_ne!(session, "0", "a session of its own");
}

#[test]
fn a_paused_container_is_not_entered() {
    let bundle = Bundle::script("exec sleep 100");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    live.container.cgroup.freeze().unwrap();
    let error = live.try_exec(process(&["true"])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot exec in a paused container"),
        "{error}"
    );
    live.container.cgroup.thaw().unwrap();
    live.exec(process(&["true"])).ok();
}

#[test]
fn a_process_that_enters_runs_on_the_cpus_that_it_names() {
    let bundle = Bundle::script("exec sleep 100");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let show = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let all = live.exec(process(&show)).ok().to_owned();
    for (affinity, wanted) in [
        (
            json!({"initial": "0", "final": "1"}),
            "Cpus_allowed_list:\t1",
        ),
        (json!({"final": "0"}), "Cpus_allowed_list:\t0"),
        // The initial set is for the way in only.
        (json!({"initial": "0"}), all.as_str()),
        (json!({"initial": "", "final": ""}), all.as_str()),
    ] {
        let mut wanted_process = process(&show);
        wanted_process["execCPUAffinity"] = affinity.clone();
        assert_eq!(live.exec(wanted_process).ok(), wanted, "{affinity}");
    }
}

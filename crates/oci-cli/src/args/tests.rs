use std::path::PathBuf;

use super::*;

fn parsed(line: &str) -> (Global, Result<Command, Error>) {
    parse(line.split_whitespace().map(Into::into))
}

fn command(line: &str) -> Command {
    parsed(line).1.expect(line)
}

#[test]
fn global_options_come_first() {
    let line =
        "--root /r --log /l --log-format json --debug --systemd-cgroup --rootless=false state c";
    let (global, command) = parsed(line);
    assert_eq!(
        global,
        Global {
            root: "/r".into(),
            log: Some("/l".into()),
            log_format: Format::Json,
            log_level: Level::Debug,
            systemd_cgroup: true,
            rootless: Some(false),
            ..Global::default()
        }
    );
    assert_eq!(command.expect("a command"), Command::State("c".into()));
}

#[test]
fn what_came_before_a_mistake_is_kept_for_the_log() {
    let (global, command) = parsed("--log /l --log-format json frobnicate");
    assert_eq!(
        (global.log, global.log_format),
        (Some(PathBuf::from("/l")), Format::Json)
    );
    assert!(
        command
            .expect_err("no such command")
            .to_string()
            .contains("\"frobnicate\"")
    );
}

#[test]
fn options_stand_before_and_after_the_id() {
    let wanted = Command::Create(Create {
        id: "c".into(),
        bundle: Some("/b".into()),
        pid_file: Some("/p".into()),
        preserve_fds: 2,
        no_pivot: true,
        ..Create::default()
    });
    for line in [
        "create -b /b --pid-file /p --preserve-fds 2 --no-pivot c",
        "create c --bundle=/b --pid-file=/p --preserve-fds=2 --no-pivot",
        "create --bundle /b c --pid-file /p --no-pivot=true --preserve-fds 2",
    ] {
        assert_eq!(command(line), wanted, "{line}");
    }
}

#[test]
fn words_after_execs_program_are_its_own() {
    let Command::Exec(exec) = command("exec -t c --cwd /tmp ls -l --help -t") else {
        panic!("not exec")
    };
    assert_eq!(
        (exec.id.as_str(), exec.tty, exec.cwd.as_deref()),
        ("c", true, Some("/tmp"))
    );
    assert_eq!(exec.args, ["ls", "-l", "--help", "-t"]);
    let Command::Exec(exec) = command("exec c -- -x") else {
        panic!("not exec")
    };
    assert_eq!(exec.args, ["-x"]);
}

#[test]
fn kill_and_delete() {
    let kill = |signal: Option<&str>, all| {
        Command::Kill(Kill {
            id: "c".into(),
            signal: signal.map(Into::into),
            all,
            regex: false,
        })
    };
    assert_eq!(command("kill c"), kill(None, false));
    assert_eq!(command("kill --all c 9"), kill(Some("9"), true));
    assert_eq!(command("kill c KILL -a"), kill(Some("KILL"), true));
    for line in ["delete -f c", "delete c --force"] {
        assert_eq!(
            command(line),
            Command::Delete(Delete {
                id: "c".into(),
                force: true,
                regex: false,
            }),
            "{line}"
        );
    }
}

#[test]
fn mistakes_are_named() {
    let table = [
        ("create", "the container's id is missing"),
        ("create a b", "one argument too many: \"b\""),
        ("create --frob a", "unknown option --frob"),
        ("create --preserve-fds x a", "preserve-fds"),
        ("exec c", "exec needs a program or --process"),
        ("exec -p f c ls", "not both"),
        (
            "exec -g 1,x c ls",
            "--additional-gids takes numbers, not \"x\"",
        ),
        ("kill c 9 9", "one argument too many"),
        ("start --frob c", "--frob"),
        (
            "--rootless maybe state c",
            "auto, true or false, not \"maybe\"",
        ),
        ("--log-format xml state c", "text or json, not \"xml\""),
        ("update --memory 1x c", "--memory takes bytes"),
        (
            "update --pids-limit many c",
            "--pids-limit takes a number, not \"many\"",
        ),
        ("events --interval 5 c", "no length of time"),
        ("list c", "one argument too many: \"c\""),
        ("list -f xml", "table or json, not \"xml\""),
        ("completion tcsh", "bash, zsh or fish"),
        (
            "checkpoint --manage-cgroups-mode x c",
            "soft, full, strict or ignore",
        ),
        ("checkpoint --page-server host c", "ADDRESS:PORT"),
        ("restore --empty-ns pid c", "--empty-ns is network"),
        (
            "--cgroup-manager x state c",
            "cgroupfs or systemd, not \"x\"",
        ),
        (
            "--log-level loud state c",
            "error, warning, info or debug, not \"loud\"",
        ),
        (
            "--log journald:x state c",
            "--log journald:x is not supported",
        ),
        ("spec --bundle", "bundle"),
    ];
    for (line, wanted) in table {
        let error = parsed(line).1.expect_err(line).to_string();
        assert!(error.contains(wanted), "{line}: {error}");
    }
}

#[test]
fn help_and_version_need_nothing_else() {
    for line in [
        "",
        "--help",
        "-h",
        "create --help",
        "exec c -h",
        "kill -h",
        "help",
    ] {
        assert!(matches!(command(line), Command::Print(_)), "{line}");
    }
    for line in ["--version", "-v", "version"] {
        assert_eq!(command(line), Command::Version, "{line}");
    }
}

#[test]
fn options_of_crun_mean_what_they_mean_there() {
    let (global, _) = parsed("--cgroup-manager=systemd --log file:/l --log-level=error state c");
    assert!(global.systemd_cgroup);
    assert_eq!(
        (global.log, global.log_level),
        (Some("/l".into()), Level::Error)
    );
    let Command::Run(run) = command("run -f other.json c") else {
        panic!("not run")
    };
    assert_eq!(run.create.config, Some("other.json".into()));
}

#[test]
fn limits_are_numbers_and_amounts() {
    let line =
        "update c --memory 64m --memory-swap=-1 --cpu-share 512 --pids-limit -1 --cpu-idle 1";
    let Command::Update(update) = command(line) else {
        panic!("not update")
    };
    let wanted = br#"{"memory":{"limit":67108864,"swap":-1},"cpu":{"shares":512,"idle":1},
        "pids":{"limit":-1}}"#;
    let wanted = oci::runtime::parse_resources(wanted).expect("limits");
    assert_eq!(update.limits, Limits::Given(Box::new(wanted)));
    let Command::Update(update) = command("update -r - c --memory 1") else {
        panic!("not update")
    };
    assert_eq!(
        update.limits,
        Limits::File("-".into()),
        "the document stands alone"
    );
}

#[test]
fn a_switch_that_is_taken_back_is_off() {
    let Command::Run(run) = command("run --keep --keep=false c") else {
        panic!("not run")
    };
    assert!(!run.keep);
}

/// Every command's help, the manual page and the completions name every option of the table.
#[test]
fn the_table_reaches_all_that_is_made_of_it() {
    let page = super::man::page();
    let scripts =
        ["bash", "zsh", "fish"].map(|shell| match command(&format!("completion {shell}")) {
            Command::Print(text) => text,
            other => panic!("{other:?}"),
        });
    for verb in super::verbs::VERBS {
        let Command::Print(help) = command(&format!("{} --help", verb.name)) else {
            panic!("no help for {}", verb.name)
        };
        assert!(
            help.contains(&format!(
                "Usage: {} [OPTION...] {}",
                super::program(),
                verb.name
            )),
            "{help}"
        );
        assert!(
            page.contains(&format!(".SS coffer\\-oci {}", verb.name)),
            "{}",
            verb.name
        );
        for opt in verb.options() {
            assert!(
                help.contains(&format!("--{}", opt.long)) || opt.help.is_empty(),
                "{help}"
            );
            let roff = format!("\\-\\-{}", opt.long.replace('-', "\\-"));
            assert!(page.contains(&roff) || opt.help.is_empty(), "{}", opt.long);
            for script in &scripts {
                assert!(script.contains(opt.long), "{} of {}", opt.long, verb.name);
            }
        }
    }
    assert!(page.is_ascii() || page.contains('…'), "the page is text");
}

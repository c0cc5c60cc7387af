//! Containers and processes.

use agent_api::grpc;
use agent_api::ttrpc::Code;

use super::{World, process, soon, status};

pub(crate) async fn a_container_and_an_exec_over_the_published_calls(world: &World) {
    let script = "hostname; read line; echo $line; exit 6";
    let request = world.request("c1", &["sh", "-c", script]);
    world.run(&request).await;
    assert_eq!(status(world.create(&request).await).0, Code::ALREADY_EXISTS);
    let start = grpc::StartContainerRequest {
        container_id: "c1".into(),
    };
    let again = world.agent.start_container(soon(), &start).await;
    assert_eq!(status(again).0, Code::FAILED_PRECONDITION);
    let (code, output) = world.sh("c1", "echo from exec; exit 2").await;
    assert_eq!((code, output.as_str()), (2, "from exec\n"));
    // CAP_KILL, as the container's first process: the request says nothing of capabilities.
    let (_, powers) = world.sh("c1", "grep CapEff /proc/self/status").await;
    assert_eq!(powers, "CapEff:\t0000000000000020\n");
    assert_eq!(world.write("c1", "c1", b"typed\n").await.unwrap(), 6);
    assert_eq!(world.output("c1", "c1").await, "kata\ntyped\n");
    assert_eq!(world.wait("c1", "c1").await, 6);
    // Of a first process it is told until the container is removed.
    assert_eq!(world.wait("c1", "c1").await, 6);
    world.remove("c1").await;
    world.remove("c1").await;
}

pub(crate) async fn sandbox_pidns_decides_the_pid_namespace(world: &World) {
    for (id, shared) in [("a1", true), ("b1", true), ("c1", false)] {
        let mut request = world.request(id, &["sleep", "100"]);
        request.sandbox_pidns = shared;
        world.run(&request).await;
    }
    let mut namespaces = Vec::new();
    for id in ["a1", "b1", "c1"] {
        namespaces.push(world.sh(id, "readlink /proc/self/ns/pid").await.1);
    }
    assert_eq!(namespaces[0], namespaces[1]);
    assert_ne!(namespaces[0], namespaces[2]);
    // The containers may come and go in any order.
    world.remove("a1").await;
    assert_eq!(world.sh("b1", "echo alive").await.1, "alive\n");
    for id in ["b1", "c1"] {
        world.remove(id).await;
    }
}

pub(crate) async fn exit_codes_are_128_plus_the_signal(world: &World) {
    for (id, script, signal, code) in [
        ("c1", "exit 0", None, 0),
        ("c2", "exit 255", None, 255),
        // The first of its pid namespace, without a handler: the kernel would drop SIGTERM.
        ("c3", "echo ready; exec sleep 100", Some(15), 128 + 9),
        (
            "c4",
            "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done",
            Some(15),
            5,
        ),
        ("c5", "echo ready; exec sleep 100", Some(9), 128 + 9),
    ] {
        world.start(id, &["sh", "-c", script]).await;
        if let Some(signal) = signal {
            assert_eq!(world.read(id, id, 100).await, b"ready\n");
            world.signal(id, id, signal).await.unwrap();
        }
        assert_eq!(world.wait(id, id).await, code, "{script}");
        world.remove(id).await;
    }
}

pub(crate) async fn a_signal_for_all_reaches_descendants(world: &World) {
    // The child says ready itself: just forked it would still take the signal with its parent's trap.
    let child = "echo ready; exec sleep 100";
    let script = format!("trap : TERM; sh -c '{child}' & wait; wait; echo gone; exec sleep 100");
    world.start("c1", &["sh", "-c", &script]).await;
    assert_eq!(world.read("c1", "c1", 100).await, b"ready\n");
    world.signal("c1", "", 15).await.unwrap();
    assert_eq!(world.read("c1", "c1", 100).await, b"gone\n");
    world.signal("c1", "", 9).await.unwrap();
    assert_eq!(world.wait("c1", "c1").await, 137);
    // Ended: SIGKILL to all is done already, anything else has nobody to go to.
    world.signal("c1", "", 9).await.unwrap();
    let late = world.signal("c1", "c1", 15).await;
    assert_eq!(status(late).0, Code::NOT_FOUND);
    world.remove("c1").await;
}

pub(crate) async fn what_does_not_exist_is_not_found(world: &World) {
    let (none, exec) = ("none".to_owned(), "e".to_owned());
    let start = grpc::StartContainerRequest {
        container_id: none.clone(),
    };
    let wait = grpc::WaitProcessRequest {
        container_id: none.clone(),
        exec_id: exec.clone(),
    };
    let stats = grpc::StatsContainerRequest {
        container_id: none.clone(),
    };
    let read = grpc::ReadStreamRequest {
        container_id: none.clone(),
        exec_id: exec,
        len: 10,
    };
    let pause = grpc::PauseContainerRequest { container_id: none };
    let agent = &world.agent;
    for (code, said) in [
        status(agent.start_container(soon(), &start).await),
        status(agent.wait_process(soon(), &wait).await),
        status(agent.stats_container(soon(), &stats).await),
        status(agent.read_stdout(soon(), &read).await),
        status(agent.pause_container(soon(), &pause).await),
        status(world.signal("none", "none", 9).await),
        status(world.try_exec("none", "e", process(&["true"])).await),
    ] {
        assert_eq!(code, Code::NOT_FOUND, "{said}");
        assert!(said.contains("none"), "{said}");
    }
    world.start("c1", &["sleep", "100"]).await;
    let none = world.signal("c1", "none", 9).await;
    assert_eq!(status(none).0, Code::NOT_FOUND);
    let wrong = world.signal("c1", "c1", 77).await;
    assert_eq!(status(wrong).0, Code::INVALID_ARGUMENT);
    world.remove("c1").await;
    for bad in ["", "..", "a/b", "-\u{7f}"] {
        let mut request = world.request("x", &["true"]);
        request.container_id = bad.into();
        assert_eq!(
            status(world.create(&request).await).0,
            Code::INVALID_ARGUMENT
        );
    }
}

pub(crate) async fn nothing_is_no_exec_id(world: &World) {
    world.start("c1", &["cat"]).await;
    let id = || "c1".to_owned();
    let agent = &world.agent;
    let wait = grpc::WaitProcessRequest {
        container_id: id(),
        ..Default::default()
    };
    let read = grpc::ReadStreamRequest {
        container_id: id(),
        ..Default::default()
    };
    let write = grpc::WriteStreamRequest {
        container_id: id(),
        data: b"x".to_vec(),
        ..Default::default()
    };
    let close = grpc::CloseStdinRequest {
        container_id: id(),
        ..Default::default()
    };
    let resize = grpc::TtyWinResizeRequest {
        container_id: id(),
        ..Default::default()
    };
    for (code, said) in [
        status(agent.wait_process(soon(), &wait).await),
        status(agent.read_stdout(soon(), &read).await),
        status(agent.read_stderr(soon(), &read).await),
        status(agent.write_stdin(soon(), &write).await),
        status(agent.close_stdin(soon(), &close).await),
        status(agent.tty_win_resize(soon(), &resize).await),
        status(world.try_exec("c1", "", process(&["true"])).await),
    ] {
        assert_eq!(code, Code::INVALID_ARGUMENT, "{said}");
        assert!(said.contains("exec_id"), "{said}");
    }
    world.remove("c1").await;
}

pub(crate) async fn an_execs_code_is_read_once(world: &World) {
    world.start("c1", &["sleep", "100"]).await;
    let sleeping = process(&["sh", "-c", "echo ready; exec sleep 100"]);
    world.try_exec("c1", "e1", sleeping.clone()).await.unwrap();
    let duplicate = world.try_exec("c1", "e1", sleeping).await;
    assert_eq!(status(duplicate).0, Code::ALREADY_EXISTS);
    assert_eq!(world.read("c1", "e1", 100).await, b"ready\n");
    // Two wait when it ends: both hear of it.
    let (one, two, ended) = tokio::join!(
        world.wait("c1", "e1"),
        world.wait("c1", "e1"),
        world.signal("c1", "e1", 15)
    );
    ended.unwrap();
    assert_eq!((one, two), (143, 143));
    let wait = grpc::WaitProcessRequest {
        container_id: "c1".into(),
        exec_id: "e1".into(),
    };
    let again = world.agent.wait_process(soon(), &wait).await;
    assert_eq!(status(again).0, Code::NOT_FOUND);
    // The name is free again.
    let process = process(&["sh", "-c", "exit 4"]);
    world.try_exec("c1", "e1", process).await.unwrap();
    assert_eq!(world.wait("c1", "e1").await, 4);
    world.remove("c1").await;
}

pub(crate) async fn a_container_that_waits_for_its_start(world: &World) {
    let start = grpc::StartContainerRequest {
        container_id: "c1".into(),
    };
    let start = async || world.agent.start_container(soon(), &start).await;
    // It can be paused, and is what it was before when it is resumed.
    world
        .create(&world.request("c1", &["sh", "-c", "exit 3"]))
        .await
        .unwrap();
    let id = || "c1".to_owned();
    let pause = grpc::PauseContainerRequest { container_id: id() };
    world.agent.pause_container(soon(), &pause).await.unwrap();
    let (code, said) = status(start().await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(said.contains("paused"), "{said}");
    let resume = grpc::ResumeContainerRequest { container_id: id() };
    world.agent.resume_container(soon(), &resume).await.unwrap();
    let again = world.agent.resume_container(soon(), &resume).await;
    assert_eq!(status(again).0, Code::FAILED_PRECONDITION);
    start().await.unwrap();
    assert_eq!(world.wait("c1", "c1").await, 3);
    world.remove("c1").await;
    // Killed, it has ended without having run.
    let request = world.request("c1", &["sleep", "100"]);
    world.create(&request).await.unwrap();
    world.signal("c1", "c1", 9).await.unwrap();
    assert_eq!(world.wait("c1", "c1").await, 137);
    assert_eq!(status(start().await).0, Code::FAILED_PRECONDITION);
    world.remove("c1").await;
    // Removed, its name is free.
    world.create(&request).await.unwrap();
    world.remove("c1").await;
    world.start("c1", &["true"]).await;
    assert_eq!(world.wait("c1", "c1").await, 0);
    world.remove("c1").await;
}

pub(crate) async fn a_missing_program_leaves_nothing(world: &World) {
    let request = world.request("c1", &["no-such-program"]);
    let (code, said) = status(world.create(&request).await);
    assert_eq!(code, Code::NOT_FOUND, "{said}");
    assert!(
        said.contains("c1") && said.contains("no-such-program"),
        "{said}"
    );
    // The name is free again.
    world.start("c1", &["sleep", "100"]).await;
    let missing = world
        .try_exec("c1", "e1", process(&["no-such-program"]))
        .await;
    assert_eq!(status(missing).0, Code::NOT_FOUND);
    assert_eq!(world.sh("c1", "echo alive").await.1, "alive\n");
    world.remove("c1").await;
}

async fn figures(world: &World, id: &str) -> grpc::CgroupStats {
    let request = grpc::StatsContainerRequest {
        container_id: id.into(),
    };
    let stats = world.agent.stats_container(soon(), &request).await.unwrap();
    stats.cgroup_stats.unwrap()
}

pub(crate) async fn pause_update_and_figures(world: &World) {
    let script = "while :; do echo .; sleep 0.01; done";
    world.start("c1", &["sh", "-c", script]).await;
    let id = || "c1".to_owned();
    let pause = grpc::PauseContainerRequest { container_id: id() };
    world.agent.pause_container(soon(), &pause).await.unwrap();
    let again = world.agent.pause_container(soon(), &pause).await;
    assert_eq!(status(again).0, Code::FAILED_PRECONDITION);
    let exec = world.try_exec("c1", "e1", process(&["true"])).await;
    assert_eq!(status(exec).0, Code::FAILED_PRECONDITION);
    let used = async || {
        let usage = figures(world, "c1").await.cpu_stats.unwrap().cpu_usage;
        usage.unwrap().total_usage
    };
    let before = used().await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(used().await, before, "it ran while it was paused");
    let resume = grpc::ResumeContainerRequest { container_id: id() };
    world.agent.resume_container(soon(), &resume).await.unwrap();
    world
        .until("more CPU time", async || used().await > before)
        .await;
    let update = grpc::UpdateContainerRequest {
        container_id: id(),
        resources: Some(grpc::LinuxResources {
            memory: Some(grpc::LinuxMemory {
                limit: 64 << 20,
                ..Default::default()
            }),
            pids: Some(grpc::LinuxPids { limit: 77 }),
            ..Default::default()
        }),
    };
    world.agent.update_container(soon(), &update).await.unwrap();
    let now = figures(world, "c1").await;
    let memory = now.memory_stats.unwrap().usage.unwrap();
    assert_eq!(memory.limit, 64 << 20);
    assert!(memory.usage > 0);
    let pids = now.pids_stats.unwrap();
    assert!(pids.limit == 77 && pids.current > 0, "{pids:?}");
    // A paused container can be removed.
    world.agent.pause_container(soon(), &pause).await.unwrap();
    world.remove("c1").await;
}

pub(crate) async fn an_oom_kill_is_told(world: &World) {
    let mut request = world.request("c1", &["sh", "-c", "x=a; while :; do x=$x$x; done"]);
    let linux = request.oci.as_mut().unwrap().linux.as_mut().unwrap();
    linux.resources = Some(grpc::LinuxResources {
        memory: Some(grpc::LinuxMemory {
            limit: 16 << 20,
            ..Default::default()
        }),
        ..Default::default()
    });
    world.run(&request).await;
    assert_eq!(world.wait("c1", "c1").await, 137);
    let event = grpc::GetOomEventRequest {};
    let event = world.agent.get_oom_event(soon(), &event).await.unwrap();
    assert_eq!(event.container_id, "c1");
    world.remove("c1").await;
}

pub(crate) async fn users_by_name_are_the_containers_own(world: &World) {
    // /etc/passwd has user:x:1000:1000, /etc/group logs:x:44:user,daemon and tape:x:26:user.
    world.start("c1", &["sleep", "100"]).await;
    let exec = async |exec: &str, user: &str, gid: &str, username: &str| {
        let request = grpc::ExecProcessRequest {
            container_id: "c1".into(),
            exec_id: exec.into(),
            string_user: (!user.is_empty()).then(|| grpc::StringUser {
                uid: user.into(),
                gid: gid.into(),
                additional_gids: vec!["tape".into()],
            }),
            process: Some(grpc::Process {
                user: Some(grpc::User {
                    username: username.into(),
                    ..Default::default()
                }),
                ..process(&["sh", "-c", "echo $(id -u) $(id -G)"])
            }),
            ..Default::default()
        };
        world.agent.exec_process(soon(), &request).await?;
        let output = world.output("c1", exec).await;
        assert_eq!(world.wait("c1", exec).await, 0);
        Ok::<_, agent_api::ttrpc::Error>(output)
    };
    assert_eq!(exec("e1", "user", "", "").await.unwrap(), "1000 1000 26\n");
    assert_eq!(exec("e2", "12", "logs", "").await.unwrap(), "12 44 26\n");
    let said = exec("e3", "", "", "user").await.unwrap();
    assert!(said.starts_with("1000 1000"), "{said}");
    let (code, said) = status(exec("e4", "ghost", "", "").await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(said.contains("ghost"), "{said}");
    world.remove("c1").await;
}

pub(crate) async fn a_directory_of_one_container_is_seen_in_another(world: &World) {
    let named = |id: &str, name: &str| {
        let mut request = world.request(id, &["sleep", "100"]);
        let spec = request.oci.as_mut().unwrap();
        spec.annotations
            .insert("io.kubernetes.cri.container-name".into(), name.into());
        // What is shared must not be in the root that all have.
        spec.mounts
            .push(super::mount("tmpfs", "tmpfs", "/run", &["mode=755"]));
        request
    };
    world.run(&named("c1", "first")).await;
    let made = world
        .sh("c1", "mkdir /run/shared; echo hello >/run/shared/f")
        .await;
    assert_eq!(made.0, 0);
    let shared = |id: &str, from: &str| grpc::CreateContainerRequest {
        shared_mounts: vec![grpc::SharedMount {
            name: "share".into(),
            src_ctr: from.into(),
            src_path: "/run/shared".into(),
            dst_ctr: id.into(),
            dst_path: "/run/seen".into(),
        }],
        ..named(id, id)
    };
    world.run(&shared("c2", "first")).await;
    let read = world
        .sh("c2", "cat /run/seen/f; echo more >/run/seen/g")
        .await;
    assert_eq!(read.1, "hello\n");
    assert_eq!(world.sh("c1", "cat /run/shared/g").await.1, "more\n");
    let refused = world.create(&shared("c3", "nobody")).await;
    assert_eq!(status(refused).0, Code::NOT_FOUND);
    world.remove("c2").await;
    world.remove("c1").await;
}

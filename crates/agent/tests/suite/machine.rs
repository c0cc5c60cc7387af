//! Files, rules and facts.

use agent_api::grpc;
use agent_api::ttrpc::Code;

use super::{World, mount, soon, status};

pub(crate) async fn details_name_what_there_is(world: &World) {
    let check = grpc::CheckRequest::default();
    let health = world.health.check(soon(), &check).await.unwrap();
    let serving = grpc::health_check_response::ServingStatus::Serving;
    assert_eq!(health.status(), serving);
    let version = world.health.version(soon(), &check).await.unwrap();
    assert_eq!(version.agent_version, env!("CARGO_PKG_VERSION"));
    let request = grpc::GuestDetailsRequest {
        mem_block_size: true,
        mem_hotplug_probe: true,
    };
    let details = world
        .agent
        .get_guest_details(soon(), &request)
        .await
        .unwrap();
    let agent = details.agent_details.unwrap();
    assert!(agent.supports_seccomp);
    assert_eq!(agent.init_daemon, world.own);
    for name in ["blk", "scsi", "vfio-pci"] {
        assert!(agent.device_handlers.contains(&name.to_owned()), "{name}");
    }
    for name in ["overlayfs", "virtio-fs"] {
        assert!(agent.storage_handlers.contains(&name.to_owned()), "{name}");
    }
    // Nothing is stale.
    let stale = grpc::RemoveStaleVirtiofsShareMountsRequest {};
    let done = world
        .agent
        .remove_stale_virtiofs_share_mounts(soon(), &stale)
        .await;
    done.unwrap();
}

pub(crate) async fn files_are_copied_below_one_directory_only(world: &World) {
    let copy = async |path: &str, offset: i64, data: &[u8]| {
        let request = grpc::CopyFileRequest {
            path: path.into(),
            file_size: 10,
            file_mode: 0o100_640,
            dir_mode: 0o755,
            uid: 3,
            gid: 4,
            offset,
            data: data.to_vec(),
        };
        world.agent.copy_file(soon(), &request).await
    };
    let path = format!("{}/dir/file", world.files);
    copy(&path, 0, b"01234").await.unwrap();
    copy(&path, 5, b"56789").await.unwrap();
    let seen = world
        .look(&format!("cat $W{path}; stat -c ' %u %g %a' $W{path}"))
        .await;
    assert_eq!(seen, "0123456789 3 4 640\n");
    for outside in [&*format!("{}/../x", world.files), "/etc/coffer-test"] {
        let (code, said) = status(copy(outside, 0, b"x").await);
        assert_eq!(code, Code::INVALID_ARGUMENT, "{said}");
    }
    world.look(&format!("rm -r $W{}", world.files)).await;
}

pub(crate) async fn a_termination_log_is_read_after_the_end(world: &World) {
    let file = format!("{}/termination", world.dir);
    world.look(&format!(": > $W{file}")).await;
    let script = "echo why it ended >/dev/termination-log";
    let mut request = world.request("c1", &["sh", "-c", script]);
    let mounts = &mut request.oci.as_mut().unwrap().mounts;
    mounts.push(mount("bind", &file, "/dev/termination-log", &["bind"]));
    world.run(&request).await;
    world.wait("c1", "c1").await;
    let ask = async |kind: &str, id: &str| {
        let request = grpc::GetDiagnosticDataRequest {
            log_type: kind.into(),
            container_id: id.into(),
        };
        world.agent.get_diagnostic_data(soon(), &request).await
    };
    let told = ask("termination-log", "c1").await.unwrap();
    assert_eq!(told.data, "why it ended\n");
    assert_eq!(
        status(ask("nonsense", "c1").await).0,
        Code::INVALID_ARGUMENT
    );
    assert_eq!(
        status(ask("termination-log", "c9").await).0,
        Code::NOT_FOUND
    );
    world.remove("c1").await;
}

pub(crate) async fn a_policy_lets_pass_what_it_names(world: &World) {
    let set = async |policy: &str| {
        let request = grpc::SetPolicyRequest {
            policy: policy.into(),
        };
        world.agent.set_policy(soon(), &request).await
    };
    let rego = set("default AllowRequestsFailingPolicy := false").await;
    assert_eq!(status(rego).0, Code::INVALID_ARGUMENT);
    set("SetPolicy\nListInterfacesRequest # by its request")
        .await
        .unwrap();
    let list = grpc::ListInterfacesRequest {};
    world.agent.list_interfaces(soon(), &list).await.unwrap();
    let routes = grpc::ListRoutesRequest {};
    let (code, said) = status(world.agent.list_routes(soon(), &routes).await);
    assert_eq!(code, Code::PERMISSION_DENIED);
    assert!(said.contains("ListRoutes"), "{said}");
    // Health is always told; output reads as its end.
    let check = grpc::CheckRequest::default();
    world.health.check(soon(), &check).await.unwrap();
    assert_eq!(world.read("none", "none", 10).await, b"");
    set("*").await.unwrap();
    world.agent.list_routes(soon(), &routes).await.unwrap();
}

pub(crate) async fn two_calls_for_memory_are_unimplemented(world: &World) {
    let memcg = grpc::MemAgentMemcgConfig::default();
    let compact = grpc::MemAgentCompactConfig::default();
    for (code, said) in [
        status(world.agent.mem_agent_memcg_set(soon(), &memcg).await),
        status(world.agent.mem_agent_compact_set(soon(), &compact).await),
    ] {
        assert_eq!(code, Code::UNIMPLEMENTED);
        assert!(said.contains("MemAgent"), "{said}");
    }
}

pub(crate) async fn the_sandboxes_resolver_reaches_its_containers(world: &World) {
    world.start("c1", &["cat", "/etc/resolv.conf"]).await;
    let resolver = world.output("c1", "c1").await;
    assert_eq!(resolver, "nameserver 192.0.2.53\nsearch example.org\n");
    world.remove("c1").await;
}

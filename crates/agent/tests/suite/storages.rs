//! Storages that need no disk.

use agent_api::grpc;
use agent_api::ttrpc::Code;

use super::{World, all, soon, status, storage};

pub(crate) async fn storages_are_shared_by_mount_point_and_unmounted_by_the_last(world: &World) {
    let point = format!("{}/shared", world.dir);
    let tmpfs = grpc::Storage {
        options: all(&["size=1m", "mode=0770"]),
        ..storage("ephemeral", "tmpfs", "tmpfs", &point)
    };
    let script = "cat /data/* 2>/dev/null; echo x >/data/f";
    for (id, seen) in [("a1", ""), ("b1", "x\n")] {
        let request = world.with(id, &["sh", "-c", script], std::slice::from_ref(&tmpfs));
        world.run(&request).await;
        assert_eq!(world.output(id, id).await, seen);
        assert_eq!(world.wait(id, id).await, 0);
        assert!(world.mounted(&point).await);
    }
    world.remove("a1").await;
    assert!(world.mounted(&point).await);
    world.remove("b1").await;
    assert!(!world.mounted(&point).await);
    let nonsense = storage("nonsense", "tmpfs", "tmpfs", &point);
    let request = world.with("c1", &["true"], &[nonsense]);
    let (code, text) = status(world.create(&request).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("nonsense"), "{text}");
}

pub(crate) async fn memory_backed_volumes_grow(world: &World) {
    let point = format!("{}/memory", world.dir);
    let update = async |options: &[&str], driver: &str| {
        let storage = grpc::Storage {
            options: all(options),
            ..storage(driver, "tmpfs", "tmpfs", &point)
        };
        let request = grpc::UpdateEphemeralMountsRequest {
            storages: vec![storage],
        };
        world.agent.update_ephemeral_mounts(soon(), &request).await
    };
    let size = async || {
        let request = grpc::VolumeStatsRequest {
            volume_guest_path: point.clone(),
        };
        let stats = world.agent.get_volume_stats(soon(), &request).await;
        stats.unwrap().usage[0].total
    };
    update(&[], "ephemeral").await.unwrap();
    assert!(
        !world.mounted(&point).await,
        "without options nothing is said"
    );
    update(&["size=1m"], "ephemeral").await.unwrap();
    assert_eq!(size().await, 1 << 20);
    update(&["remount", "size=3m"], "ephemeral").await.unwrap();
    assert_eq!(size().await, 3 << 20);
    let refused = update(&["size=1m"], "local").await;
    assert_eq!(status(refused).0, Code::INVALID_ARGUMENT);
}

pub(crate) async fn an_overlay_gets_an_upper_layer_of_its_own(world: &World) {
    let lower = format!("{}/layer", world.dir);
    world
        .look(&format!(
            "mkdir -p $W{lower}; printf 'from below' > $W{lower}/f"
        ))
        .await;
    let mut overlay = storage(
        "overlayfs",
        "overlay",
        "overlay",
        &format!("{}/merged", world.dir),
    );
    overlay.options = vec![
        format!("lowerdir={lower}"),
        "io.katacontainers.fs-opt.overlay-rw".into(),
    ];
    let request = world.with("c1", &["sleep", "100"], std::slice::from_ref(&overlay));
    world.run(&request).await;
    let said = world
        .sh("c1", "cat /data/f; echo changed >/data/f; cat /data/f")
        .await;
    assert_eq!(said.1, "from belowchanged\n", "{said:?}");
    assert_eq!(world.look(&format!("cat $W{lower}/f")).await, "from below");
    world.remove("c1").await;
    assert!(!world.mounted(&overlay.mount_point).await);
    overlay
        .options
        .push("io.katacontainers.fs-opt.nonsense".into());
    let request = world.with("c2", &["true"], &[overlay]);
    let (code, said) = status(world.create(&request).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(said.contains("nonsense"), "{said}");
}

pub(crate) async fn a_volume_tells_its_size(world: &World) {
    let ask = async |path: &str| {
        let request = grpc::VolumeStatsRequest {
            volume_guest_path: path.into(),
        };
        world.agent.get_volume_stats(soon(), &request).await
    };
    let stats = ask(&world.dir).await.unwrap();
    assert_eq!(stats.volume_condition.unwrap().message, "OK");
    let [bytes, inodes] = stats.usage.try_into().unwrap();
    assert_eq!((bytes.unit, inodes.unit), (1, 2));
    assert!(bytes.used + bytes.available <= bytes.total && bytes.total > 0);
    assert_eq!(status(ask("relative").await).0, Code::INVALID_ARGUMENT);
    let (_, said) = status(ask("/none/such").await);
    assert!(said.contains("/none/such"), "{said}");
}

pub(crate) async fn a_storage_that_is_shared_outlives_its_users(world: &World) {
    let tmpfs = |shared: bool, point: &str| grpc::Storage {
        shared,
        ..storage("ephemeral", "tmpfs", "tmpfs", point)
    };
    let script = "cat /data/* 2>/dev/null; echo $0 >>/data/f";
    let run = async |id: &str, storage: grpc::Storage| {
        let request = world.with(id, &["sh", "-c", script, id], &[storage]);
        world.run(&request).await;
        let seen = world.output(id, id).await;
        assert_eq!(world.wait(id, id).await, 0);
        seen
    };
    // Once one user has said so it holds, whatever the others say.
    let kept = format!("{}/kept", world.dir);
    assert_eq!(run("a1", tmpfs(true, &kept)).await, "");
    world.remove("a1").await;
    assert!(world.mounted(&kept).await);
    assert_eq!(run("b1", tmpfs(false, &kept)).await, "a1\n");
    world.remove("b1").await;
    assert!(world.mounted(&kept).await);
    assert_eq!(run("c1", tmpfs(true, &kept)).await, "a1\nb1\n");
    world.remove("c1").await;
    // A second user may say it, too.
    let late = format!("{}/late", world.dir);
    assert_eq!(run("a1", tmpfs(false, &late)).await, "");
    assert_eq!(run("b1", tmpfs(true, &late)).await, "a1\n");
    for id in ["a1", "b1"] {
        world.remove(id).await;
    }
    assert!(world.mounted(&kept).await && world.mounted(&late).await);
    // They go with the sandbox: who has the world looks at that.
}

pub(crate) async fn directories_have_a_mode_and_a_group(world: &World) {
    let point = format!("{}/local", world.dir);
    let local = grpc::Storage {
        options: all(&["mode=0750"]),
        fs_group: Some(grpc::FsGroup {
            group_id: 777,
            group_change_policy: 0,
        }),
        ..storage("local", "local", "local", &point)
    };
    let script = "echo x >/data/f; stat -c '%a %g' /data /data/f";
    let request = world.with("c1", &["sh", "-c", script], &[local]);
    world.run(&request).await;
    let said = world.output("c1", "c1").await;
    let mut lines = said.lines();
    // Set-group-ID: what is made in it has the group.
    assert_eq!(lines.next(), Some("2770 777"), "{said}");
    assert!(lines.next().is_some_and(|f| f.ends_with(" 777")), "{said}");
    assert_eq!(world.wait("c1", "c1").await, 0);
    world.remove("c1").await;
    // What is in it is its owner's, not the container's.
    world
        .look(&format!("rm $W{point}/f; rmdir $W{point}"))
        .await;
}

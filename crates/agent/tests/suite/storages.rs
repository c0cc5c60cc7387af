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

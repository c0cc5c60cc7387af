//! Guards undo what they guard, and the leak check sees what nobody undid.
#![forbid(unsafe_code)]

use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, mount};
use testing::{guard, leaks::Snapshot, rootfs};

fn unique(name: &str) -> String {
    format!("coffer-testing-{name}-{}", std::process::id())
}

#[test]
fn a_process_a_mount_and_a_cgroup_are_seen_and_undone() {
    let dir = tempfile::Builder::new()
        .prefix(&unique("guard"))
        .tempdir()
        .unwrap();
    let name = unique("cgroup");
    let before = Snapshot::take(&[dir.path().to_str().unwrap(), &name]);
    {
        let child = Command::new(rootfs::BUSYBOX)
            .args(["sleep", "1000"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = guard::Process::child(child);
        mount(
            "none",
            dir.path(),
            "tmpfs",
            MountFlags::empty(),
            None::<&std::ffi::CStr>,
        )
        .unwrap();
        let _mount = guard::Mount::new(dir.path());
        let cgroup = guard::Cgroup::new(format!("/{name}/inner"));
        let _parent = guard::Cgroup::new(format!("/{name}"));
        let pids = guard::cgroup_mounts()
            .into_iter()
            .find(|m| m.ends_with("pids"))
            .unwrap();
        std::fs::create_dir_all(pids.join(&name).join("inner")).unwrap();
        let procs = pids.join(&name).join("inner/cgroup.procs");
        std::fs::write(procs, process.pid().to_string()).unwrap();
        assert_eq!(cgroup.dirs().len(), 1);

        let leaks = before.leaks().join("\n");
        for part in ["mount ", "cgroup ", "process ", "sleep 1000"] {
            assert!(leaks.contains(part), "{part:?} not in\n{leaks}");
        }
    }
    before.assert_clean();
}

#[test]
fn the_root_filesystem_runs() {
    let bundle = testing::bundle::Bundle::new(&["/bin/true"], |_| ()).unwrap();
    let out = Command::new("chroot")
        .arg(bundle.rootfs())
        .args([
            "/bin/sh",
            "-c",
            "id -u user; cat /www/index.html; /usr/bin/pwd",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(text, format!("1000\n{}/\n", rootfs::PAGE), "{out:?}");
}

#[test]
fn skopeo_reads_the_archives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.tar");
    for (form, write) in [("oci-archive", true), ("docker-archive", false)] {
        let builder = testing::image::busybox().unwrap();
        if write {
            builder.oci_archive(&path)
        } else {
            builder.docker_archive(&path)
        }
        .unwrap();
        let out = Command::new("skopeo")
            .args(["inspect", "--config", &format!("{form}:{}", path.display())])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains("\"User\": \"user\""), "{form}: {out:?}");
    }
}

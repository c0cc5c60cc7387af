//! A bundle that umoci unpacks from an OCI image: a root filesystem of Debian's own packages, as they
//! are installed here, with a dynamic libc and links in its top directory.

mod common;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::Oci;
use serde_json::{Value, json};

const PACKAGES: [&str; 7] = [
    "libc6",
    "dash",
    "coreutils",
    "libselinux1",
    "libpcre2-8-0",
    "libacl1",
    "libattr1",
];

#[track_caller]
fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().expect(program);
    assert!(output.status.success(), "{program} {words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Copies the files of installed packages.
fn packages(rootfs: &Path) -> io::Result<()> {
    fs::create_dir_all(rootfs)?;
    // Debian's merged /usr.
    for name in ["bin", "lib", "lib64", "sbin"] {
        fs::create_dir_all(rootfs.join("usr").join(name))?;
        symlink(format!("usr/{name}"), rootfs.join(name))?;
    }
    let mut words = vec!["-L"];
    words.extend(PACKAGES);
    for file in run("dpkg-query", &words)
        .lines()
        .filter(|line| line.starts_with('/'))
    {
        let from = Path::new(file);
        let wanted = !file.starts_with("/usr/share/");
        let Some(meta) = from.symlink_metadata().ok().filter(|_| wanted) else {
            continue;
        };
        let to = rootfs.join(file.trim_start_matches('/'));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        if meta.is_symlink() && !to.exists() {
            symlink(fs::read_link(from)?, &to)?;
        } else if meta.is_file() {
            fs::copy(from, &to)?;
        }
    }
    Ok(())
}

#[test]
fn a_debian_root_runs_as_umoci_unpacked_it() {
    let oci = Oci::new();
    let below = |name: &str| oci.dir().join(name).display().to_string();
    let (rootfs, layout, bundle) = (below("rootfs"), below("layout"), below("bundle"));
    packages(Path::new(&rootfs)).expect("a root");
    let image = format!("{layout}:debian");
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["insert", "--image", &image, &rootfs, "/"]);
    let script = "echo \"$A\"; stat -c %U:%a /etc/passwd 2>&1; id -u; exit 9";
    run(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.env",
            "A=b",
            "--config.user",
            "7:8",
            "--config.cmd",
            "/bin/sh",
            "--config.cmd=-c",
            "--config.cmd",
            script,
        ],
    );
    run("umoci", &["unpack", "--image", &image, &bundle]);
    let config = Path::new(&bundle).join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config).expect("read")).expect("JSON");
    assert_eq!(
        spec["process"]["terminal"],
        json!(true),
        "umoci's document is one for people"
    );
    spec["process"]["terminal"] = json!(false);
    fs::write(&config, spec.to_string()).expect("write");
    let done = oci.run(&["run", "-b", &bundle, &oci.id("debian")]);
    assert_eq!(done.code, 9, "{done:?}");
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(
        (lines.first(), lines.last()),
        (Some(&"b"), Some(&"7")),
        "{done:?}"
    );
}

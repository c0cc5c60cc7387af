//! A small root filesystem from busybox.
//!
//! ```text
//!  bin/busybox  bin/sh -> busybox …     usr/bin -> ../bin   sbin -> bin
//!  etc/{passwd,group,hosts,hostname,resolv.conf}
//!  dev proc sys run root home/user var/log tmp (1777)       www/index.html
//! ```

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
    sync::OnceLock,
};

/// The program that everything is made from.
pub const BUSYBOX: &str = "/bin/busybox";
/// `/etc/passwd` of the root filesystem: root, daemon, and the non-root `user` (1000, home/user).
pub const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n\
    user:x:1000:1000::/home/user:/bin/sh\n";
/// `/etc/group` of the root filesystem; `user` is a member of `logs` (44) and `tape` (26).
pub const GROUP: &str =
    "root:x:0:\ndaemon:x:1:\ntape:x:26:user\nlogs:x:44:user,daemon\nuser:x:1000:\n";
/// The page that `www/index.html` holds.
pub const PAGE: &str = "<h1>It works</h1>\n";

/// Directories of the tree with their modes, parents first.
pub const DIRS: [(&str, u32); 15] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/user", 0o750),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/share", 0o755),
    ("var", 0o755),
    ("var/log", 0o755),
    ("www", 0o755),
];

/// Text files of the tree.
pub const FILES: [(&str, &str); 5] = [
    ("etc/passwd", PASSWD),
    ("etc/group", GROUP),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/hostname", "busybox\n"),
    ("www/index.html", PAGE),
];

/// The names that busybox answers to, asked of the program once.
///
/// # Errors
/// busybox-static is not installed.
pub fn applets() -> io::Result<&'static [String]> {
    static LIST: OnceLock<Vec<String>> = OnceLock::new();
    if let Some(list) = LIST.get() {
        return Ok(list);
    }
    let out = Command::new(BUSYBOX)
        .arg("--list")
        .output()
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("run {BUSYBOX} (install busybox-static): {error}"),
            )
        })?;
    let text = String::from_utf8_lossy(&out.stdout);
    let list = text
        .lines()
        .filter(|name| *name != "busybox")
        .map(str::to_owned)
        .collect();
    Ok(LIST.get_or_init(|| list))
}

/// Fills `dir` (made if missing) with the tree above.
///
/// # Errors
/// busybox-static is not installed, or `dir` cannot be written.
pub fn busybox(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for (name, mode) in DIRS {
        let path = dir.join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    chown(dir.join("home/user"), Some(1000), Some(1000)).or_else(unless_rootless)?;
    fs::copy(BUSYBOX, dir.join("bin/busybox"))?;
    fs::set_permissions(dir.join("bin/busybox"), fs::Permissions::from_mode(0o755))?;
    for applet in applets()? {
        symlink("busybox", dir.join("bin").join(applet))?;
    }
    symlink("bin", dir.join("sbin"))?;
    symlink("../bin", dir.join("usr/bin"))?;
    for (name, text) in FILES {
        fs::write(dir.join(name), text)?;
    }
    Ok(())
}

/// Without root the owner stays the caller, which those tests expect.
fn unless_rootless(error: io::Error) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        Err(error)
    } else {
        Ok(())
    }
}

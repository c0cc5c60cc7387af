//! What a person at a terminal waits for: `run`, `exec`, `ps` and the first prompt of `exec -it`,
//! coffer's command line against podman's, each against containers of its own.
//!
//! ```text
//! bench cli ─► unshare --net --mount ─► bench stage-cli       streams go over its own loopback
//!                                 ├ coffer serve       private daemon, CONTAINERS pods
//!                                 └ podman             private storage, CONTAINERS containers
//! ```
//! Containers have loopback only on both sides, so that no network plugin of podman's is measured.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{
    alternate::{self, Contender, measure},
    cri::{self, Daemon},
};

/// The word that runs the measurement itself, inside a network of its own.
pub(crate) const STAGE: &str = "stage-cli";

/// Containers that run while the lists are timed.
const CONTAINERS: usize = 10;

/// Measures in a network namespace of its own and returns the markdown report.
///
/// # Errors
/// A program that is not there or fails.
pub(crate) fn report(bin: &Path, rounds: usize) -> io::Result<String> {
    let output = Command::new("unshare")
        .args(["--net", "--mount", "/bin/sh", "-c"])
        .arg("ip link set lo up && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe()?)
        .args([STAGE, "--rounds", &rounds.to_string(), "--bin"])
        .arg(bin)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "the command lines: {}",
            output.status
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The measurement.
///
/// # Errors
/// As [`report`].
pub(crate) fn stage(bin: &Path, rounds: usize) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut daemon = Daemon::start_here(bin, "", &std::env::temp_dir())?;
    let image = runtime.block_on(async {
        let client = daemon.client().await?;
        cri::import(&client, daemon.base.path())
            .await
            .map_err(io::Error::other)
    })?;
    let coffer = Tool {
        program: bin.join("coffer"),
        args: vec![
            "--socket".to_owned(),
            daemon.base.path().join("coffer.sock").display().to_string(),
        ],
        run: &[],
        image,
    };
    let podman = podman(daemon.base.path())?;
    let tools = [("coffer", &coffer), ("podman", &podman)];
    let populated = tools.iter().try_for_each(|(_, tool)| tool.populate());
    let result = populated.and_then(|()| compare(&tools, rounds));
    // Also after a failure: containers would outlive their stores.
    for (_, tool) in tools {
        tool.clear();
    }
    result
}

fn compare(tools: &[(&str, &Tool); 2], rounds: usize) -> io::Result<String> {
    type Act = fn(&Tool) -> io::Result<()>;
    let acts: [(&str, Act); 4] = [
        ("`ps`, 10 containers", |tool| tool.call(&["ps"])),
        ("`run --rm IMAGE true`", Tool::run_true),
        ("`exec C true`", |tool| tool.call(&["exec", "b0", "true"])),
        ("`exec -it C sh` to its first prompt", Tool::first_prompt),
    ];
    let mut out = String::new();
    for (what, act) in acts {
        let mut contenders: Vec<Contender<'_>> = tools
            .iter()
            .map(|(name, tool)| Contender {
                name: (*name).to_owned(),
                run: Box::new(move || act(tool)),
            })
            .collect();
        eprintln!("bench: {what}");
        let samples = measure(&mut contenders, 2, rounds)?;
        let names = tools.map(|(name, _)| name);
        out += &format!("\n{what}, {rounds} rounds:\n\n");
        out += &alternate::comparison(&names, &samples);
    }
    Ok(out)
}

/// One of the command lines, with the options that make it private.
struct Tool {
    program: PathBuf,
    args: Vec<String>,
    /// Further options of its `run`.
    run: &'static [&'static str],
    image: String,
}

impl Tool {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args(args);
        command
    }

    fn call(&self, args: &[&str]) -> io::Result<()> {
        let output = self.command(args).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{args:?}: {}", said.trim())))
    }

    fn run_true(&self) -> io::Result<()> {
        let what = ["--rm", "--network", "none", &self.image, "true"];
        self.call(&[&["run"], self.run, &what].concat())
    }

    /// `sh` at a terminal; the time ends when its prompt shows, and the shell is ended afterwards.
    fn first_prompt(&self) -> io::Result<()> {
        let (mut master, slave) = terminal()?;
        let mut child = self
            .command(&["exec", "-it", "b0", "sh"])
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave)
            .spawn()?;
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        // busybox asks for the cursor's place behind its prompt.
        while !seen.windows(2).any(|two| two == b"$ " || two == b"# ") {
            let n = master.read(&mut buffer)?;
            seen.extend_from_slice(&buffer[..n]);
        }
        master.write_all(b"exit\n")?;
        // The terminal must be drained for the program to end.
        while matches!(master.read(&mut buffer), Ok(n) if n > 0) {}
        let status = child.wait()?;
        if status.success() {
            return Ok(());
        }
        let seen = String::from_utf8_lossy(&seen);
        Err(io::Error::other(format!("exec -it: {status}: {seen}")))
    }

    fn populate(&self) -> io::Result<()> {
        for n in 0..CONTAINERS {
            let name = format!("b{n}");
            let image = self.image.as_str();
            let what = ["-d", "--network", "none", "--name", &name, image];
            self.call(&[&["run"], self.run, &what, &["sleep 1000000"]].concat())?;
        }
        Ok(())
    }

    /// Best effort: what is measured is over.
    fn clear(&self) {
        for n in 0..CONTAINERS {
            if let Err(error) = self.call(&["rm", "-f", &format!("b{n}")]) {
                eprintln!("bench: {error}");
            }
        }
    }
}

fn terminal() -> io::Result<(File, File)> {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size)?;
    let name = ptsname(&master, Vec::new())?;
    let path = Path::new(name.to_str().map_err(io::Error::other)?);
    let slave = File::options().read(true).write(true).open(path)?;
    Ok((File::from(master), slave))
}

/// podman with storage of its own below `base` and the same image.
fn podman(base: &Path) -> io::Result<Tool> {
    let dir = |part: &str| base.join("podman").join(part).display().to_string();
    let mut args = vec!["--root".to_owned(), dir("root")];
    args.extend(["--runroot".to_owned(), dir("run")]);
    args.extend(["--tmpdir".to_owned(), dir("tmp")]);
    let fixed = "--storage-driver overlay --cgroup-manager cgroupfs --events-backend none";
    args.extend(fixed.split(' ').map(str::to_owned));
    args.extend(["--runtime".to_owned(), "runc".to_owned()]);
    let tool = Tool {
        program: "podman".into(),
        args,
        // Without CAP_SYS_RESOURCE its default limits can't be set.
        run: &[
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
        ],
        image: String::new(),
    };
    let archive = base.join("busybox.tar").display().to_string();
    let loaded = tool
        .command(&["load", "--quiet", "--input", &archive])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&loaded.stdout);
    let name = said.trim().rsplit(' ').next().unwrap_or_default();
    if !loaded.status.success() || name.is_empty() {
        let said = String::from_utf8_lossy(&loaded.stderr);
        return Err(io::Error::other(format!("podman load: {}", said.trim())));
    }
    Ok(Tool {
        image: name.to_owned(),
        ..tool
    })
}

//! The floor program, `oci_floor.c`: built by the C compiler, called with what a case asks for.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::seccomp::default_profile::runtime_default;

const SOURCE: &str = include_str!("oci_floor.c");

/// The built program, and what it is told in every call.
#[derive(Debug)]
pub(crate) struct Floor {
    program: PathBuf,
    filter: PathBuf,
    /// Mount points of the v1 hierarchies.
    mounts: Vec<String>,
    runs: Cell<u32>,
}

impl Floor {
    /// Builds it.
    ///
    /// # Errors
    ///
    /// No C compiler, a profile that does not compile, no v1 hierarchies.
    pub(crate) fn build(scratch: &Path) -> io::Result<Self> {
        let (source, program) = (scratch.join("floor.c"), scratch.join("floor"));
        fs::write(&source, SOURCE)?;
        let built = Command::new("gcc")
            .args(["-O2", "-static", "-o"])
            .arg(&program)
            .arg(&source)
            .status()?;
        if !built.success() {
            return Err(io::Error::other(format!("gcc of the floor: {built}")));
        }
        let filter = scratch.join("filter");
        let profile = runtime_default(&BTreeSet::new());
        let compiled = container::seccomp::compile(&profile, None).map_err(io::Error::other)?;
        fs::write(&filter, compiled.bpf)?;
        let text = fs::read_to_string("/proc/self/mounts")?;
        let mounts = text.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, kind) = (words.next()?, words.next()?);
            (kind == "cgroup").then(|| point.to_owned())
        });
        let mounts: Vec<String> = mounts.collect();
        if mounts.is_empty() {
            return Err(io::Error::other(
                "the floor is written for v1 control groups",
            ));
        }
        Ok(Self {
            program,
            filter,
            mounts,
            runs: Cell::new(0),
        })
    }

    fn call(&self, words: &[&str]) -> io::Result<()> {
        let output = Command::new(&self.program)
            .args(words)
            .args(&self.mounts)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(io::Error::other(format!("{}: {said}", output.status)))
    }

    /// The whole life of a container.
    pub(crate) fn run(
        &self,
        bundle: &Path,
        filter: bool,
        limits: bool,
        net: &str,
    ) -> io::Result<()> {
        let rootfs = bundle.join("rootfs").display().to_string();
        // A new one each time, as containers have: the kernel keeps names that are gone for a while, and finds a
        // known one faster.
        self.runs.set(self.runs.get() + 1);
        let name = format!("bench-{}-floor-{}", std::process::id(), self.runs.get());
        let file = self.filter.display().to_string();
        let filter = if filter { file.as_str() } else { "-" };
        let limits = if limits { "limits" } else { "-" };
        self.call(&["run", &rootfs, &name, filter, limits, net])
    }

    /// One more process in a container.
    pub(crate) fn exec(&self, pid: &str, cgroup: &str) -> io::Result<()> {
        self.call(&["exec", pid, cgroup])
    }

    /// A program that does nothing.
    pub(crate) fn nothing(&self) -> io::Result<()> {
        let status = Command::new(&self.program)
            .arg("nothing")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| io::Error::other(status.to_string()))
    }
}

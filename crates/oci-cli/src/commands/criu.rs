//! criu, by its command line: what `checkpoint` and `restore` have in common.
//!
//! ```text
//!  checkpoint   criu dump    --tree PID --images-dir D --root ROOTFS --external mnt[/etc/x]:/etc/x …
//!  restore      criu restore            --images-dir D --root MOUNT  --external mnt[/etc/x]:/src/x …
//! ```
//! Bind mounts are no part of the images: each is named by its place in the container. Cgroups are
//! ours: criu is told to leave them alone, and runs inside the container's own to restore it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::runtime::{Mount, NamespaceType, Spec};

use crate::args::{Criu, Global};
use crate::error::Error;

/// Directory of images where none is given.
const IMAGES: &str = "checkpoint";
/// How the descriptor of a network namespace that is not the container's own is called in images.
const NETWORK: &str = "extRootNetNS";

/// The directories of one call, absolute and there.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) images: PathBuf,
    pub(super) work: PathBuf,
}

impl Places {
    /// `make`: the images' directory is made if it is not there.
    pub(super) fn find(args: &Criu, make: bool) -> Result<Self, Error> {
        let images = args.image_path.as_deref().unwrap_or(Path::new(IMAGES));
        if make {
            fs::create_dir_all(images).map_err(Error::file("make", images))?;
        }
        let images = fs::canonicalize(images).map_err(Error::file("find the images in", images))?;
        let work = match &args.work_path {
            None => images.clone(),
            Some(work) => {
                fs::create_dir_all(work).map_err(Error::file("make", work))?;
                fs::canonicalize(work).map_err(Error::file("find", work))?
            }
        };
        Ok(Self { images, work })
    }
}

/// Arguments in their order.
#[derive(Debug, Default)]
pub(super) struct Line(pub(super) Vec<OsString>);

impl Line {
    pub(super) fn word(&mut self, word: impl Into<OsString>) {
        self.0.push(word.into());
    }

    pub(super) fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }

    pub(super) fn switches(&mut self, list: &[(bool, &str)]) {
        let on = list.iter().filter(|(on, _)| *on);
        self.0.extend(on.map(|(_, name)| OsString::from(name)));
    }

    /// What both commands say.
    pub(super) fn shared(&mut self, args: &Criu, places: &Places, log: &str) {
        self.pair("--images-dir", &places.images);
        self.pair("--work-dir", &places.work);
        self.pair("--log-file", log);
        self.word("-v4");
        let mode = args.manage_cgroups.as_deref().unwrap_or("ignore");
        self.word(format!("--manage-cgroups={mode}"));
        self.switches(&[
            (args.tcp_established, "--tcp-established"),
            (args.ext_unix_sk, "--ext-unix-sk"),
            (args.shell_job, "--shell-job"),
            (args.file_locks, "--file-locks"),
            (args.auto_dedup, "--auto-dedup"),
        ]);
        if !args.empty_ns.is_empty() {
            self.pair("--empty-ns", "net");
        }
    }
}

/// The mounts that come from outside: place in the container, source.
pub(super) fn binds(spec: &Spec, bundle: &Path) -> Vec<(PathBuf, PathBuf)> {
    let bound = |mount: &&Mount| {
        let words = ["bind", "rbind"];
        mount
            .options
            .iter()
            .any(|option| words.contains(&option.as_str()))
            || mount.type_.as_deref() == Some("bind")
    };
    let places = spec.mounts.iter().filter(bound).map(|mount| {
        let source = bundle.join(mount.source.as_deref().unwrap_or_default());
        (Path::new("/").join(&mount.destination), source)
    });
    places.collect()
}

/// The network namespace that the container joins, if it does.
pub(super) fn joined_network(spec: &Spec) -> Option<PathBuf> {
    let linux = spec.linux.as_ref()?;
    let network = linux.namespace(NamespaceType::Network)?;
    network.join_path().map(PathBuf::from)
}

/// `net[inode]:name`, as a dump names a namespace from outside.
pub(super) fn external_network(inode: u64) -> String {
    format!("net[{inode}]:{NETWORK}")
}

/// `fd[n]:name`, as a restore is given it.
pub(super) fn inherited_network(fd: i32) -> String {
    format!("fd[{fd}]:{NETWORK}")
}

/// Runs criu to its end.
pub(super) fn run(command: &mut Command, log: &Path) -> Result<(), Error> {
    let output = command.output();
    let output = output.map_err(|source| missing(command, source))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(&output.stderr, log))
}

/// criu could not be started.
pub(super) fn missing(command: &Command, source: std::io::Error) -> Error {
    Error::File {
        act: "run criu, which checkpoint and restore need (apt install criu, or --criu FILE):",
        path: PathBuf::from(command.get_program()),
        source,
    }
}

/// criu ended with an error: its own last words, from stderr or from its log.
pub(super) fn failed(stderr: &[u8], log: &Path) -> Error {
    let text = fs::read_to_string(log).unwrap_or_default() + &String::from_utf8_lossy(stderr);
    let mut said = text.lines().filter(|line| line.contains("Error ("));
    let reason = said
        .next_back()
        .map_or("it does not say why", str::trim)
        .to_owned();
    Error::Criu {
        reason,
        log: log.to_owned(),
    }
}

/// The program to run.
pub(super) fn program(global: &Global) -> &Path {
    &global.criu
}

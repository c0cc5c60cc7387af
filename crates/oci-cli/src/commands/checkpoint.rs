//! `checkpoint`: a running container to images on disk, by criu. Afterwards it is gone, unless it is
//! left running.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use oci::runtime::Status;

use super::criu::{self, Line, Places};
use crate::args::{Checkpoint, Global};
use crate::error::Error;
use crate::status::Live;

const LOG: &str = "dump.log";
/// The paths behind the process' first descriptors, for a restore to give it others in their place.
pub(super) const STREAMS: &str = "descriptors.json";

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Checkpoint) -> Result<i32, Error> {
    let live = Live::find(&global.root, &args.id)?;
    if !matches!(live.status, Status::Running | Status::Paused) {
        return Err(Error::WrongState {
            act: "checkpoint",
            id: args.id.clone(),
            status: live.status,
        });
    }
    let _lock = live.dir.lock()?;
    let places = Places::find(&args.criu, true)?;
    let pid = live.pid();
    let streams = streams(pid);
    let path = places.images.join(STREAMS);
    std::fs::write(&path, serde_json::to_vec(&streams)?).map_err(Error::file("write", &path))?;
    let line = line(args, &live, &places, network(&live)?);
    let mut command = Command::new(criu::program(global));
    command.args(line.0);
    criu::run(&mut command, &places.work.join(LOG))?;
    if args.leave_running || args.pre_dump {
        return Ok(0);
    }
    // Its processes have ended by criu's hand; what is left of it goes.
    container::destroy(&live.as_ref()).map_err(Error::core("remove", &live.dir.id))?;
    live.dir.remove()?;
    Ok(0)
}

/// Where descriptors 0 to 2 lead.
fn streams(pid: i32) -> [String; 3] {
    [0, 1, 2].map(|fd| {
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        link.map(|path| path.display().to_string())
            .unwrap_or_default()
    })
}

/// The inode of a network namespace that is not the container's own.
fn network(live: &Live) -> Result<Option<u64>, Error> {
    if criu::joined_network(&live.record.config).is_none() {
        return Ok(None);
    }
    let path = format!("/proc/{}/ns/net", live.pid());
    let meta = std::fs::metadata(&path).map_err(Error::file("look at", Path::new(&path)))?;
    Ok(Some(meta.ino()))
}

fn line(args: &Checkpoint, live: &Live, places: &Places, network: Option<u64>) -> Line {
    let mut line = Line::default();
    line.word(if args.pre_dump { "pre-dump" } else { "dump" });
    line.pair("--tree", live.pid().to_string());
    line.pair("--root", &live.record.rootfs);
    line.shared(&args.criu, places, LOG);
    line.word("--evasive-devices");
    for (place, _) in criu::binds(&live.record.config, &live.record.bundle) {
        let place = place.display();
        line.pair("--external", format!("mnt[{place}]:{place}"));
    }
    if let Some(inode) = network {
        line.pair("--external", criu::external_network(inode));
    }
    line.switches(&[
        (args.leave_running, "--leave-running"),
        (args.link_remap, "--link-remap"),
        (args.tcp_skip_in_flight, "--skip-in-flight"),
        (args.pre_dump || args.parent_path.is_some(), "--track-mem"),
        (args.criu.lazy_pages, "--lazy-pages"),
        (args.page_server.is_some(), "--page-server"),
    ]);
    if let Some(parent) = &args.parent_path {
        line.pair("--prev-images-dir", parent);
    }
    if let Some((address, port)) = args.page_server.as_deref().and_then(|p| p.rsplit_once(':')) {
        line.pair("--address", address);
        line.pair("--port", port);
    }
    if let Some(fd) = args.status_fd {
        line.pair("--status-fd", fd.to_string());
    }
    line
}

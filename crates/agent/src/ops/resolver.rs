//! CreateSandbox's `dns`: lines of a resolv.conf. In a micro-VM they are the machine's own; containers
//! that bring no /etc/resolv.conf get them too.

use std::path::{Path, PathBuf};

use oci::runtime::{Mount, Spec};
use sys::atomic::{self, Durability};

use crate::agent::Agent;
use crate::error::Error;

/// Where programs look.
const PLACE: &str = "/etc/resolv.conf";
/// The file in the agent's state.
const FILE: &str = "resolv.conf";

/// Writes the lines; returns the file for containers, if there are any. Blocks.
pub(crate) fn write(agent: &Agent, lines: &[String]) -> Result<Option<PathBuf>, Error> {
    if lines.is_empty() {
        return Ok(None);
    }
    if let Some(line) = lines.iter().find(|l| l.contains(['\n', '\0'])) {
        return Err(Error::invalid(
            format!("dns {line:?}"),
            "more than one line",
        ));
    }
    let text = format!("{}\n", lines.join("\n"));
    let put = |path: &Path| {
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| atomic::write(path, text.as_bytes(), 0o644, Durability::Process))
            .map_err(|e| Error::io("write", path.display(), e))
    };
    if agent.machine.own {
        put(Path::new(PLACE))?;
    }
    let file = agent.state.dir.join(FILE);
    put(&file)?;
    Ok(Some(file))
}

/// Gives a container the file, unless it brings its own.
pub(crate) fn mount(spec: &mut Spec, file: Option<&Path>) {
    let Some(file) = file else { return };
    if spec.mounts.iter().any(|m| m.destination == PLACE) {
        return;
    }
    spec.mounts.push(Mount {
        destination: PLACE.into(),
        type_: Some("bind".into()),
        source: Some(file.display().to_string()),
        options: ["rbind", "rprivate", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
}

/// Takes the file away.
pub(crate) fn forget(file: Option<&Path>) {
    if let Some(file) = file {
        drop(std::fs::remove_file(file));
    }
}

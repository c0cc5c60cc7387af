//! `mounts`: mounts that come to a container that exists, or go, as crun has it.

use oci::runtime::{Status, parse_mounts, validate};

use super::engine;
use crate::args::{Global, Mounts};
use crate::error::Error;
use crate::status::Live;

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Mounts) -> Result<i32, Error> {
    let engine = engine(global)?;
    let mut live = Live::find_in(engine.hierarchy(), &global.root, &args.id)?;
    if live.status == Status::Stopped {
        return Err(Error::NotRunning {
            act: "mount in",
            id: args.id.clone(),
        });
    }
    let file = &args.file;
    let text = std::fs::read(file).map_err(Error::file("read the mounts of", file))?;
    // In place of the document's own: the rules are the same.
    live.record.config.mounts = parse_mounts(&text).map_err(|source| Error::Document {
        path: file.clone(),
        source,
    })?;
    validate(&live.record.config).map_err(|source| Error::Invalid {
        path: file.clone(),
        source,
    })?;
    let container = live.as_ref();
    let done = match args.remove {
        false => engine.mount(&container),
        true => engine.unmount(&container),
    };
    let act = if args.remove {
        "unmount in"
    } else {
        "mount in"
    };
    done.map_err(Error::core(act, &live.dir.id))?;
    Ok(0)
}

//! `spec`: writes a document to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use oci::runtime::{example, print, rootless_example};

use crate::args::Spec;
use crate::error::Error;

pub(crate) fn command(args: &Spec) -> Result<i32, Error> {
    let spec = if args.rootless {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        rootless_example(uid.as_raw(), gid.as_raw())
    } else {
        example()
    };
    let dir = args.bundle.as_deref().unwrap_or(Path::new(""));
    let path = dir.join(args.config.as_deref().unwrap_or(Path::new("config.json")));
    let text = print(&spec)? + "\n";
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| {
            let act = match error.kind() {
                io::ErrorKind::AlreadyExists => "write (a file exists there: remove it first)",
                _ => "write",
            };
            Error::file(act, &path)(error)
        })?;
    file.write_all(text.as_bytes())
        .map_err(Error::file("write", &path))?;
    Ok(0)
}

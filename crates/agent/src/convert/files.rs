//! Files and volumes.

use agent_api::grpc;

use crate::error::Error;
use crate::ops::copy_file::{CopyFile, Kind};
use crate::ops::volume::Usage;

pub(crate) fn copy(wire: grpc::CopyFileRequest) -> Result<CopyFile, Error> {
    let what = format!("file {}", wire.path);
    let wrong = |why: &str| Error::invalid(what.clone(), why);
    let positive =
        |n: i64, name: &str| u64::try_from(n).map_err(|_| wrong(&format!("{name} is negative")));
    let id = |n: i32| u32::try_from(n).map_err(|_| wrong("its owner is negative"));
    let kind = match wire.file_mode & libc::S_IFMT {
        libc::S_IFREG | 0 => Kind::File,
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Link,
        _ => return Err(wrong("it is neither file nor directory nor link")),
    };
    Ok(CopyFile {
        kind,
        mode: wire.file_mode & 0o7777,
        dir_mode: wire.dir_mode & 0o7777,
        owner: (id(wire.uid)?, id(wire.gid)?),
        size: positive(wire.file_size, "file_size")?,
        offset: positive(wire.offset, "offset")?,
        path: wire.path.into(),
        data: wire.data,
    })
}

pub(crate) fn volume_stats([bytes, inodes]: [Usage; 2]) -> grpc::VolumeStatsResponse {
    use grpc::volume_usage::Unit;
    let usage = |usage: Usage, unit: Unit| grpc::VolumeUsage {
        available: usage.available,
        total: usage.total,
        used: usage.used,
        unit: unit.into(),
    };
    grpc::VolumeStatsResponse {
        usage: vec![usage(bytes, Unit::Bytes), usage(inodes, Unit::Inodes)],
        volume_condition: Some(grpc::VolumeCondition {
            abnormal: false,
            message: "OK".into(),
        }),
    }
}

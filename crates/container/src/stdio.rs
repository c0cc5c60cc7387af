//! Streams on their way from the caller to the process, whose user they then belong to: an image whose
//! log is a link to /dev/stdout opens it anew, and a pipe made by root is closed to everybody else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::runtime as spec;
use rustix::{
    fs::{FileType, fchown, fstat},
    process::Uid,
    termios::isatty,
};

use crate::{launch::Streams, plan, request::Stdio};

/// The user of the process as the host counts; `None` for one that the document does not map.
pub(crate) fn owner(spec: &spec::Spec, user: &spec::User) -> Option<u32> {
    let linux = spec.linux.as_ref();
    match linux.filter(|l| l.namespace(spec::NamespaceType::User).is_some()) {
        Some(linux) => plan::on_host(&linux.uid_mappings, user.uid, 1),
        None => Some(user.uid),
    }
}

/// The caller's streams as the plan and the sources want them, given to `owner`.
pub(crate) fn streams(stdio: Stdio, owner: Option<u32>) -> (plan::Streams, Streams) {
    match stdio {
        Stdio::Inherit => {
            let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
            give([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()], owner);
            (plan::Streams::Inherit, [None, None, None])
        }
        Stdio::Terminal => (plan::Streams::Terminal, [None, None, None]),
        Stdio::Fds {
            stdin,
            stdout,
            stderr,
        } => {
            let streams = [stdin, stdout, stderr];
            give(streams.iter().flatten().map(OwnedFd::as_fd), owner);
            let given = streams.each_ref().map(Option::is_some);
            (plan::Streams::Given(given), streams)
        }
    }
}

/// Root of the host can open them whoever has them. A process without the right to give them away is
/// that of an ordinary user, and so then is the container.
fn give<'a>(streams: impl IntoIterator<Item = BorrowedFd<'a>>, owner: Option<u32>) {
    let Some(uid) = owner.filter(|&uid| uid != 0) else {
        return;
    };
    for stream in streams {
        let Ok(stat) = fstat(stream) else { continue };
        let ours = match FileType::from_raw_mode(stat.st_mode) {
            // Other devices, /dev/null above all, are everybody's.
            FileType::CharacterDevice => isatty(stream),
            FileType::Fifo | FileType::Socket | FileType::RegularFile => true,
            _ => false,
        };
        if ours && stat.st_uid != uid {
            let _refused = fchown(stream, Some(Uid::from_raw(uid)), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::runtime::{LinuxIdMapping, LinuxNamespace, NamespaceType};

    use super::*;

    #[test]
    fn a_user_is_counted_as_the_host_does() {
        let mut spec = spec::Spec::default();
        let user = |uid| spec::User {
            uid,
            ..spec::User::default()
        };
        assert_eq!(owner(&spec, &user(7)), Some(7), "no namespaces at all");
        let mut linux = spec::Linux::default();
        linux.namespaces.push(LinuxNamespace {
            type_: NamespaceType::User,
            ..LinuxNamespace::default()
        });
        let map = |container_id, host_id, size| LinuxIdMapping {
            container_id,
            host_id,
            size,
        };
        linux.uid_mappings = vec![map(0, 1000, 1), map(1, 100_000, 9), map(50, u32::MAX, 2)];
        spec.linux = Some(linux);
        let counted = [0, 1, 9, 10, 50, 51].map(|uid| owner(&spec, &user(uid)));
        let mapped = [Some(1000), Some(100_000), Some(100_008)];
        assert_eq!(counted[..3], mapped);
        assert_eq!(counted[3..], [None, Some(u32::MAX), None]);
    }
}

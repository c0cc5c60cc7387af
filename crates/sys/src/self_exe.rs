//! Our own program file, out of a container's reach (CVE-2019-5736).
//!
//! A process that enters a container shows `/proc/<pid>/exe`, through which the container's root
//! could open our program file for writing. So the program executes itself once more from a mount of
//! that one file which is read-only, belongs to no mount namespace and is known to nobody:
//!
//! ```text
//!  /proc/self/exe --open_tree(CLONE)--> detached mount --mount_setattr(RDONLY)--> execveat
//! ```
//! The descriptor is closed by the execve: through it root could make the mount writable again.
//! Without CAP_SYS_ADMIN over the mount namespace a sealed copy in memory takes its place.

use std::{
    env,
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
    ptr,
};

use rustix::fs::{MemfdFlags, SealFlags, StatVfsMountFlags};

/// The program of this process, by whatever name it has.
const SELF: &str = "/proc/self/exe";
const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// Returns at once where the program file cannot be written through `/proc/<pid>/exe`, and else
/// executes the program again, with the same arguments and environment, so that it is. To be called
/// by programs with one thread, before they hold anything that an execve would lose.
///
/// # Errors
/// No procfs at /proc, or the kernel's answer to a step.
pub fn protect() -> io::Result<()> {
    if is_protected()? {
        return Ok(());
    }
    let program = match crate::program::open_read_only(Path::new(SELF)) {
        // Not root, or started from a descriptor that is on no mount of ours.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => {
            sealed_copy()?
        }
        other => other?,
    };
    Err(execute(program.as_fd()))
}

/// Whether the program file is on a read-only mount, or in sealed memory.
fn is_protected() -> io::Result<bool> {
    if crate::first_start::is_protected() {
        return Ok(true);
    }
    // By path: a descriptor of it is what a container must not find. This answer is the cheaper one, but not for
    // those who may not write it anyway.
    let written = rustix::fs::accessat(
        rustix::fs::CWD,
        SELF,
        rustix::fs::Access::WRITE_OK,
        rustix::fs::AtFlags::empty(),
    );
    if written == Err(rustix::io::Errno::ROFS) {
        return Ok(true);
    }
    if rustix::fs::statvfs(SELF)?
        .f_flag
        .contains(StatVfsMountFlags::RDONLY)
    {
        return Ok(true);
    }
    let memory = fs::read_link(SELF)?
        .as_os_str()
        .as_bytes()
        .starts_with(b"/memfd:");
    Ok(memory && rustix::fs::fcntl_get_seals(fs::File::open(SELF)?)?.contains(SEALS))
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("coffer", flags)?;
    let mut copy = fs::File::from(copy);
    io::copy(&mut fs::File::open(SELF)?, &mut copy)?;
    seal(copy.as_fd())?;
    Ok(copy.into())
}

/// Seals a copy. Whoever looks at its pages meanwhile (a batch of the page lists, compaction) holds them,
/// and the kernel gives up after 0.15 s with EBUSY: they are soon let go.
fn seal(copy: BorrowedFd<'_>) -> io::Result<()> {
    const TRIES: u32 = 20;
    let mut tries = 0;
    loop {
        match rustix::fs::fcntl_add_seals(copy, SEALS) {
            Err(rustix::io::Errno::BUSY) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            done => return Ok(done?),
        }
    }
}

/// execveat of a descriptor with our arguments and environment; returns only on failure.
fn execute(program: BorrowedFd<'_>) -> io::Error {
    let words: Result<Vec<CString>, _> = env::args_os().map(c_string).collect();
    let variables: Result<Vec<CString>, _> = env::vars_os()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect();
    let (Ok(words), Ok(variables)) = (words, variables) else {
        return io::ErrorKind::InvalidInput.into();
    };
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (argv, envp) = (pointers(&words), pointers(&variables));
    // SAFETY: all pointers are to C strings that live past the call, each array ends in null.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

fn c_string(text: OsString) -> Result<CString, std::ffi::NulError> {
    CString::new(text.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_takes_no_write() {
        let copy = sealed_copy().unwrap();
        assert!(rustix::fs::fcntl_get_seals(&copy).unwrap().contains(SEALS));
        assert!(rustix::io::write(&copy, b"x").is_err());
    }

    #[test]
    fn a_copy_that_is_looked_at_is_sealed_once_nobody_does() {
        let file = rustix::fs::memfd_create("busy", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        // SAFETY: a new mapping of our own file, where the kernel likes.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        let page = page as usize;
        let (here, started) = std::sync::mpsc::channel();
        let looking = std::thread::spawn(move || {
            here.send(()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
            // SAFETY: the mapping from above, which nobody else knows.
            unsafe { libc::munmap(page as *mut libc::c_void, 4096) }
        });
        started.recv().unwrap();
        seal(file.as_fd()).unwrap();
        assert_eq!(looking.join().unwrap(), 0);
    }
}

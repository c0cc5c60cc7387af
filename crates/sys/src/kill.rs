//! kill(2) for any signal number, real-time ones included.

use std::io;

/// Sends `signal` to process `pid`. Numbers of 0 and below are refused with EINVAL: for kill(2) they
/// are process groups, and a stray 0 from a cgroup's list would be our own.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: kill takes two integers and touches no memory of ours.
    let rc = unsafe { libc::kill(pid, signal) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_groups_are_out_of_reach() {
        for pid in [0, -1, i32::MIN] {
            assert_eq!(kill(pid, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
    }

    #[test]
    fn signal_zero_finds_ourselves() {
        kill(i32::try_from(std::process::id()).unwrap(), 0).unwrap();
    }

    #[test]
    fn a_bad_signal_is_the_kernels_error() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(
            kill(me, 4096).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
    }
}

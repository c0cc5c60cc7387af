//! CPU time of the children that this process has reaped (getrusage(2), `RUSAGE_CHILDREN`).

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// User plus system time of all reaped children and of what they reaped in turn.
///
/// # Errors
///
/// The kernel's answer; getrusage(2) knows no failure for valid arguments.
pub fn reaped_children() -> io::Result<Duration> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage` that lives through the call.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `rusage` is plain integers, zeroed above and filled by the kernel.
    let usage = unsafe { usage.assume_init() };
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}

fn duration(t: libc::timeval) -> Duration {
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let micros = u64::try_from(t.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_reaped_child_adds_to_the_figure() {
        let before = super::reaped_children().expect("getrusage");
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"])
            .status()
            .expect("run sh");
        assert!(status.success());
        assert!(super::reaped_children().expect("getrusage") > before);
    }
}

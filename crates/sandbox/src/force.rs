//! Ending one container by force, past an agent that does not answer.
//!
//! ```text
//! kill_container    the container's cgroup is killed; its first process is left to the agent, a zombie
//!                   → how it ended, as /proc tells it of one that was not reaped
//! clear_container   kills again, removes the cgroup
//! ```
//! The pod's other containers and the agent stay: it may only be slow.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{Error, LostPod, cgroup};

/// How long killed processes may take to go.
const DEATH: Duration = Duration::from_secs(10);
/// How long an empty cgroup may stay busy.
const REMOVAL: Duration = Duration::from_secs(2);
/// How long a killed process may take to be a zombie.
const ZOMBIE: Duration = Duration::from_millis(500);

/// Kills every process of a container, `init` being its first and `agent` its agent's process.
/// Answers the first one's exit code, 128+n for signal n, if nobody has reaped it. Blocks, seconds at
/// most.
///
/// # Errors
/// [`Error::Cgroup`] when processes don't die.
pub fn kill_container(
    pod: &LostPod,
    container: &str,
    init: i32,
    agent: i32,
) -> Result<Option<i32>, Error> {
    sys::failpoint!("sandbox.force.kill.before");
    cgroup::kill(&cgroup::Mounts::probe()?, &name(pod, container)?, DEATH)?;
    let deadline = Instant::now() + ZOMBIE;
    loop {
        let stat = fs::read_to_string(format!("/proc/{init}/stat"));
        let code = stat.ok().and_then(|stat| zombie(&stat, agent));
        if code.is_some() || Instant::now() >= deadline {
            return Ok(code);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Removes what [`kill_container`] leaves: the container's cgroup. Nothing there is success. Blocks,
/// seconds at most.
///
/// # Errors
/// [`Error::Cgroup`].
pub fn clear_container(pod: &LostPod, container: &str) -> Result<(), Error> {
    sys::failpoint!("sandbox.force.clear.before");
    let (mounts, name) = (cgroup::Mounts::probe()?, name(pod, container)?);
    cgroup::kill(&mounts, &name, DEATH)?;
    cgroup::remove(&mounts, &name, REMOVAL)
}

fn name(pod: &LostPod, container: &str) -> Result<cgroup::Name, Error> {
    match cgroup::Name::new(&pod.cgroup_parent) {
        Ok(parent) => parent.child(container),
        // A pod may sit right below the root.
        Err(_) => cgroup::Name::new(&format!("/{container}")),
    }
}

/// The exit code of a zombie that is a child of `parent`, from its line in /proc.
fn zombie(stat: &str, parent: i32) -> Option<i32> {
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Fields 3, 4 and 52 of proc_pid_stat(5).
    let (state, ppid, status) = (fields.first()?, fields.get(1)?, fields.get(49)?);
    if *state != "Z" || ppid.parse() != Ok(parent) {
        return None;
    }
    let status: i32 = status.parse().ok()?;
    Some(match status & 0x7f {
        0 => status >> 8 & 0xff,
        signal => 128 + signal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(state: &str, parent: i32, status: i32) -> String {
        let zeros = "0 ".repeat(47);
        format!("123 (a ) b) {state} {parent} {zeros}{status}\n")
    }

    #[test]
    fn a_zombie_tells_how_it_ended() {
        assert_eq!(zombie(&stat("Z", 7, 3 << 8), 7), Some(3));
        assert_eq!(zombie(&stat("Z", 7, 0), 7), Some(0));
        assert_eq!(zombie(&stat("Z", 7, 9), 7), Some(137));
        // A dump of memory was written.
        assert_eq!(zombie(&stat("Z", 7, 0x80 | 11), 7), Some(139));
        assert_eq!(zombie(&stat("Z", 8, 9), 7), None, "somebody else's");
        assert_eq!(zombie(&stat("S", 7, 0), 7), None);
        assert_eq!(zombie("", 7), None);
    }

    #[test]
    fn the_kernel_says_it_in_that_field() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "exit 42"])
            .spawn()
            .unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let code = loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            if let Some(code) = zombie(&stat, own) {
                break code;
            }
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(code, 42);
        child.wait().unwrap();
    }
}

//! Our own parts: the configuration, the agent program, and the daemon's word.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Area, Finding, Subject, Verdict};
use crate::view::Condition;

/// How long `coffer-agent --version` may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at what needs no daemon.
pub(crate) fn look(subject: &Subject) -> Vec<Finding> {
    let mut area = Area::new("coffer");
    let beside = std::env::current_exe().ok();
    let beside = beside.as_deref().and_then(Path::parent);
    match subject.said.clone().mean(beside) {
        Ok(config) => {
            area.ok("configuration", "makes sense");
            area.tried(
                "agent",
                agent(&config.agent),
                Verdict::Fail,
                "install coffer-agent of the same version beside coffer, or set `agent`",
            );
        }
        Err(error) => {
            let fix = error
                .hint()
                .unwrap_or_else(|| "mend the configuration".to_owned());
            area.fail("configuration", error.to_string(), &fix);
        }
    }
    area.done()
}

/// Runs the agent program: its version.
fn agent(path: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(named)?;
    let started = Instant::now();
    while child.try_wait()?.is_none() {
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(named(io::Error::other("does not answer --version")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let version = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !version.starts_with("coffer-agent ") {
        return Err(named(io::Error::other(format!(
            "--version ended with {}",
            output.status
        ))));
    }
    Ok(format!("{} ({})", version.trim(), path.display()))
}

/// What the daemon says of itself.
pub(crate) fn daemon_says(version: &str, conditions: &[Condition]) -> Vec<Finding> {
    let mut area = Area::new("coffer");
    area.ok("daemon", format!("answers, {version}"));
    for condition in conditions {
        let words = [condition.reason.as_str(), condition.message.as_str()];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let said = words.join(": ");
        if condition.status {
            let said = if said.is_empty() {
                "yes".to_owned()
            } else {
                said
            };
            area.ok(&condition.name, said);
        } else {
            area.fail(&condition.name, said, "see the daemon's log");
        }
    }
    area.done()
}

/// That it does not answer, and why.
pub(crate) fn daemon_silent(why: String, lives: bool) -> Vec<Finding> {
    let mut area = Area::new("coffer");
    if lives {
        let fix = "see its log; `coffer serve` again after a kill: pods go on meanwhile";
        area.fail("daemon", why, fix);
    } else {
        area.warn("daemon", why, "start it: `coffer serve`");
    }
    area.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_no_agent_is_named() {
        for path in ["/nonexistent/agent", "/bin/false", "/bin/true"] {
            let error = agent(Path::new(path)).unwrap_err().to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }
}

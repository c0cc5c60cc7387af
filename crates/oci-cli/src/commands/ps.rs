//! `ps`: the processes of a container, found by its cgroup, shown by ps(1).

use std::process::Command;

use super::print;
use crate::args::{Global, ListFormat, Ps};
use crate::error::Error;
use crate::status::Live;

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Ps) -> Result<i32, Error> {
    let live = Live::find(&global.root, &args.id)?;
    let pids = live.cgroup.pids()?;
    if args.format == ListFormat::Json {
        print(&(serde_json::to_string(&pids)? + "\n"))?;
        return Ok(0);
    }
    let options: Vec<&str> = match args.args.as_slice() {
        [] => vec!["-ef"],
        given => given.iter().map(String::as_str).collect(),
    };
    let output = Command::new("ps")
        .args(&options)
        .output()
        .map_err(Error::io("run ps(1)"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Usage(format!(
            "ps {}: {}",
            options.join(" "),
            reason.trim()
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    print(&only(&text, &pids)?)?;
    Ok(0)
}

/// The header and the lines of these processes.
fn only(text: &str, pids: &[i32]) -> Result<String, Error> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::Usage("ps prints no PID column with these options".to_owned()))?;
    let ours = |line: &&str| {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    Ok(std::iter::once(header)
        .chain(lines.filter(ours))
        .map(|line| format!("{line}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn lines_are_chosen_by_the_pid_column() {
        let text = "UID  PID PPID CMD\nroot 7 1 a\nroot 17 7 b 7\nroot 70 1 c\n";
        assert_eq!(
            only(text, &[7, 70]).expect("a PID column"),
            "UID  PID PPID CMD\nroot 7 1 a\nroot 70 1 c\n"
        );
        assert!(only("CMD\nx\n", &[7]).is_err());
    }
}

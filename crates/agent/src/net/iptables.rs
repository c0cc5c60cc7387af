//! GetIPTables and SetIPTables: the form of iptables-save, by the machine's own programs, which know
//! every match and target that the kernel has.

use std::time::Duration;

use super::{Access, within};
use crate::agent::Agent;
use crate::error::Error;
use crate::reaper::Busy;
use crate::tool;

/// Where the programs are.
const PLACES: &[&str] = &["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Longest wait for a program.
const LIMIT: Duration = Duration::from_secs(15);

/// The rules that there are. Blocks.
pub(crate) fn get(agent: &Agent, busy: &Busy, v6: bool) -> Result<Vec<u8>, Error> {
    let name = if v6 {
        "ip6tables-save"
    } else {
        "iptables-save"
    };
    let program = tool::find(name, PLACES)?;
    let output = within(agent, Access::Look, || {
        tool::run(busy, &program, &[], b"", LIMIT)
    })?;
    match output.code {
        Some(0) => Ok(output.stdout),
        code => Err(failed(name, code, &output.stderr)),
    }
}

/// Replaces the tables that `rules` names; returns what the program printed. Blocks.
///
/// # Errors
/// FAILED_PRECONDITION where the network is the node's; the program's own words.
pub(crate) fn set(agent: &Agent, busy: &Busy, v6: bool, rules: &[u8]) -> Result<Vec<u8>, Error> {
    let name = match v6 {
        true => "ip6tables-restore",
        false => "iptables-restore",
    };
    let output = within(agent, Access::Change, || {
        let program = tool::find(name, PLACES)?;
        tool::run(busy, &program, &["--wait", "5"], rules, LIMIT)
    })?;
    match output.code {
        Some(0) => Ok(output.stdout),
        code => Err(failed(name, code, &output.stderr)),
    }
}

fn failed(name: &str, code: Option<i32>, stderr: &[u8]) -> Error {
    let how = code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
    let said = String::from_utf8_lossy(stderr);
    let said = said.trim().replace('\n', "; ");
    Error::Internal(format!("{name} ended with {how}: {said}"))
}

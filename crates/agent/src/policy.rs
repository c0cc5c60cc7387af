//! SetPolicy: which calls are answered. A list of names, one a line or with commas between; `#` begins
//! a comment, `*` is every call. Names are those of calls (`ExecProcess`) or of their requests
//! (`ExecProcessRequest`), as configuration files of this interface have them.
//!
//! Health is always answered. Refused are the calls of both services by the same name, with
//! PERMISSION_DENIED; output that may not be read reads as nothing, so that its end is still seen.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::args::Rules;
use crate::error::Error;

/// Requests that do not have their call's name.
const REQUESTS: &[(&str, &[&str])] = &[
    ("ReadStreamRequest", &["ReadStdout", "ReadStderr"]),
    ("WriteStreamRequest", &["WriteStdin"]),
    ("GuestDetailsRequest", &["GetGuestDetails"]),
    ("VolumeStatsRequest", &["GetVolumeStats"]),
    ("MemAgentMemcgConfig", &["MemAgentMemcgSet"]),
    ("MemAgentCompactConfig", &["MemAgentCompactSet"]),
];

/// The list in force; none: every call is answered.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    list: Mutex<Option<BTreeSet<String>>>,
    /// The calls that there are.
    calls: OnceLock<BTreeSet<String>>,
}

impl Policy {
    /// Whether a call of that name is answered.
    pub(crate) fn allows(&self, call: &str) -> bool {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.as_ref().is_none_or(|list| list.contains(call))
    }

    /// Puts in force what the agent was started with: a policy, or the requests that its configuration
    /// lists. Of the latter those that this agent does not know are none of its calls, and no harm.
    ///
    /// # Errors
    /// The policy is not of the form that this agent reads.
    pub(crate) fn begin(&self, rules: &Rules) -> Result<(), Error> {
        let none = BTreeSet::new();
        let calls = self.calls.get().unwrap_or(&none);
        if let Some(allowed) = &rules.allowed {
            let known = |name: &&String| read(name, calls).is_ok();
            let (known, unknown): (Vec<_>, Vec<_>) = allowed.iter().partition(known);
            if !unknown.is_empty() {
                log::warn!("endpoints.allowed names what is no call: {unknown:?}");
            }
            let known: Vec<_> = known.into_iter().map(String::as_str).collect();
            self.set(&known.join("\n"))?;
        }
        if let Some(policy) = &rules.policy {
            self.set(policy)?;
        }
        Ok(())
    }

    /// Which calls there are; told once.
    pub(crate) fn know<'a>(&self, calls: impl Iterator<Item = &'a String>) {
        self.calls.get_or_init(|| calls.cloned().collect());
    }

    /// Puts a list in force.
    ///
    /// # Errors
    /// A name that is no call: then the list before stays.
    pub(crate) fn set(&self, text: &str) -> Result<(), Error> {
        let none = BTreeSet::new();
        let list = read(text, self.calls.get().unwrap_or(&none))?;
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = Some(list);
        Ok(())
    }
}

fn read(text: &str, calls: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let mut list = BTreeSet::new();
    let lines = text.lines().map(|l| l.split('#').next().unwrap_or(""));
    for word in lines.flat_map(|line| line.split(',')).map(str::trim) {
        let alias = REQUESTS.iter().find(|(request, _)| *request == word);
        let call = word.strip_suffix("Request").unwrap_or(word);
        match (word, alias) {
            ("", _) => {}
            ("*", _) => list.extend(calls.iter().cloned()),
            (_, Some((_, names))) => list.extend(names.iter().map(|n| (*n).to_owned())),
            _ if calls.contains(call) => {
                list.insert(call.to_owned());
            }
            _ => {
                let why =
                    "no call has this name: a policy is a list of the calls that are answered";
                return Err(Error::invalid(format!("policy: {word:?}"), why));
            }
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [&str; 4] = ["ExecProcess", "ReadStdout", "ReadStderr", "SetPolicy"];

    #[test]
    fn a_list_names_calls_or_requests() {
        let policy = Policy::default();
        policy.know(CALLS.map(str::to_owned).iter());
        assert!(policy.allows("ExecProcess"));
        policy
            .set("# all reads\nReadStreamRequest, SetPolicy\n\n")
            .unwrap();
        assert!(policy.allows("ReadStderr") && policy.allows("SetPolicy"));
        assert!(!policy.allows("ExecProcess"));
        let error = policy.set("package agent_policy").unwrap_err();
        assert!(
            error.to_string().contains("package agent_policy"),
            "{error}"
        );
        assert!(policy.allows("SetPolicy"), "the list before stays");
        policy.set("*").unwrap();
        assert!(policy.allows("ExecProcess"));
        policy.set("").unwrap();
        assert!(!policy.allows("SetPolicy"));
    }

    #[test]
    fn a_configuration_may_list_requests_of_others() {
        let begun = |allowed: Option<&[&str]>, text: Option<&str>| {
            let policy = Policy::default();
            policy.know(CALLS.map(str::to_owned).iter());
            let list = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
            let rules = Rules {
                allowed: allowed.map(list),
                policy: text.map(str::to_owned),
            };
            policy.begin(&rules).map(|()| policy)
        };
        let policy = begun(Some(&["StartTracingRequest", "ReadStreamRequest"]), None).unwrap();
        assert!(policy.allows("ReadStdout") && !policy.allows("ExecProcess"));
        assert!(!begun(Some(&[]), None).unwrap().allows("ExecProcess"));
        assert!(begun(None, None).unwrap().allows("ExecProcess"));
        let policy = begun(None, Some("ExecProcess")).unwrap();
        assert!(policy.allows("ExecProcess") && !policy.allows("SetPolicy"));
        let error = begun(None, Some("package agent_policy")).unwrap_err();
        assert!(error.to_string().contains("agent_policy"), "{error}");
    }
}

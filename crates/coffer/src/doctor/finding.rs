//! A finding: what was looked at, what was found, what to do about it.

use serde::Serialize;

/// Whether pods can do with what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Pods run, something is missing or will be short.
    Warn,
    /// Pods need it.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// "kernel", "cgroups" …
    pub(crate) area: &'static str,
    /// What was looked at.
    pub(crate) check: String,
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// What to do; empty when nothing has to be done.
    pub(crate) fix: String,
}

/// The findings of one area.
#[derive(Debug)]
pub(crate) struct Area {
    name: &'static str,
    findings: Vec<Finding>,
}

impl Area {
    /// Nothing found yet.
    pub(crate) fn new(name: &'static str) -> Area {
        Area {
            name,
            findings: Vec::new(),
        }
    }

    /// As it should be.
    pub(crate) fn ok(&mut self, check: &str, found: impl Into<String>) {
        self.add(Verdict::Ok, check, found.into(), "");
    }

    /// Pods run, but.
    pub(crate) fn warn(&mut self, check: &str, found: impl Into<String>, fix: &str) {
        self.add(Verdict::Warn, check, found.into(), fix);
    }

    /// Pods need it.
    pub(crate) fn fail(&mut self, check: &str, found: impl Into<String>, fix: &str) {
        self.add(Verdict::Fail, check, found.into(), fix);
    }

    /// Something that was tried: `found` when it worked, else the error.
    pub(crate) fn tried(
        &mut self,
        check: &str,
        tried: std::io::Result<String>,
        otherwise: Verdict,
        fix: &str,
    ) {
        match tried {
            Ok(found) => self.ok(check, found),
            Err(error) => {
                let said = error.to_string();
                let said = said.split(" (os error").next().unwrap_or_default();
                self.add(otherwise, check, said.to_owned(), fix);
            }
        }
    }

    fn add(&mut self, verdict: Verdict, check: &str, found: String, fix: &str) {
        self.findings.push(Finding {
            area: self.name,
            check: check.to_owned(),
            verdict,
            found,
            fix: fix.to_owned(),
        });
    }

    /// All of them.
    pub(crate) fn done(self) -> Vec<Finding> {
        self.findings
    }
}

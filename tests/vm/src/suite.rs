//! Runs test programs inside a guest, one test a process as nextest does outside, and holds the outcome
//! against what each program says it has.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use guest::error::Error;
use guest::run::{self, Run};

use crate::programs::{Program, text};

const RUNNER: &str = include_str!("suite.sh");

/// Longer than `suite.sh` gives to any test, and than a machine needs to boot.
const SILENCE: Duration = Duration::from_secs(200);

/// Test programs for one machine.
#[derive(Debug)]
pub struct Suite<'a> {
    /// The programs.
    pub programs: Vec<Program>,
    /// Programs that the tests start, at the same paths as here.
    pub helpers: Vec<PathBuf>,
    /// Tests that are not for a guest, each with the reason.
    pub without: &'a [(&'a str, &'a str)],
    /// Environment of the tests.
    pub env: &'a [(&'a str, &'a str)],
    /// Files of this machine, and where they are in the guest.
    pub files: &'a [(PathBuf, String)],
    /// A script before the tests; it has to succeed.
    pub before: &'a str,
    /// Whether systemd is the first process.
    pub systemd: bool,
    /// Kernel modules beside the usual.
    pub modules: &'a [&'a str],
    /// How long all of it may take.
    pub deadline: Duration,
}

impl Suite<'_> {
    /// Runs them; all must pass.
    ///
    /// # Panics
    /// A test failed or did not run, or the machine did not come to its end.
    pub fn run(&self) {
        let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut script = format!("set -e\n{}\nset +e\n{RUNNER}", self.before);
        for (name, value) in self.env {
            script.push_str(&format!("export {name}='{value}'\n"));
        }
        let mut without: BTreeMap<_, _> = self.without.iter().copied().collect();
        for program in &self.programs {
            script.push_str(&format!(
                "program '{}' '{}'\n",
                program.name,
                text(&program.path)
            ));
            for test in program.tests() {
                let full = format!("{}::{test}", program.name);
                if without.remove(full.as_str()).is_none() {
                    script.push_str(&format!("run '{test}'\n"));
                    wanted.insert(full, None);
                }
            }
        }
        assert!(without.is_empty(), "there are no such tests: {without:?}");
        script.push_str("exit $failed\n");
        let programs: Vec<_> = self.programs.iter().map(|p| p.path.clone()).collect();
        let run = Run {
            script: &script,
            programs: &[programs, self.helpers.clone()].concat(),
            files: self.files,
            modules: self.modules,
            append: "",
            memory: 1024,
            cpus: 2,
            disk: 1024,
            systemd: self.systemd,
            deadline: self.deadline,
            silence: SILENCE,
            out: None,
        };
        let once = || {
            let mut output = Vec::new();
            let ended = run::run(&crate::kernel(), &run, |bytes| {
                output.extend_from_slice(bytes)
            });
            (ended, String::from_utf8_lossy(&output).into_owned())
        };
        let (mut ended, mut output) = once();
        // The emulator's fault, as no program can keep the guest's kernel from ending it: seen once in some
        // fifty machines with two processors, after which they answered nothing, no interrupt either.
        if let Err(e @ Error::Hangs { .. }) = &ended {
            eprintln!("{e}\n{output}\nonce more:");
            (ended, output) = once();
        }
        for line in output.lines() {
            if let Some((word, name)) = line.split_once(' ')
                && let Some(outcome) = wanted.get_mut(name)
            {
                *outcome = Some(word.to_owned());
            }
        }
        let bad: Vec<_> = wanted
            .iter()
            .filter(|(_, outcome)| outcome.as_deref() != Some("ok"))
            .map(|(name, outcome)| {
                format!("{name}: {}", outcome.as_deref().unwrap_or("did not run"))
            })
            .collect();
        let code = ended.unwrap_or_else(|e| panic!("{e}\n{output}"));
        assert!(
            bad.is_empty() && code == 0,
            "{}\n\n{output}",
            bad.join("\n")
        );
        assert!(!wanted.is_empty(), "nothing was run");
    }
}

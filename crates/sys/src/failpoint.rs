//! Places where a test can make the program die, fail, wait or stop.
//!
//! ```text
//! COFFER_FAILPOINTS="run_pod.netns.before=kill;run_pod.reply.before=2*sleep(50)"
//! COFFER_FAILPOINT_TRACE=/tmp/trace     appends the name of each place that is passed
//! ```
//! | action | effect |
//! |---|---|
//! | `kill` | SIGKILL to the own process |
//! | `error`, `error(text)` | the place answers an error, if it has one to answer |
//! | `sleep(ms)` | the thread sleeps |
//! | `pause` | the thread sleeps until the process is killed |
//! | `N*action` | only the Nth time that the place is passed, counted from 1 |
//!
//! Compiled in by the feature `failpoints` only; without it `failpoint!` is nothing at all.

#[cfg(feature = "failpoints")]
pub use on::hit;

/// A place where a test can interfere.
///
/// `failpoint!("name")` dies, sleeps or pauses. `failpoint!("name", |text| error)` can also return
/// `Err(error)` from the function around it.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {
        let _ = $crate::failpoint::hit($name);
    };
    ($name:expr, $error:expr) => {
        if let Some(text) = $crate::failpoint::hit($name) {
            #[allow(clippy::redundant_closure_call, reason = "the closure is the caller's")]
            return Err(($error)(text));
        }
    };
}

/// A place where a test can interfere: nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {};
    ($name:expr, $error:expr) => {};
}

#[cfg(feature = "failpoints")]
mod on {
    use std::{
        collections::HashMap,
        fs::OpenOptions,
        io::Write,
        sync::{Mutex, OnceLock, PoisonError},
        thread,
        time::Duration,
    };

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Action {
        Kill,
        Error(String),
        Sleep(Duration),
        Pause,
    }

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Rule {
        /// 0: every time.
        only: u64,
        action: Action,
    }

    /// Passes the place `name`: does what the environment says, answers the text of an `error`.
    pub fn hit(name: &str) -> Option<String> {
        static RULES: OnceLock<HashMap<String, Rule>> = OnceLock::new();
        static COUNTS: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);

        trace(name);
        let rules = RULES.get_or_init(|| match std::env::var("COFFER_FAILPOINTS") {
            Ok(text) => parse(&text),
            Err(_) => HashMap::new(),
        });
        let rule = rules.get(name)?;
        let count = {
            let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts
                .get_or_insert_default()
                .entry(name.to_owned())
                .or_default();
            *count += 1;
            *count
        };
        if rule.only != 0 && rule.only != count {
            return None;
        }
        match &rule.action {
            Action::Kill => {
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                );
                forever()
            }
            Action::Pause => forever(),
            Action::Sleep(time) => {
                thread::sleep(*time);
                None
            }
            Action::Error(text) => Some(text.clone()),
        }
    }

    fn forever() -> ! {
        loop {
            thread::park();
        }
    }

    fn trace(name: &str) {
        static FILE: OnceLock<Option<std::fs::File>> = OnceLock::new();
        let file = FILE.get_or_init(|| {
            let path = std::env::var_os("COFFER_FAILPOINT_TRACE")?;
            OpenOptions::new().append(true).create(true).open(path).ok()
        });
        if let Some(mut file) = file.as_ref() {
            // One write: lines of several threads do not mix.
            let _ = file.write_all(format!("{name}\n").as_bytes());
        }
    }

    fn parse(text: &str) -> HashMap<String, Rule> {
        let rules = text
            .split(';')
            .map(str::trim)
            .filter(|rule| !rule.is_empty());
        rules
            .map(|rule| {
                match rule
                    .split_once('=')
                    .and_then(|(n, a)| Some((n, parse_rule(a)?)))
                {
                    Some((name, rule)) => (name.trim().to_owned(), rule),
                    // A test that misspells must not pass.
                    None => misspelt(rule),
                }
            })
            .collect()
    }

    #[expect(
        clippy::panic,
        reason = "a build for tests only, and the test is wrong"
    )]
    fn misspelt(rule: &str) -> ! {
        panic!("COFFER_FAILPOINTS: {rule:?} is not name=[N*]kill|error|error(text)|sleep(ms)|pause")
    }

    fn parse_rule(text: &str) -> Option<Rule> {
        let (only, action) = match text.split_once('*') {
            Some((count, action)) => (count.trim().parse().ok()?, action),
            None => (0, text),
        };
        let (word, argument) = match action.trim().split_once('(') {
            Some((word, rest)) => (word, Some(rest.strip_suffix(')')?)),
            None => (action.trim(), None),
        };
        let action = match (word, argument) {
            ("kill", None) => Action::Kill,
            ("pause", None) => Action::Pause,
            ("error", text) => Action::Error(text.unwrap_or("failpoint").to_owned()),
            ("sleep", Some(ms)) => Action::Sleep(Duration::from_millis(ms.parse().ok()?)),
            _ => return None,
        };
        Some(Rule { only, action })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn rules_are_read() {
            let rules = parse("a=kill; b.c=3*error(no space);d=sleep(20);e=pause;");
            let rule = |only, action| Rule { only, action };
            assert_eq!(rules["a"], rule(0, Action::Kill));
            assert_eq!(rules["b.c"], rule(3, Action::Error("no space".into())));
            assert_eq!(
                rules["d"],
                rule(0, Action::Sleep(Duration::from_millis(20)))
            );
            assert_eq!(rules["e"], rule(0, Action::Pause));
            assert_eq!(rules.len(), 4);
        }

        #[test]
        fn nonsense_is_no_rule() {
            for text in ["", "die", "sleep", "sleep(x)", "x*kill", "kill(", "sleep(3"] {
                assert_eq!(parse_rule(text), None, "{text}");
            }
        }

        #[test]
        fn a_place_without_a_rule_does_nothing() {
            fn place() -> Result<u32, String> {
                crate::failpoint!("sys.test.nobody");
                crate::failpoint!("sys.test.nobody", |text| text);
                Ok(1)
            }
            assert_eq!(place(), Ok(1));
        }
    }
}

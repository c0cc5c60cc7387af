//! Where the time of a command goes, step by step: ours, and those of the children that it cloned.
//!
//! Off until [`start`]; then one clock reading a mark, and one a step in the child, which stores it in
//! memory that it shares with us. Times are microseconds of CLOCK_MONOTONIC.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::time::{ClockId, clock_gettime};
use sys::shared_words::SharedWords;

use crate::plan::Plan;

static ON: AtomicBool = AtomicBool::new(false);
static TRACE: Mutex<Trace> = Mutex::new(Trace {
    marks: Vec::new(),
    children: Vec::new(),
});

#[derive(Debug)]
struct Trace {
    /// What has been done, and when.
    marks: Vec<(&'static str, u64)>,
    /// The steps of a child in words, and when each ended.
    children: Vec<(String, Arc<SharedWords>)>,
}

/// Starts to take times.
pub fn start() {
    ON.store(true, Ordering::Relaxed);
    mark("start");
}

pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Notes that something has just been done.
pub fn mark(what: &'static str) {
    if is_on() {
        let mut trace = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
        trace.marks.push((what, now()));
    }
}

/// Where a child that walks this plan notes its times; `None` while nothing is traced.
pub(crate) fn child(plan: &Plan) -> Option<Arc<SharedWords>> {
    if !is_on() {
        return None;
    }
    let words = Arc::new(SharedWords::new(plan.steps.len()).ok()?);
    let mut trace = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
    trace.children.push((plan.to_string(), Arc::clone(&words)));
    Some(words)
}

/// Nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// All times so far, one line each: since the start, since the line before, what was done.
#[must_use]
pub fn report() -> String {
    let trace = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (what, at) in &trace.marks {
        lines.push((*at, (*what).to_owned()));
    }
    for (steps, times) in &trace.children {
        // The first line is the clone's.
        for (step, time) in steps.lines().skip(1).zip(times.words()) {
            let at = time.load(Ordering::Relaxed);
            if at != 0 {
                lines.push((at, format!("  child: {}", step.trim_start())));
            }
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    let start = lines.first().map_or(0, |(at, _)| *at);
    let mut text = String::new();
    let mut before = start;
    for (at, what) in lines {
        let _ = writeln!(
            text,
            "{:>8} {:>7}  {what}",
            (at - start) / 1000,
            (at - before) / 1000
        );
        before = at;
    }
    text
}

//! What happens when a process ends, in this order:
//!
//! ```text
//!   pidfd readable -> reap -> count OOM kills -> drain its output into the log
//!                  -> write exit.json (a container's first process) -> state Exited -> tell everyone
//! ```
//! Nobody hears of an exit before its record is on disk and its log is complete.

use std::sync::Arc;
use std::time::Duration;

use container::cgroup::OomWatch;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::agent::Agent;
use crate::clock;
use crate::container::Container;
use crate::exit_record::{self, Exit};
use crate::oom::OomEvent;
use crate::process::{self, Process};
use crate::stdio::Sink;
use crate::watch::{self, Watched};

/// Longest wait for a log that a hung disk holds up; the exit is told then all the same.
const DRAIN: Duration = Duration::from_secs(5);

/// Watches an exec'd process (or the pod's reaper) until it has ended.
pub(crate) fn process(agent: &Arc<Agent>, process: Arc<Process>) {
    let agent = Arc::clone(agent);
    tokio::spawn(async move {
        let code = end_of(&process).await;
        agent.reaper.forget(process.pid);
        drain(&process).await;
        process.publish(Exit {
            code,
            finished_at_ns: clock::now_ns(),
            oom_killed: false,
        });
    });
}

/// Watches a container's first process until it has ended, and its cgroup for OOM kills.
pub(crate) fn container(agent: &Arc<Agent>, container: Arc<Container>, oom: Option<OomWatch>) {
    let agent = Arc::clone(agent);
    tokio::spawn(async move {
        let mut oom = Oom::new(oom, &container);
        let init = Arc::clone(&container.init);
        let code = {
            let end = end_of(&init);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    code = &mut end => break code,
                    () = oom.news() => oom.look(&agent, &container),
                }
            }
        };
        let finished_at_ns = clock::now_ns();
        agent.reaper.forget(init.pid);
        // The kernel's own OOM killer does not notify: look once more before the reason is decided.
        oom.look(&agent, &container);
        let exit = Exit {
            code,
            finished_at_ns,
            oom_killed: oom.kills > 0 && code == 128 + libc::SIGKILL,
        };
        if let Some(lost) = drain(&init).await {
            container.set_log_bytes_lost(lost);
        }
        let dir = agent.state.dir.join(&container.id);
        sys::failpoint!("agent.exit.record.before");
        if let Err(e) = exit_record::write(&dir, &exit) {
            log::error!(
                "container {}: cannot write {}/exit.json: {e}",
                container.id,
                dir.display()
            );
        }
        log::info!(
            "container {} ended: code {code}, {}",
            container.id,
            exit.reason()
        );
        sys::failpoint!("agent.exit.record.after");
        container.exited(exit.clone());
        init.publish(exit);
    });
}

/// Waits for the end and reaps; the status is 255 if someone else took it.
async fn end_of(process: &Process) -> i32 {
    let watch = match process::watch(&process.pidfd) {
        Ok(watch) => watch,
        Err(e) => {
            log::error!("cannot watch process {}: {e}", process.pid);
            return 255;
        }
    };
    loop {
        let ended = process::ended(&watch).await;
        match ended.and_then(|()| process::reap(&watch.get_ref().0)) {
            Ok(code) => return code,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(e) => {
                log::error!("cannot reap process {}: {e}", process.pid);
                return 255;
            }
        }
    }
}

/// Everything that the process wrote goes into its log; returns the bytes lost so far.
async fn drain(process: &Process) -> Option<u64> {
    let Sink::Log(pump) = &process.streams.sink else {
        return None;
    };
    match tokio::time::timeout(DRAIN, pump.exited()).await {
        Ok(lost) => Some(lost),
        Err(_) => {
            log::warn!(
                "process {}: its log is not written yet after {DRAIN:?}",
                process.pid
            );
            None
        }
    }
}

/// A container's OOM watch on the event loop.
#[derive(Debug)]
struct Oom {
    watch: Option<AsyncFd<Watched<OomWatch>>>,
    kills: u64,
}

impl Oom {
    fn new(watch: Option<OomWatch>, container: &Container) -> Self {
        let watch = watch.map(|w| watch::watch(w, Interest::READABLE));
        let watch = watch.transpose().unwrap_or_else(|e| {
            log::error!("container {}: OOM events will be missed: {e}", container.id);
            None
        });
        Self { watch, kills: 0 }
    }

    /// Returns when there may be news.
    async fn news(&mut self) {
        let Some(watch) = &mut self.watch else {
            return std::future::pending().await;
        };
        let again = watch.get_ref().0.recheck_after();
        let ready = async {
            match watch.readable().await {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => std::future::pending().await,
            }
        };
        match again {
            None => ready.await,
            Some(after) => drop(tokio::time::timeout(after, ready).await),
        }
    }

    /// Counts the kills since the last look and tells of them.
    fn look(&mut self, agent: &Agent, container: &Container) {
        let Some(watch) = &mut self.watch else { return };
        match watch.get_mut().0.drain() {
            Ok(0) => {}
            Ok(kills) => {
                self.kills += kills;
                log::info!(
                    "container {}: {kills} processes killed for memory",
                    container.id
                );
                agent.oom.push(&OomEvent {
                    container: container.id.clone(),
                    cgroup: container.cgroup.path().to_owned(),
                    kills,
                    at_ns: clock::now_ns(),
                });
            }
            Err(e) => log::error!("container {}: reading OOM events: {e}", container.id),
        }
    }
}

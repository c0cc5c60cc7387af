//! What happens when a process ends, in this order:
//!
//! ```text
//!   pidfd readable -> reap -> count OOM kills -> drain its output into the log
//!                  -> write exit.json (a container's first process) -> state Exited -> tell everyone
//! ```
//! Nobody hears of an exit before its record is on disk and its log is complete.

use std::sync::Arc;
use std::time::Duration;

use container::cgroup::{self, OomWatch};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::agent::Agent;
use crate::clock;
use crate::container::Container;
use crate::exit_record::{self, Exit};
use crate::oom::OomEvent;
use crate::process::{self, Process};
use crate::stdio::Sink;
use crate::watch::{self, Watched};

/// Longest wait for a cgroup to say whether it killed for memory.
const LOOK: Duration = Duration::from_secs(5);
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
        agent.rest.stirred();
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
                    () = oom.news(&agent, &container) => {}
                }
            }
        };
        let finished_at_ns = clock::now_ns();
        agent.reaper.forget(init.pid);
        // The kernel's own OOM killer does not notify: look once more before the reason is decided.
        oom.last(&agent, &container).await;
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
        agent.rest.stirred();
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

/// A container's OOM watch. Its counter is a file of the cgroup, read on the pool: a cgroup that hangs
/// holds up the end of its own container, and that for [`LOOK`] only.
#[derive(Debug)]
struct Oom {
    watch: Watch,
    kills: u64,
}

type Watching = AsyncFd<Watched<OomWatch>>;

#[derive(Debug)]
enum Watch {
    /// There is none, or it was lost.
    None,
    Waiting(Watching),
    /// It is on the pool and comes back with the number of new kills.
    Looking(oneshot::Receiver<(Watching, Result<u64, cgroup::Error>)>),
}

impl Oom {
    fn new(watch: Option<OomWatch>, container: &Container) -> Self {
        let watch = watch.map(|w| watch::watch(w, Interest::READABLE));
        let watch = match watch {
            None => Watch::None,
            Some(Ok(watch)) => Watch::Waiting(watch),
            Some(Err(e)) => {
                log::error!("container {}: OOM events will be missed: {e}", container.id);
                Watch::None
            }
        };
        Self { watch, kills: 0 }
    }

    /// Waits until there may be news, and tells of the kills since the last look. Safe to cancel.
    async fn news(&mut self, agent: &Agent, container: &Container) {
        match &self.watch {
            Watch::None => std::future::pending().await,
            Watch::Looking(_) => {}
            Watch::Waiting(watch) => {
                let ready = async {
                    match watch.readable().await {
                        Ok(mut guard) => guard.clear_ready(),
                        Err(_) => std::future::pending().await,
                    }
                };
                match watch.get_ref().0.recheck_after() {
                    None => ready.await,
                    Some(after) => drop(tokio::time::timeout(after, ready).await),
                }
                self.begin();
            }
        }
        self.take(agent, container).await;
    }

    /// The last look: whatever was killed is told when this returns.
    async fn last(&mut self, agent: &Agent, container: &Container) {
        let look = async {
            self.take(agent, container).await;
            self.begin();
            self.take(agent, container).await;
        };
        if tokio::time::timeout(LOOK, look).await.is_err() {
            log::warn!(
                "container {}: its cgroup does not answer after {LOOK:?}: a kill for memory may be missed",
                container.id
            );
        }
    }

    /// Begins a look.
    fn begin(&mut self) {
        match std::mem::replace(&mut self.watch, Watch::None) {
            Watch::Waiting(mut watch) => {
                let (tell, told) = oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    let kills = watch.get_mut().0.drain();
                    // Nobody waits for a container that has ended meanwhile.
                    let _ = tell.send((watch, kills));
                });
                self.watch = Watch::Looking(told);
            }
            other => self.watch = other,
        }
    }

    /// Ends a look, if one was begun. Safe to cancel.
    async fn take(&mut self, agent: &Agent, container: &Container) {
        let Watch::Looking(looking) = &mut self.watch else {
            return;
        };
        let looked = looking.await;
        self.watch = Watch::None;
        let Ok((watch, kills)) = looked else { return };
        self.watch = Watch::Waiting(watch);
        match kills {
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
            Err(e) => log::error!(
                "container {}: reading OOM events: {}",
                container.id,
                crate::logging::chain(&e)
            ),
        }
    }
}

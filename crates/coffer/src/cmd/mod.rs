//! The commands, one file each: `Args` is what can be said, `run` does it.

pub(crate) mod attach;
pub(crate) mod completion;
pub(crate) mod cp;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod pin;
pub(crate) mod pods;
pub(crate) mod port_forward;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod tag;
pub(crate) mod top;
pub(crate) mod version;
pub(crate) mod wait;

use std::future::Future;

use crate::{
    client::Daemon,
    error::Error,
    view::{PodState, State},
};

/// Does one thing for each word. A failure is reported at once and does not keep the others from
/// being done.
pub(crate) async fn each<F, Fut>(words: &[String], mut act: F) -> Result<u8, Error>
where
    F: FnMut(String) -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    let mut failed = Vec::new();
    for word in words {
        if let Err(error) = act(word.clone()).await {
            failed.push(error);
        }
    }
    match failed.len() {
        0 => Ok(0),
        1 if words.len() == 1 => Err(failed.remove(0)),
        count => {
            failed.iter().for_each(crate::report);
            Err(Error::Some {
                failed: count,
                total: words.len(),
            })
        }
    }
}

/// Ids of all running containers.
pub(crate) async fn running(daemon: &Daemon) -> Result<Vec<String>, Error> {
    let all = daemon.containers().await?.into_iter();
    let running = all.filter(|one| one.state == State::Running);
    Ok(running.map(|one| one.id).collect())
}

/// Ids of all pods that are not stopped.
pub(crate) async fn ready_pods(daemon: &Daemon) -> Result<Vec<String>, Error> {
    let all = daemon.pods().await?.into_iter();
    let ready = all.filter(|one| one.state == PodState::Ready);
    Ok(ready.map(|one| one.id).collect())
}

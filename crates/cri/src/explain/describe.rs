//! From what is known to an [`Explanation`]: pure, the same with and without a daemon.

use super::{Explanation, Failure, Running};
use crate::{
    domain::{Id, PodMetadata},
    state::{
        ContainerFacts, ContainerState, CreateStep, ExitReason, PodFacts, PodState, StartStep,
        StopReason,
    },
};

/// What can be said of a pod's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentSeen {
    /// The daemon speaks to it.
    Answers,
    /// The daemon reaches for it.
    NotReached,
    /// It has ended.
    Gone,
    /// No daemon is there to speak to it, but its process lives.
    Lives(i32),
}

/// What is known beside the record of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    /// Operations that run, of all objects.
    pub running: &'a [Running],
    /// Failures that are remembered, of all objects.
    pub failures: &'a [Failure],
    /// When the record was written, nanoseconds since the epoch; 0: not known.
    pub changed_at_ns: i64,
    /// Now.
    pub now_ns: i64,
    /// Whether a daemon is there to go on with what is half done.
    pub daemon: bool,
}

const CLIENT_STARTS: &str =
    "its client, with another RunPodSandbox: a kubelet does so by itself, `coffer run` does not";
const CLIENT_REPLACES: &str = "its client, which removes it and runs another: a kubelet does so by \
                               itself, after `coffer run` use `coffer rm` and `coffer run`";
const CLIENT_RESTARTS: &str =
    "its client: a kubelet restarts it as its restartPolicy says, `coffer run` does not";
const CLIENT_STOPS_AGAIN: &str = "the next StopPodSandbox or RemovePodSandbox (`coffer stop`, \
                                  `coffer rm`), or the daemon at its next start";
const NEXT_DAEMON: &str = "the daemon, when it is started again (`coffer serve`)";

/// Explains a pod; its containers are explained already.
pub(crate) fn pod(
    facts: &PodFacts,
    state: &PodState,
    agent: AgentSeen,
    around: Around<'_>,
    containers: Vec<Explanation>,
) -> Explanation {
    let running: Vec<&Running> = of(around.running, &facts.id);
    let step = running.first().map(|running| running.step.as_ref());
    let mut told = Explanation {
        kind: "pod",
        id: facts.id.to_string(),
        name: facts.config.metadata.name.clone(),
        namespace: facts.config.metadata.namespace.clone(),
        stage: pod_stage(state, step),
        since_ns: pod_since(facts, state, around.changed_at_ns),
        ..Explanation::default()
    };
    match (state, agent) {
        (PodState::Ready, AgentSeen::NotReached) => {
            told.waiting_on = "its agent, which does not answer yet".to_owned();
        }
        (PodState::Ready, AgentSeen::Gone) => {
            told.stage = "Ready, but its agent has ended".to_owned();
            NEXT_DAEMON.clone_into(&mut told.next_try);
        }
        (PodState::Ready, _) if containers.is_empty() => {
            told.waiting_on = "its client: no container has been created in it".to_owned();
        }
        _ => {}
    }
    if running.is_empty() {
        told.next_try = pod_next(state, around.daemon).map_or(told.next_try, str::to_owned);
    }
    let known = |failure: &&Failure| {
        let own = failure.id == facts.id || same_pod(&failure.pod, &facts.config.metadata);
        // A container that is there has a place of its own for its failures.
        let there = containers.iter().any(|one| one.id == failure.id.as_str());
        own && !there
    };
    last_error(&mut told, around.failures.iter().filter(known));
    operations(&mut told, &running, around.now_ns);
    told.containers = containers;
    told
}

/// Explains a container.
pub(crate) fn container(
    facts: &ContainerFacts,
    state: &ContainerState,
    namespace: &str,
    around: Around<'_>,
) -> Explanation {
    let running: Vec<&Running> = of(around.running, &facts.id);
    let step = running.first().map(|running| running.step.as_ref());
    let mut told = Explanation {
        kind: "container",
        id: facts.id.to_string(),
        name: facts.config.metadata.name.clone(),
        namespace: namespace.to_owned(),
        stage: container_stage(state, step),
        since_ns: container_since(facts, state, around.changed_at_ns),
        ..Explanation::default()
    };
    last_error(
        &mut told,
        around
            .failures
            .iter()
            .filter(|failure| failure.id == facts.id),
    );
    match state {
        ContainerState::Created { .. } if running.is_empty() => {
            told.waiting_on = "its client: StartContainer has not been called".to_owned();
        }
        ContainerState::Exited(exit) => {
            if exit.code != 0 {
                CLIENT_RESTARTS.clone_into(&mut told.next_try);
            }
            if told.last_error.is_empty() && !exit.message.is_empty() {
                told.last_error.clone_from(&exit.message);
                told.last_error_at_ns = exit.finished_at_ns;
            }
        }
        ContainerState::Creating { .. } | ContainerState::Removing { .. }
            if running.is_empty() && !around.daemon =>
        {
            NEXT_DAEMON.clone_into(&mut told.next_try);
        }
        ContainerState::Removing { .. } if running.is_empty() => {
            told.next_try =
                "the next RemoveContainer (`coffer rm`), or the daemon at its next start"
                    .to_owned();
        }
        _ => {}
    }
    operations(&mut told, &running, around.now_ns);
    told
}

/// Explains the start of a pod that is in no index: it runs, or it has failed.
pub(crate) fn starting(
    metadata: &PodMetadata,
    running: Option<&Running>,
    failures: &[Failure],
    now_ns: i64,
) -> Explanation {
    let mut told = Explanation {
        kind: "pod",
        id: running.map_or_else(String::new, |running| running.id.to_string()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        ..Explanation::default()
    };
    let of_it = |failure: &&Failure| same_pod(&failure.pod, metadata);
    last_error(&mut told, failures.iter().filter(of_it));
    match running {
        Some(running) => {
            told.stage = with_step("Starting", Some(&running.step));
            told.since_ns = running.step_since_ns;
            operations(&mut told, &[running], now_ns);
        }
        None => {
            told.stage = "Not there: its start failed and was taken back".to_owned();
            told.since_ns = told.last_error_at_ns;
            CLIENT_STARTS.clone_into(&mut told.next_try);
        }
    }
    told
}

/// Explains a container that is in no index: it is being created.
pub(crate) fn creating(running: &Running, now_ns: i64) -> Explanation {
    let mut told = Explanation {
        kind: "container",
        id: running.id.to_string(),
        name: running.container.clone().unwrap_or_default(),
        namespace: running.pod.namespace.clone(),
        stage: with_step("Creating", Some(&running.step)),
        since_ns: running.step_since_ns,
        ..Explanation::default()
    };
    operations(&mut told, &[running], now_ns);
    told
}

/// Whether two are the same pod of a client: a new attempt is.
pub(crate) fn same_pod(one: &PodMetadata, other: &PodMetadata) -> bool {
    (&one.name, &one.uid, &one.namespace) == (&other.name, &other.uid, &other.namespace)
}

fn of<'a>(running: &'a [Running], id: &Id) -> Vec<&'a Running> {
    let mut of_it: Vec<_> = running.iter().filter(|running| running.id == *id).collect();
    // The one that says its steps works; the others wait for it.
    of_it.sort_by_key(|running| running.step.is_empty());
    of_it
}

fn pod_stage(state: &PodState, step: Option<&str>) -> String {
    match state {
        PodState::Starting { step: intent } => with_step(
            "Starting",
            step.or(Some(match intent {
                StartStep::Files => "its files, cut off",
                StartStep::Agent => "its agent, cut off",
                // The namespace and what is made in it.
                _ => "its network, cut off",
            })),
        ),
        PodState::Ready => "Ready".to_owned(),
        PodState::Stopping { reason } => match step {
            Some(step) => with_step("Stopping", Some(step)),
            None => format!("Stopping{}, cut off", why(*reason)),
        },
        PodState::Stopped { reason, .. } => format!("Stopped{}", why(*reason)),
        PodState::Removing => with_step("Removing", step.or(Some("cut off"))),
    }
}

fn why(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Requested => "",
        StopReason::AgentLost => ": its agent died",
        StopReason::StartFailed => ": its start failed and could not be taken back whole",
    }
}

fn pod_since(facts: &PodFacts, state: &PodState, changed_at_ns: i64) -> i64 {
    match state {
        PodState::Stopped { at_ns, .. } => *at_ns,
        _ if changed_at_ns != 0 => changed_at_ns,
        _ => facts.created_at_ns,
    }
}

fn pod_next(state: &PodState, daemon: bool) -> Option<&'static str> {
    match state {
        PodState::Ready => None,
        PodState::Stopped { reason, .. } => match reason {
            StopReason::Requested => None,
            StopReason::AgentLost => Some(CLIENT_REPLACES),
            StopReason::StartFailed => Some(CLIENT_STARTS),
        },
        _ if !daemon => Some(NEXT_DAEMON),
        _ => Some(CLIENT_STOPS_AGAIN),
    }
}

fn container_stage(state: &ContainerState, step: Option<&str>) -> String {
    match state {
        ContainerState::Creating { step: intent } => with_step(
            "Creating",
            step.or(Some(match intent {
                CreateStep::Layers => "its writable layer, cut off",
                CreateStep::Agent => "the container, cut off",
            })),
        ),
        ContainerState::Created { .. } => "Created".to_owned(),
        ContainerState::Running { .. } => "Running".to_owned(),
        ContainerState::Exited(exit) => match exit.reason {
            ExitReason::Completed => "Exited (0)".to_owned(),
            ExitReason::Error => format!("Exited ({})", exit.code),
            other => format!("Exited ({}, {})", exit.code, other.word()),
        },
        ContainerState::Removing { .. } => with_step("Removing", step.or(Some("cut off"))),
    }
}

fn container_since(facts: &ContainerFacts, state: &ContainerState, changed_at_ns: i64) -> i64 {
    match state {
        ContainerState::Running { started_at_ns, .. } => *started_at_ns,
        ContainerState::Exited(exit) => exit.finished_at_ns,
        _ if changed_at_ns != 0 => changed_at_ns,
        _ => facts.created_at_ns,
    }
}

fn with_step(stage: &str, step: Option<&str>) -> String {
    match step {
        None | Some("") => stage.to_owned(),
        Some(step) => format!("{stage}: {step}"),
    }
}

fn last_error<'a>(told: &mut Explanation, failures: impl Iterator<Item = &'a Failure>) {
    let Some(last) = failures.max_by_key(|failure| failure.at_ns) else {
        return;
    };
    told.last_error_at_ns = last.at_ns;
    let whose = match &last.container {
        Some(name) if told.kind == "pod" => format!(" of container {name}"),
        _ => String::new(),
    };
    let times = match last.times {
        0 | 1 => String::new(),
        times => format!(" ({times} times)"),
    };
    told.last_error = format!("{}{whose}: {}{times}", last.act, last.error);
}

/// Adds what runs on the object now.
fn operations(told: &mut Explanation, running: &[&Running], now_ns: i64) {
    let mut waits = Vec::new();
    for (at, one) in running.iter().enumerate() {
        let step = match (at, one.step.as_ref()) {
            (0, "") => "its first step",
            (_, "") => "its turn",
            (_, step) => step,
        };
        let passed = seconds(now_ns - one.since_ns);
        waits.push(format!("{} (for {passed}): {step}", one.act));
        if one.again_at_ns > now_ns {
            told.next_try = format!("the daemon, in {}", seconds(one.again_at_ns - now_ns));
        }
    }
    if !waits.is_empty() {
        told.waiting_on = waits.join("; ");
    }
}

/// A duration as people say it.
fn seconds(ns: i64) -> String {
    let seconds = ns.max(0) / 1_000_000_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn around<'a>(running: &'a [Running], failures: &'a [Failure]) -> Around<'a> {
        Around {
            running,
            failures,
            changed_at_ns: 7,
            now_ns: 100 * SECOND,
            daemon: true,
        }
    }

    fn running(facts: &PodFacts, act: &'static str, step: &'static str) -> Running {
        Running {
            pod: facts.config.metadata.clone(),
            id: facts.id.clone(),
            container: None,
            act,
            step: Cow::Borrowed(step),
            since_ns: 90 * SECOND,
            step_since_ns: 95 * SECOND,
            again_at_ns: 0,
        }
    }

    fn failure(facts: &PodFacts, act: &str, container: Option<&str>) -> Failure {
        Failure {
            pod: facts.config.metadata.clone(),
            id: Id::random().unwrap(),
            container: container.map(str::to_owned),
            act: act.to_owned(),
            error: "no space left on device".to_owned(),
            first_at_ns: 1,
            at_ns: 50 * SECOND,
            times: 3,
        }
    }

    #[test]
    fn a_quiet_pod_waits_on_nothing() {
        let facts = PodFacts::example();
        let inside = Explanation {
            kind: "container",
            ..Explanation::default()
        };
        let told = pod(
            &facts,
            &PodState::Ready,
            AgentSeen::Answers,
            around(&[], &[]),
            vec![inside],
        );
        assert_eq!((told.stage.as_str(), told.since_ns), ("Ready", 7));
        assert_eq!((told.waiting_on.as_str(), told.next_try.as_str()), ("", ""));
        let told = pod(
            &facts,
            &PodState::Ready,
            AgentSeen::Answers,
            around(&[], &[]),
            vec![],
        );
        assert!(
            told.waiting_on.contains("no container"),
            "{}",
            told.waiting_on
        );
    }

    #[test]
    fn what_runs_is_told_with_its_step_and_who_waits_behind_it() {
        let facts = PodFacts::example();
        let now = [
            running(&facts, "RemovePodSandbox", ""),
            running(&facts, "StopPodSandbox", "ending its agent"),
        ];
        let state = PodState::Stopping {
            reason: StopReason::Requested,
        };
        let told = pod(
            &facts,
            &state,
            AgentSeen::Answers,
            around(&now, &[]),
            vec![],
        );
        assert_eq!(told.stage, "Stopping: ending its agent");
        assert_eq!(
            told.waiting_on,
            "StopPodSandbox (for 10 s): ending its agent; RemovePodSandbox (for 10 s): its turn"
        );
        assert_eq!(told.next_try, "");
    }

    #[test]
    fn a_retry_of_the_daemon_is_announced() {
        let facts = PodFacts::example();
        let mut reach = running(&facts, "recovery", "its agent does not answer");
        reach.again_at_ns = 104 * SECOND;
        let told = pod(
            &facts,
            &PodState::Ready,
            AgentSeen::NotReached,
            around(&[reach], &[]),
            vec![],
        );
        assert_eq!(told.next_try, "the daemon, in 4 s");
        assert!(
            told.waiting_on.contains("does not answer"),
            "{}",
            told.waiting_on
        );
    }

    #[test]
    fn a_failed_creation_is_the_pods_last_error() {
        let facts = PodFacts::example();
        let failed = [failure(&facts, "CreateContainer", Some("app"))];
        let told = pod(
            &facts,
            &PodState::Ready,
            AgentSeen::Answers,
            around(&[], &failed),
            vec![],
        );
        assert_eq!(
            told.last_error,
            "CreateContainer of container app: no space left on device (3 times)"
        );
        assert_eq!(told.last_error_at_ns, 50 * SECOND);
    }

    #[test]
    fn a_start_that_failed_says_who_tries_again() {
        let facts = PodFacts::example();
        let failed = [failure(&facts, "RunPodSandbox", None)];
        let told = starting(&facts.config.metadata, None, &failed, 100 * SECOND);
        assert!(told.stage.starts_with("Not there"), "{}", told.stage);
        assert_eq!(told.since_ns, 50 * SECOND);
        assert!(told.next_try.contains("RunPodSandbox"), "{}", told.next_try);
    }

    #[test]
    fn what_a_dead_daemon_has_left_waits_for_the_next() {
        let facts = PodFacts::example();
        let state = PodState::Starting {
            step: StartStep::Files,
        };
        let without = Around {
            daemon: false,
            ..around(&[], &[])
        };
        let told = pod(&facts, &state, AgentSeen::Gone, without, vec![]);
        assert_eq!(told.stage, "Starting: its files, cut off");
        assert_eq!(told.next_try, NEXT_DAEMON);
    }
}

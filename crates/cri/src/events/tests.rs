use std::{path::PathBuf, sync::Arc};

use super::{event::Kind, *};
use crate::{
    domain::{ContainerConfig, ContainerMetadata, Id, PodPhase},
    state::{
        Container, ContainerFacts, ContainerState, Exit, ExitReason, ImageFacts, Pod, PodFacts,
        PodState, StopReason, UserFacts,
    },
};

fn pod() -> Arc<Pod> {
    Arc::new(Pod::new(
        PodFacts::example(),
        PathBuf::new(),
        PodState::Ready,
    ))
}

fn container(pod: &Pod) -> Arc<Container> {
    let facts = ContainerFacts {
        id: Id::random().unwrap(),
        pod: pod.id().clone(),
        config: ContainerConfig {
            metadata: ContainerMetadata {
                name: "c".into(),
                attempt: 0,
            },
            ..ContainerConfig::default()
        },
        created_at_ns: 1,
        image: ImageFacts {
            name: "busybox".into(),
            ..ImageFacts::default()
        },
        volumes: Vec::new(),
        user: UserFacts::default(),
        log_path: PathBuf::new(),
        stop_signal: 15,
    };
    let created = ContainerState::Created { pid: 7 };
    Arc::new(Container::new(facts, PathBuf::new(), created))
}

fn exited(reason: ExitReason) -> ContainerState {
    ContainerState::Exited(Exit {
        started_at_ns: 1,
        finished_at_ns: 2,
        code: 137,
        reason,
        message: String::new(),
    })
}

const RUNNING: ContainerState = ContainerState::Running {
    pid: 7,
    started_at_ns: 1,
};

fn stopped(reason: StopReason) -> PodState {
    PodState::Stopped { reason, at_ns: 1 }
}

/// A whole life of a pod with a container.
fn life(bus: &Bus, pod: &Arc<Pod>, container: &Arc<Container>) {
    bus.pod_appeared(pod, true);
    bus.container_appeared(container, true);
    bus.container_moved(container.id(), &RUNNING);
    bus.container_moved(container.id(), &exited(ExitReason::OOMKilled));
    bus.pod_moved(pod.id(), &stopped(StopReason::AgentLost));
    bus.pod_moved(pod.id(), &stopped(StopReason::Requested));
    bus.container_vanished(container.id());
    bus.pod_vanished(pod.id());
}

fn words(events: &[Arc<Event>]) -> Vec<String> {
    events
        .iter()
        .map(|e| format!("{} {} {}", e.seq, e.kind.word(), e.action.word()))
        .collect()
}

#[test]
fn each_change_is_told_once_and_in_order() {
    let (bus, pod) = (Bus::default(), pod());
    let container = container(&pod);
    life(&bus, &pod, &container);
    let events = bus.remembered();
    assert_eq!(
        words(&events),
        [
            "1 pod create",
            "2 container create",
            "3 container start",
            "4 container oom",
            "5 container die",
            "6 pod stop",
            "7 container remove",
            "8 pod remove"
        ]
    );
    let die = &events[4];
    assert_eq!(die.attributes["exit_code"], "137");
    assert_eq!(die.attributes["reason"], "OOMKilled");
    assert_eq!(die.attributes["image"], "busybox");
    assert_eq!((die.name.as_str(), die.pod_name.as_str()), ("c", "web"));
    assert_eq!(die.pod_id, pod.id().as_str());
    assert_eq!(events[5].attributes["reason"], "AgentLost");
    assert!(events.windows(2).all(|two| two[0].at_ns <= two[1].at_ns));
    assert_eq!(words(&bus.after(6).unwrap()), words(&events[6..]));
    assert_eq!(words(&bus.after(0).unwrap()), words(&events));
    assert!(bus.after(8).unwrap().is_empty());
    let wrong = bus.after(9).unwrap_err();
    assert_eq!((wrong.oldest, wrong.newest), (1, 8));
}

#[test]
fn a_snapshot_says_what_is_and_where_to_go_on() {
    let (bus, pod) = (Bus::default(), pod());
    let container = container(&pod);
    // As the daemon finds them when it starts: no news.
    bus.pod_appeared(&pod, false);
    bus.container_appeared(&container, false);
    assert!(bus.remembered().is_empty());
    bus.container_moved(container.id(), &RUNNING);
    let (all, seq) = bus.snapshot();
    assert_eq!(seq, 1);
    let told: Vec<_> = all
        .iter()
        .map(|e| (e.seq, e.kind, e.action, e.attributes["state"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (0, Kind::Pod, Action::Exists, "ready"),
            (0, Kind::Container, Action::Exists, "running")
        ]
    );
    bus.container_vanished(container.id());
    bus.pod_vanished(pod.id());
    assert!(bus.snapshot().0.is_empty());
    assert_eq!(bus.after(seq).unwrap().len(), 2);
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_is_said() {
    let bus = Bus::default();
    for n in 0..3000 {
        bus.image(Action::Import, &format!("sha256:{n}"), "");
    }
    let events = bus.remembered();
    assert_eq!((events.len(), events[0].seq), (1024, 1977));
    assert_eq!(
        bus.after(1975),
        Err(Forgotten {
            oldest: 1977,
            newest: 3000
        })
    );
    assert_eq!(bus.after(1976).unwrap().len(), 1024);
    assert_eq!(bus.after(2999).unwrap().len(), 1);
    // A client's long names count too.
    for _ in 0..40 {
        bus.image(Action::Import, &"x".repeat(100_000), "");
    }
    let events = bus.remembered();
    assert!((1..=11).contains(&events.len()), "{}", events.len());
    bus.image(Action::Import, &"x".repeat(4 << 20), "");
    assert_eq!(bus.remembered().len(), 1);
}

#[tokio::test]
async fn a_listener_hears_what_was_true_at_that_moment() {
    let (bus, pod) = (Bus::default(), pod());
    let container = container(&pod);
    let mut changes = bus.listen();
    life(&bus, &pod, &container);
    let mut heard = Vec::new();
    while let Ok(change) = changes.try_recv() {
        let ready = change.view.phase == PodPhase::Ready;
        let states: Vec<_> = change
            .view
            .containers
            .iter()
            .map(|c| c.state.name())
            .collect();
        heard.push((change.id == *pod.id(), change.moment, ready, states));
    }
    use Moment::{Created, Deleted, Started, Stopped};
    assert_eq!(
        heard,
        [
            (true, Created, true, vec![]),
            (true, Started, true, vec![]),
            (false, Created, true, vec!["created"]),
            (false, Started, true, vec!["running"]),
            (false, Stopped, true, vec!["exited"]),
            (true, Stopped, false, vec!["exited"]),
            (false, Deleted, false, vec![]),
            (true, Deleted, false, vec![]),
        ]
    );
}

#[tokio::test]
async fn a_listener_that_does_not_read_loses_its_place_and_holds_nobody() {
    let (bus, pod) = (Bus::default(), pod());
    let mut changes = bus.listen();
    for _ in 0..200 {
        bus.pod_appeared(&pod, true);
        bus.pod_vanished(pod.id());
    }
    let mut heard = 0;
    while changes.recv().await.is_some() {
        heard += 1;
    }
    assert_eq!(heard, 256);
}

//! Pods and containers as the bus has told them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::event::{Action, Event, Kind};
use crate::{
    domain::{Id, PodPhase},
    service::{ContainerView, PodView},
    state::{Container, ContainerState, Pod, PodState},
};

/// All of them.
#[derive(Default)]
pub(super) struct World {
    pods: BTreeMap<Id, SeenPod>,
    containers: BTreeMap<Id, SeenContainer>,
}

struct SeenPod {
    pod: Arc<Pod>,
    state: PodState,
    /// That it ended was told, or had happened before anyone listened.
    ended: bool,
}

struct SeenContainer {
    container: Arc<Container>,
    state: ContainerState,
}

impl World {
    /// Adds a pod; false if it was there.
    pub(super) fn add_pod(&mut self, pod: &Arc<Pod>) -> bool {
        let Entry::Vacant(place) = self.pods.entry(pod.id().clone()) else {
            return false;
        };
        let state = pod.state();
        let ended = matches!(state, PodState::Stopped { .. } | PodState::Removing);
        let pod = Arc::clone(pod);
        place.insert(SeenPod { pod, state, ended });
        true
    }

    /// Adds a container; false if it was there.
    pub(super) fn add_container(&mut self, container: &Arc<Container>) -> bool {
        let Entry::Vacant(place) = self.containers.entry(container.id().clone()) else {
            return false;
        };
        let state = container.state();
        let container = Arc::clone(container);
        place.insert(SeenContainer { container, state });
        true
    }

    /// Moves a pod; true if that is its end.
    pub(super) fn move_pod(&mut self, id: &Id, to: &PodState) -> bool {
        let Some(seen) = self.pods.get_mut(id) else {
            return false;
        };
        seen.state = to.clone();
        let ends = matches!(to, PodState::Stopped { .. }) && !seen.ended;
        seen.ended |= ends;
        ends
    }

    /// Moves a container and answers what is to be told of it.
    pub(super) fn move_container(&mut self, id: &Id, to: &ContainerState) -> &'static [Action] {
        use crate::state::ExitReason;
        let Some(seen) = self.containers.get_mut(id) else {
            return &[];
        };
        seen.state = to.clone();
        match to {
            ContainerState::Running { .. } => &[Action::Start],
            ContainerState::Exited(exit) if exit.reason == ExitReason::OOMKilled => {
                &[Action::Oom, Action::Die]
            }
            ContainerState::Exited(_) => &[Action::Die],
            _ => &[],
        }
    }

    /// Forgets a pod.
    pub(super) fn remove_pod(&mut self, id: &Id) {
        self.pods.remove(id);
    }

    /// Forgets a container.
    pub(super) fn remove_container(&mut self, id: &Id) {
        self.containers.remove(id);
    }

    /// What is to be told about a pod now; `None` if it is unknown.
    pub(super) fn pod_event(&self, id: &Id, action: Action) -> Option<Event> {
        let seen = self.pods.get(id)?;
        let mut attributes = BTreeMap::new();
        match (action, &seen.state) {
            (Action::Create | Action::Exists, state) => {
                attributes.insert("state", state.name().to_owned());
            }
            (_, PodState::Stopped { reason, .. }) => {
                attributes.insert("reason", reason.word().to_owned());
            }
            _ => {}
        }
        Some(Event {
            seq: 0,
            at_ns: 0,
            kind: Kind::Pod,
            action,
            id: id.to_string(),
            name: seen.pod.facts().config.metadata.name.clone(),
            pod_id: String::new(),
            pod_name: String::new(),
            attributes,
        })
    }

    /// What is to be told about a container now; `None` if it is unknown.
    pub(super) fn container_event(&self, id: &Id, action: Action) -> Option<Event> {
        let seen = self.containers.get(id)?;
        let facts = seen.container.facts();
        let pod = self.pods.get(&facts.pod);
        let mut attributes = BTreeMap::from([("image", facts.image.name.clone())]);
        if action == Action::Exists {
            attributes.insert("state", seen.state.name().to_owned());
        }
        if let Some(exit) = seen.state.exit() {
            attributes.insert("exit_code", exit.code.to_string());
            attributes.insert("reason", exit.reason.word().to_owned());
        }
        Some(Event {
            seq: 0,
            at_ns: 0,
            kind: Kind::Container,
            action,
            id: id.to_string(),
            name: facts.config.metadata.name.clone(),
            pod_id: facts.pod.to_string(),
            pod_name: pod
                .map(|pod| pod.pod.facts().config.metadata.name.clone())
                .unwrap_or_default(),
            attributes,
        })
    }

    /// An "exists" event for each pod, and after it for each of its containers.
    pub(super) fn all(&self) -> Vec<Event> {
        let mut all = Vec::with_capacity(self.pods.len() + self.containers.len());
        for pod in self.pods.keys() {
            all.extend(self.pod_event(pod, Action::Exists));
            let own = self.containers.iter();
            let own = own.filter(|(_, seen)| seen.container.facts().pod == *pod);
            all.extend(own.filter_map(|(id, _)| self.container_event(id, Action::Exists)));
        }
        all
    }

    /// The pod of a container.
    pub(super) fn pod_of(&self, container: &Id) -> Option<Id> {
        let seen = self.containers.get(container)?;
        Some(seen.container.facts().pod.clone())
    }

    /// A pod and its containers, as they were told.
    pub(super) fn view(&self, pod: &Id, at_ns: i64) -> Option<PodView> {
        let seen = self.pods.get(pod)?;
        let own = self.containers.values();
        let own = own.filter(|seen| seen.container.facts().pod == *pod);
        Some(PodView {
            pod: Arc::clone(&seen.pod),
            phase: if seen.state == PodState::Ready {
                PodPhase::Ready
            } else {
                PodPhase::NotReady
            },
            containers: own
                .map(|seen| ContainerView {
                    container: Arc::clone(&seen.container),
                    state: seen.state.clone(),
                    info: None,
                })
                .collect(),
            at_ns,
            info: None,
        })
    }
}

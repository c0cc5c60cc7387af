//! The bus: one lock, held for a look-up and never across anything that waits.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, watch};

use super::{
    event::{Action, Event, Kind},
    world::World,
};
use crate::{
    domain::Id,
    service::PodView,
    state::{Container, ContainerState, Pod, PodState, now_ns},
};

/// Events that are remembered at most.
const EVENTS: usize = 1024;
/// Bytes that they take at most.
const BYTES: usize = 1 << 20;
/// Changes that wait for one listener at most.
const WAITING: usize = 256;

/// Tells what happens; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Bus(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Number of the newest event.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    seq: u64,
    world: World,
    ring: VecDeque<Arc<Event>>,
    weight: usize,
    listeners: Vec<mpsc::Sender<Change>>,
}

/// A turn in the life of a container or of a pod's sandbox, as CRI tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Created,
    Started,
    Stopped,
    Deleted,
}

/// What a listener hears.
#[derive(Debug)]
pub(crate) struct Change {
    /// The container, or the pod if it is about the sandbox itself.
    pub id: Id,
    /// What happened.
    pub moment: Moment,
    /// The pod and its containers right after that.
    pub view: PodView,
}

/// Events that were asked for are not remembered any more, or never were by this daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Number of the oldest event that is remembered; 0: none is.
    pub oldest: u64,
    /// Number of the newest event.
    pub newest: u64,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Pods know the bus, and it knows them.
        f.write_str("Bus")
    }
}

impl Bus {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something under the lock, then wakes those who wait for events.
    fn publish(&self, act: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner();
        let before = inner.seq;
        act(&mut inner);
        if inner.seq != before {
            self.0.newest.send_replace(inner.seq);
        }
    }

    /// A pod can be seen; `told`: that is news.
    pub(crate) fn pod_appeared(&self, pod: &Arc<Pod>, told: bool) {
        self.publish(|inner| {
            if !inner.world.add_pod(pod) || !told {
                return;
            }
            inner.tell(inner.world.pod_event(pod.id(), Action::Create));
            inner.change(pod.id(), pod.id(), Moment::Created);
            if pod.state() == PodState::Ready {
                inner.change(pod.id(), pod.id(), Moment::Started);
            }
        });
    }

    /// A pod has gone to another state.
    pub(crate) fn pod_moved(&self, id: &Id, to: &PodState) {
        self.publish(|inner| {
            if inner.world.move_pod(id, to) {
                inner.tell(inner.world.pod_event(id, Action::Stop));
                inner.change(id, id, Moment::Stopped);
            }
        });
    }

    /// A pod can't be seen any more.
    pub(crate) fn pod_vanished(&self, id: &Id) {
        self.publish(|inner| {
            inner.tell(inner.world.pod_event(id, Action::Remove));
            inner.change(id, id, Moment::Deleted);
            inner.world.remove_pod(id);
        });
    }

    /// A container can be seen; `told`: that is news.
    pub(crate) fn container_appeared(&self, container: &Arc<Container>, told: bool) {
        self.publish(|inner| {
            if !inner.world.add_container(container) || !told {
                return;
            }
            let id = container.id();
            inner.tell(inner.world.container_event(id, Action::Create));
            inner.change(id, &container.facts().pod, Moment::Created);
        });
    }

    /// A container has gone to another state.
    pub(crate) fn container_moved(&self, id: &Id, to: &ContainerState) {
        self.publish(|inner| {
            for action in inner.world.move_container(id, to) {
                inner.tell(inner.world.container_event(id, *action));
                let moment = match action {
                    Action::Start => Moment::Started,
                    Action::Die => Moment::Stopped,
                    _ => continue,
                };
                if let Some(pod) = inner.world.pod_of(id) {
                    inner.change(id, &pod, moment);
                }
            }
        });
    }

    /// A container can't be seen any more.
    pub(crate) fn container_vanished(&self, id: &Id) {
        self.publish(|inner| {
            inner.tell(inner.world.container_event(id, Action::Remove));
            let pod = inner.world.pod_of(id);
            inner.world.remove_container(id);
            if let Some(pod) = pod {
                inner.change(id, &pod, Moment::Deleted);
            }
        });
    }

    /// Something happened to an image.
    pub(crate) fn image(&self, action: Action, id: &str, name: &str) {
        self.publish(|inner| {
            inner.tell(Some(Event {
                seq: 0,
                at_ns: 0,
                kind: Kind::Image,
                action,
                id: id.to_owned(),
                name: name.to_owned(),
                pod_id: String::new(),
                pod_name: String::new(),
                attributes: BTreeMap::new(),
            }));
        });
    }

    /// The events after number `seq`, the oldest first.
    ///
    /// # Errors
    /// [`Forgotten`] when some of them are not remembered, or `seq` is not a number of this daemon.
    pub(crate) fn after(&self, seq: u64) -> Result<Vec<Arc<Event>>, Forgotten> {
        let inner = self.inner();
        let oldest = inner.ring.front().map_or(0, |event| event.seq);
        // Numbers in the ring have no gaps.
        let first = oldest.max(1);
        if seq > inner.seq || (seq + 1 < first && seq < inner.seq) {
            return Err(Forgotten {
                oldest,
                newest: inner.seq,
            });
        }
        let known = usize::try_from((seq + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        Ok(inner.ring.iter().skip(known).cloned().collect())
    }

    /// All events that are remembered, the oldest first.
    pub(crate) fn remembered(&self) -> Vec<Arc<Event>> {
        self.inner().ring.iter().cloned().collect()
    }

    /// An "exists" event for each pod and container, and the number of the last event before that.
    pub(crate) fn snapshot(&self) -> (Vec<Event>, u64) {
        let inner = self.inner();
        let at_ns = now_ns();
        let mut all = inner.world.all();
        for event in &mut all {
            event.at_ns = at_ns;
        }
        (all, inner.seq)
    }

    /// Follows the number of the newest event.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Hears every change from now on. The channel ends when its reader falls too far behind.
    pub(crate) fn listen(&self) -> mpsc::Receiver<Change> {
        let (to, from) = mpsc::channel(WAITING);
        let listeners = &mut self.inner().listeners;
        // Those that have gone since the last change.
        listeners.retain(|listener| !listener.is_closed());
        listeners.push(to);
        from
    }
}

impl Inner {
    fn tell(&mut self, event: Option<Event>) {
        let Some(mut event) = event else { return };
        self.seq += 1;
        (event.seq, event.at_ns) = (self.seq, now_ns());
        self.weight += event.weight();
        self.ring.push_back(Arc::new(event));
        while self.ring.len() > EVENTS || (self.weight > BYTES && self.ring.len() > 1) {
            if let Some(old) = self.ring.pop_front() {
                self.weight -= old.weight();
            }
        }
    }

    fn change(&mut self, id: &Id, pod: &Id, moment: Moment) {
        if self.listeners.is_empty() {
            return;
        }
        let (world, at_ns) = (&self.world, now_ns());
        self.listeners.retain(|listener| {
            let Some(view) = world.view(pod, at_ns) else {
                return true;
            };
            let id = id.clone();
            listener.try_send(Change { id, moment, view }).is_ok()
        });
    }
}

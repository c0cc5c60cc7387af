//! One event.

use std::collections::BTreeMap;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    Container,
    Image,
}

impl Kind {
    /// As it is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Pod => "pod",
            Kind::Container => "container",
            Kind::Image => "image",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It can be seen from now on. Of a pod: it is ready.
    Create,
    /// A container's program runs.
    Start,
    /// The kernel killed one of a container's processes for want of memory; it ended of that.
    Oom,
    /// A container ended.
    Die,
    /// A pod ended.
    Stop,
    /// It is gone.
    Remove,
    /// An image was imported.
    Import,
    /// An image was pulled from its registry.
    Pull,
    /// An image got one more name.
    Tag,
    /// It was there when a snapshot was taken.
    Exists,
}

impl Action {
    /// As it is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Start => "start",
            Action::Oom => "oom",
            Action::Die => "die",
            Action::Stop => "stop",
            Action::Remove => "remove",
            Action::Import => "import",
            Action::Pull => "pull",
            Action::Tag => "tag",
            Action::Exists => "exists",
        }
    }
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// One more than that of the event before; 0: part of a snapshot.
    pub seq: u64,
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
    /// What it is about.
    pub kind: Kind,
    /// What happened.
    pub action: Action,
    /// Id of the pod, container or image.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Of a container: its pod's id.
    pub pod_id: String,
    /// Of a container: its pod's name.
    pub pod_name: String,
    /// "exit_code", "reason", "image", "state".
    pub attributes: BTreeMap<&'static str, String>,
}

impl Event {
    /// About how many bytes it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let texts = [&self.id, &self.name, &self.pod_id, &self.pod_name];
        size_of::<Event>()
            + texts.iter().map(|text| text.len()).sum::<usize>()
            + self
                .attributes
                .values()
                .map(|text| text.len() + 64)
                .sum::<usize>()
    }
}

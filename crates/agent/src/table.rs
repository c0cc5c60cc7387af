//! The pod's containers by id. A name is taken before anything is done for it, so that a duplicate
//! create has no effect; whoever wants a container that is being made waits for the outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::container::Container;
use crate::error::Error;

#[derive(Debug)]
enum Slot {
    /// The sender goes away when the creation has ended, either way.
    Creating(watch::Receiver<()>),
    Ready(Arc<Container>),
}

/// Containers by id.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_id: BTreeMap<String, Slot>,
    /// DestroySandbox has begun: no new containers.
    closed: bool,
}

/// A name that is taken for a container in the making; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    table: Arc<Table>,
    id: String,
    used: bool,
    _done: watch::Sender<()>,
}

impl Table {
    /// Takes a name.
    ///
    /// # Errors
    /// It is in use, or the sandbox is being destroyed.
    pub(crate) fn reserve(self: &Arc<Self>, id: &str) -> Result<Reservation, Error> {
        let mut slots = self.lock();
        if slots.closed {
            return Err(Error::Destroyed);
        }
        if slots.by_id.contains_key(id) {
            return Err(Error::ContainerExists(id.to_owned()));
        }
        let (done, waiting) = watch::channel(());
        slots.by_id.insert(id.to_owned(), Slot::Creating(waiting));
        Ok(Reservation {
            table: Arc::clone(self),
            id: id.to_owned(),
            used: false,
            _done: done,
        })
    }

    /// A container that exists.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Container>, Error> {
        match self.lock().by_id.get(id) {
            Some(Slot::Ready(container)) => Ok(Arc::clone(container)),
            Some(Slot::Creating(_)) | None => Err(Error::NoContainer(id.to_owned())),
        }
    }

    /// A container that exists, once its creation, if any is going on, has ended.
    pub(crate) async fn settled(&self, id: &str) -> Option<Arc<Container>> {
        loop {
            let mut waiting = match self.lock().by_id.get(id) {
                None => return None,
                Some(Slot::Ready(container)) => return Some(Arc::clone(container)),
                Some(Slot::Creating(waiting)) => waiting.clone(),
            };
            // Nothing is ever sent: the error says that the creation has ended.
            drop(waiting.changed().await);
        }
    }

    /// All ids, those in the making too.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().by_id.keys().cloned().collect()
    }

    /// All containers that exist, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        let slots = self.lock();
        let ready = slots.by_id.values().filter_map(|slot| match slot {
            Slot::Ready(container) => Some(Arc::clone(container)),
            Slot::Creating(_) => None,
        });
        ready.collect()
    }

    pub(crate) fn remove(&self, id: &str) {
        self.lock().by_id.remove(id);
    }

    /// Refuses new containers from now on; false if that was so already.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut self.lock().closed, true)
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// The container exists: clients can name it from now on.
    pub(crate) fn assign(mut self, container: Arc<Container>) {
        self.used = true;
        self.table
            .lock()
            .by_id
            .insert(self.id.clone(), Slot::Ready(container));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.used {
            self.table.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_taken_once_and_given_back() {
        let table = Arc::new(Table::default());
        let first = table.reserve("a").unwrap();
        assert!(matches!(table.reserve("a"), Err(Error::ContainerExists(_))));
        assert!(matches!(table.get("a"), Err(Error::NoContainer(_))));
        let (none, ()) = tokio::join!(table.settled("a"), async { drop(first) });
        assert!(none.is_none());
        drop(table.reserve("a").unwrap());
        assert!(table.close());
        assert!(!table.close());
        assert!(matches!(table.reserve("b"), Err(Error::Destroyed)));
    }
}

//! Pulls under way: one for each image, however many wait for it.
//!
//! ```text
//! caller 1 ── join(digest) ──► flight: fetches, unpacks ──► result
//! caller 2 ── join(digest) ──────┘ waits, sees the same progress
//! last caller gone ─────────────► the flight is cancelled, nothing is left
//! ```

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use image::{Image, Progress};
use tokio::sync::watch;

use crate::error::Error;

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerView {
    /// Digest of its blob.
    pub digest: String,
    /// Bytes of the blob.
    pub total: u64,
    /// Bytes of it that came.
    pub bytes: u64,
    /// It is there.
    pub done: bool,
    /// It was there before.
    pub existed: bool,
}

/// How far a pull is: its layers from the bottom; none before they are known.
pub(crate) type View = Vec<LayerView>;

/// What a pull is known by: the manifest's digest (or the reference where no digest is known) and
/// the platform asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub digest: String,
    pub platform: String,
}

/// The pulls under way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pulls(Arc<Mutex<HashMap<Key, Arc<Flight>>>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Flight {
    key: Key,
    /// Who waits, by number.
    waiting: Mutex<usize>,
    cancel: AtomicBool,
    view: watch::Sender<View>,
    result: watch::Sender<Option<Result<Image, Error>>>,
}

/// Somebody's part in a flight; when it is dropped, that somebody waits no more.
#[derive(Debug)]
pub(crate) struct Seat {
    flight: Arc<Flight>,
    pulls: Pulls,
    /// This caller has to do the work.
    pub leads: bool,
}

impl Pulls {
    /// A seat in the flight of `key`; a new flight where there is none, or where the last one is
    /// being cancelled.
    pub(crate) fn join(&self, key: &Key) -> Seat {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            let mut waiting = flight
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if *waiting > 0 {
                *waiting += 1;
                drop(waiting);
                return self.seat(Arc::clone(flight), false);
            }
        }
        let flight = Arc::new(Flight {
            key: key.clone(),
            waiting: Mutex::new(1),
            cancel: AtomicBool::new(false),
            view: watch::Sender::new(View::new()),
            result: watch::Sender::new(None),
        });
        flights.insert(key.clone(), Arc::clone(&flight));
        self.seat(flight, true)
    }

    fn seat(&self, flight: Arc<Flight>, leads: bool) -> Seat {
        Seat {
            flight,
            pulls: self.clone(),
            leads,
        }
    }
}

impl Flight {
    /// Set when nobody waits any more.
    pub(crate) fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// Tells all who watch.
    pub(crate) fn tell(&self, progress: Progress) {
        self.view.send_modify(|view| match progress {
            Progress::Plan { layers } => {
                *view = layers
                    .into_iter()
                    .map(|(digest, total)| LayerView {
                        digest,
                        total,
                        bytes: 0,
                        done: false,
                        existed: false,
                    })
                    .collect();
            }
            Progress::Unpack { index, bytes, .. } => {
                if let Some(layer) = view.get_mut(index) {
                    layer.bytes = bytes;
                }
            }
            Progress::LayerDone { index, shared, .. } => {
                if let Some(layer) = view.get_mut(index) {
                    (layer.done, layer.existed) = (true, shared);
                    layer.bytes = layer.total;
                }
            }
            _ => {}
        });
    }
}

impl Seat {
    /// What is done in this flight: for the one who leads.
    pub(crate) fn flight(&self) -> Arc<Flight> {
        Arc::clone(&self.flight)
    }

    /// The flight has ended so.
    pub(crate) fn land(pulls: &Pulls, flight: &Arc<Flight>, result: Result<Image, Error>) {
        pulls.forget(flight);
        flight.result.send_replace(Some(result));
    }

    /// How far it is, now and from now on.
    pub(crate) fn view(&self) -> watch::Receiver<View> {
        self.flight.view.subscribe()
    }

    /// Waits for the flight's end.
    pub(crate) async fn wait(&self) -> Result<Image, Error> {
        let mut result = self.flight.result.subscribe();
        let ended = result.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|result| (*result).clone())
            .unwrap_or_else(|| {
                Err(Error::Internal {
                    what: "a pull ended without a result".to_owned(),
                })
            })
    }
}

impl Pulls {
    fn forget(&self, flight: &Arc<Flight>) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A newer flight of the same key stays.
        if flights
            .get(&flight.key)
            .is_some_and(|found| Arc::ptr_eq(found, flight))
        {
            flights.remove(&flight.key);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let flights = self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = &self.flight;
        let mut waiting = flight
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *waiting -= 1;
        if *waiting == 0 {
            flight.cancel.store(true, Ordering::Relaxed);
        }
        drop(waiting);
        drop(flights);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            digest: "sha256:x".into(),
            platform: String::new(),
        }
    }

    #[test]
    fn only_the_last_who_goes_cancels() {
        let pulls = Pulls::default();
        let (first, second) = (pulls.join(&key()), pulls.join(&key()));
        assert!(first.leads && !second.leads);
        let flight = first.flight();
        drop(first);
        assert!(!flight.cancel().load(Ordering::Relaxed));
        drop(second);
        assert!(flight.cancel().load(Ordering::Relaxed));
        // Who comes now begins anew, and the end of the old one does not take the new one away.
        let third = pulls.join(&key());
        assert!(third.leads);
        let error = Error::Internal { what: "x".into() };
        Seat::land(&pulls, &flight, Err(error));
        assert!(!pulls.join(&key()).leads);
    }

    #[test]
    fn progress_is_the_layers_as_they_are() {
        let pulls = Pulls::default();
        let seat = pulls.join(&key());
        let flight = seat.flight();
        let layers = vec![("a".to_owned(), 10), ("b".to_owned(), 20)];
        flight.tell(Progress::Plan { layers });
        flight.tell(Progress::Unpack {
            digest: "b".into(),
            index: 1,
            bytes: 5,
            total: 20,
        });
        flight.tell(Progress::LayerDone {
            digest: "a".into(),
            index: 0,
            shared: true,
        });
        let view = seat.view().borrow().clone();
        assert_eq!(
            (view[0].done, view[0].existed, view[0].bytes),
            (true, true, 10)
        );
        assert_eq!((view[1].done, view[1].bytes), (false, 5));
    }
}

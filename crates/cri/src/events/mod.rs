//! What changes, told to whoever listens: each change of state once, and in order.
//!
//! ```text
//! Index::insert, remove ─┐                    ┌─► ring, by sequence number ──► coffer.v1 Events
//! PodTurn, ContainerTurn ┼─► bus: one lock ───┤
//! import, removal        ┘   the world as it  └─► a channel a listener ──────► CRI GetContainerEvents
//!                            was told
//! ```
//! The bus has a world of its own, which changes with each event and under the same lock. So a
//! snapshot and the events after it leave no gap and tell nothing twice, and what is told with an
//! event is what was true when it happened. Nobody who publishes waits: a reader that is too slow
//! loses its place and is told so.

mod bus;
mod event;
mod world;

pub(crate) use bus::{Bus, Change, Forgotten, Moment};
pub(crate) use event::{Action, Event};

#[cfg(test)]
mod tests;

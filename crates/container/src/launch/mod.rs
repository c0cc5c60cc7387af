//! The parent's side of the ladder (drawn in the `init` crate): opens what the plan needs, clones,
//! answers the child, and turns what it says into a sentence.

mod channel;
mod child;
mod copy_up;
mod error;
mod hook_words;
mod id_map;
mod sources;
mod waiter;

pub use channel::Channel;
pub(crate) use child::{Answers, launch};
pub use error::Error;
pub(crate) use hook_words::{Words, held_by};
pub(crate) use sources::{Opened, Streams};
pub(crate) use waiter::Waiter;

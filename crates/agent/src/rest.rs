//! Gives free memory back to the kernel once the agent is at rest: specs, plans and filters are large, and gone.
//! Not after every call: the next one would have to take the pages again.
//!
//! ```text
//!  a call of the core, the end of a process --stirred--> quiet for 300 ms, or busy for 10 s --> trim
//! ```

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Without work for so long the agent is at rest: less than its pool's idle threads live on.
const QUIET: Duration = Duration::from_millis(300);
/// An agent that never rests gives memory back so often.
const BUSY: Duration = Duration::from_secs(10);

/// What has to be told of work.
#[derive(Debug, Default)]
pub(crate) struct Rest(Notify);

impl Rest {
    /// There was work, and memory was freed by its end.
    pub(crate) fn stirred(&self) {
        self.0.notify_one();
    }

    /// Runs for as long as the agent.
    pub(crate) async fn run(&self) {
        loop {
            self.0.notified().await;
            let most = Instant::now() + BUSY;
            loop {
                let quiet = (Instant::now() + QUIET).min(most);
                if timeout_at(quiet, self.0.notified()).await.is_err() {
                    break;
                }
            }
            sys::malloc::trim();
        }
    }
}

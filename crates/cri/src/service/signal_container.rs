//! SignalContainer: any signal, to the first process of a container.

use super::{
    Service,
    stop_container::{SIGNAL, send},
};
use crate::{error::Error, state::ContainerState};

/// The last real-time signal.
const LAST: u32 = 64;

impl Service {
    /// Sends `signal` to the first process of a container.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for what is no signal; [`Error::NotFound`]; [`Error::State`] unless it
    /// runs; the agent's answer.
    pub(crate) async fn signal_container(&self, id: &str, signal: u32) -> Result<(), Error> {
        let number = i32::try_from(signal)
            .ok()
            .filter(|_| (1..=LAST).contains(&signal))
            .ok_or_else(|| Error::InvalidField {
                field: "signal".to_owned(),
                why: format!("is {signal}: a number from 1 to {LAST} is needed"),
            })?;
        let container = self.containers.resolve(id)?;
        if !matches!(container.state(), ContainerState::Running { .. }) {
            return Err(container.not("is not running"));
        }
        let pod = self
            .pods
            .get(&container.facts().pod)
            .ok_or_else(|| container.not("belongs to a pod that is gone"))?;
        let sandbox = pod.sandbox_within(SIGNAL).await?;
        send(&sandbox, &container, number, false).await
    }
}

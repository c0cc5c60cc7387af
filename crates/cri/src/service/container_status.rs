//! ContainerStatus.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Service;
use crate::{
    error::Error,
    state::{Container, ContainerState},
};

/// A container at a moment.
#[derive(Debug)]
pub(crate) struct ContainerView {
    /// The container.
    pub container: Arc<Container>,
    /// Where it is.
    pub state: ContainerState,
    /// More, for people who ask.
    pub info: Option<Value>,
}

impl Service {
    /// What is known of a container.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub(crate) fn container_status(&self, id: &str, verbose: bool) -> Result<ContainerView, Error> {
        Ok(self.view(self.containers.resolve(id)?, verbose))
    }

    /// A container as it is now.
    pub(crate) fn view(&self, container: Arc<Container>, verbose: bool) -> ContainerView {
        let state = container.state();
        let info = verbose.then(|| info(&container, &state, self.layout.layer(container.id())));
        ContainerView {
            container,
            state,
            info,
        }
    }
}

fn info(container: &Container, state: &ContainerState, layer: std::path::PathBuf) -> Value {
    let facts = container.facts();
    let pid = match state {
        ContainerState::Created { pid } | ContainerState::Running { pid, .. } => Some(*pid),
        _ => None,
    };
    json!({
        "state": state.name(),
        "pid": pid,
        "podSandboxId": facts.pod,
        "dir": container.dir(),
        "runtimeSpec": container.dir().join(crate::layout::CONFIG),
        "writableLayer": layer,
        "layers": facts.image.layers,
        "config": facts.config,
    })
}

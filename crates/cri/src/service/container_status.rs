//! ContainerStatus.

use std::{fs, path::Path, sync::Arc};

use serde_json::{Value, json};

use super::Service;
use crate::{
    error::Error,
    layout::CONFIG,
    state::{Container, ContainerState},
    task::blocking,
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
    pub(crate) async fn container_status(
        &self,
        id: &str,
        verbose: bool,
    ) -> Result<ContainerView, Error> {
        let mut view = ContainerView::now(self.containers.resolve(id)?);
        if verbose {
            let path = view.container.dir().join(CONFIG);
            // What is being removed has none any more.
            let document = blocking(move || Ok::<_, Error>(fs::read(path).unwrap_or_default()));
            let document = serde_json::from_slice(&document.await?).unwrap_or_default();
            let layer = self.layout.layer(view.container.id());
            view.info = Some(info(&view.container, &view.state, document, &layer));
        }
        Ok(view)
    }
}

impl ContainerView {
    /// A container as it is now.
    pub(crate) fn now(container: Arc<Container>) -> ContainerView {
        ContainerView {
            state: container.state(),
            container,
            info: None,
        }
    }
}

/// The keys that tools read with crictl are named as other runtimes name them: `pid`, `sandboxID`,
/// `runtimeSpec`, which is the document itself.
fn info(container: &Container, state: &ContainerState, document: Value, layer: &Path) -> Value {
    let facts = container.facts();
    let pid = match state {
        ContainerState::Created { pid } | ContainerState::Running { pid, .. } => Some(*pid),
        _ => None,
    };
    json!({
        "state": state.name(),
        "pid": pid,
        "sandboxID": facts.pod,
        "podSandboxId": facts.pod,
        "dir": container.dir(),
        "runtimeSpec": document,
        "writableLayer": layer,
        "layers": facts.image.layers,
        "config": facts.config,
    })
}

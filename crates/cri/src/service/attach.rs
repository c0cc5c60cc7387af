//! Attach: prepares a client's place at the streams of a container's first process.

use std::sync::Arc;

use sandbox::Sandbox;

use super::Service;
use crate::{
    domain::Id,
    error::Error,
    state::{Container, ContainerState},
    streaming::{AttachRequest, Request},
};

/// What was asked for, before the container is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attach {
    /// Id of the container, or a prefix.
    pub container: String,
    /// The client expects a terminal.
    pub tty: bool,
    /// The client writes standard input.
    pub stdin: bool,
    /// The client reads standard output.
    pub stdout: bool,
    /// The client reads standard error.
    pub stderr: bool,
}

impl Service {
    /// Answers the URL of the stream. A container that was created and not started is waited for
    /// there, so that a client sees its output from the first byte.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::NotFound`], [`Error::State`]; [`Error::Busy`].
    pub(crate) async fn attach(&self, attach: Attach) -> Result<String, Error> {
        let container = self.containers.resolve(&attach.container)?;
        let config = &container.facts().config;
        if attach.tty != config.tty {
            let why = match config.tty {
                true => "is false, and the container has a terminal",
                false => "is true, and the container has no terminal",
            };
            return Err(invalid("tty", why));
        }
        check_streams(attach.tty, attach.stdin, attach.stdout, attach.stderr)?;
        if attach.stdin && !config.stdin {
            let why = "is true, and the container was created without standard input";
            return Err(invalid("stdin", why));
        }
        let (container, _) = self.live(container.id()).await?;
        self.streaming.url(Request::Attach(AttachRequest {
            container: container.id().clone(),
            tty: attach.tty,
            stdin: attach.stdin,
            stdout: attach.stdout,
            stderr: attach.stderr,
        }))
    }

    /// A container whose first process runs, and its agent.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::State`].
    pub(crate) async fn running(&self, id: &Id) -> Result<(Arc<Container>, Sandbox), Error> {
        self.with_agent(id, |state| matches!(state, ContainerState::Running { .. }))
            .await
    }

    /// A container that is created or runs, and its agent.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::State`].
    pub(crate) async fn live(&self, id: &Id) -> Result<(Arc<Container>, Sandbox), Error> {
        self.with_agent(id, ContainerState::is_live).await
    }

    async fn with_agent(
        &self,
        id: &Id,
        fits: impl FnOnce(&ContainerState) -> bool,
    ) -> Result<(Arc<Container>, Sandbox), Error> {
        let container = self.containers.resolve(id.as_str())?;
        if !fits(&container.state()) {
            return Err(container.not("is not running"));
        }
        let pod = self
            .pods
            .get(&container.facts().pod)
            .ok_or_else(|| container.not("belongs to a pod that is gone"))?;
        let sandbox = pod.sandbox().await?;
        Ok((container, sandbox))
    }
}

/// As Kubernetes checks it.
///
/// # Errors
/// [`Error::InvalidField`].
pub(super) fn check_streams(
    tty: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
) -> Result<(), Error> {
    if tty && stderr {
        let why = "is true together with tty: a terminal has one stream for both";
        return Err(invalid("stderr", why));
    }
    if !(stdin || stdout || stderr) {
        return Err(invalid(
            "stdin, stdout, stderr",
            "are all false: one of them is needed",
        ));
    }
    Ok(())
}

pub(super) fn invalid(field: &str, why: &str) -> Error {
    Error::InvalidField {
        field: field.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_checked_as_kubernetes_does() {
        for (tty, stdin, stdout, stderr, fits) in [
            (false, true, true, true, true),
            (true, true, true, false, true),
            (false, true, false, false, true),
            (true, false, true, true, false),
            (false, false, false, false, false),
        ] {
            let checked = check_streams(tty, stdin, stdout, stderr);
            assert_eq!(checked.is_ok(), fits, "{tty} {stdin} {stdout} {stderr}");
        }
    }
}

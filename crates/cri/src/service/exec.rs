//! Exec: prepares a command in a running container, with a client at its streams.

use super::Service;
use crate::{
    error::Error,
    spec::{Otherwise, RootfsFiles},
    streaming::{ExecRequest, Request},
    task::blocking,
};

/// What was asked for, before the container is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exec {
    /// Id of the container, or a prefix.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// The client writes its standard input.
    pub stdin: bool,
    /// The client reads its standard output.
    pub stdout: bool,
    /// The client reads its standard error.
    pub stderr: bool,
    /// Another user than the container's, name or id, with `:GROUP` if that is another too; empty:
    /// the container's.
    pub user: String,
    /// Variables beside the container's, NAME=value each.
    pub env: Vec<String>,
    /// Another working directory; empty: the container's.
    pub working_dir: String,
}

impl Service {
    /// Answers the URL of the stream; the command starts when a client connects there.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::NotFound`], [`Error::State`]; [`Error::Busy`].
    pub(crate) async fn exec(&self, exec: Exec) -> Result<String, Error> {
        if exec.command.first().is_none_or(String::is_empty) {
            return Err(super::attach::invalid("cmd", "is empty"));
        }
        super::attach::check_streams(exec.tty, exec.stdin, exec.stdout, exec.stderr)?;
        let container = self.containers.resolve(&exec.container)?;
        let (container, _) = self.running(container.id()).await?;
        let root = match exec.user.as_str() {
            "" => None,
            _ => Some(self.root_of(&container).await?),
        };
        let otherwise = blocking(move || {
            let files = || root.map_or_else(RootfsFiles::default, |root| root.user_files());
            Otherwise::checked(&exec.user, exec.env, exec.working_dir, files).map_err(Error::from)
        });
        let otherwise = otherwise.await?;
        self.streaming.url(Request::Exec(ExecRequest {
            container: container.id().clone(),
            command: exec.command,
            tty: exec.tty,
            stdin: exec.stdin,
            stdout: exec.stdout,
            stderr: exec.stderr,
            otherwise,
        }))
    }
}

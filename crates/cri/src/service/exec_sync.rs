//! ExecSync: a command in a running container, its output collected.

use std::time::Duration;

use oci::runtime::{ConsoleSize, Spec};
use sandbox::ExecRequest;

use super::Service;
use crate::{
    error::Error,
    layout::CONFIG,
    spec::{self, Otherwise},
    state::ContainerState,
    streaming::Size,
    task::blocking,
};

/// Most bytes of both streams together; the rest is thrown away.
const LIMIT: u64 = 15 << 20;

/// What a command wrote and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecResult {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error; says at its end if output was thrown away.
    pub stderr: Vec<u8>,
    /// Exit code; 128+n for signal n.
    pub exit_code: i32,
}

impl Service {
    /// Runs a command to its end. `timeout` in seconds, 0 for none.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::State`], [`Error::InvalidField`]; [`Error::ExecTimeout`] when
    /// it ran too long and was killed; the agent's answer.
    pub(crate) async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: i64,
    ) -> Result<ExecResult, Error> {
        let seconds = u64::try_from(timeout).map_err(|_| Error::InvalidField {
            field: "timeout".to_owned(),
            why: format!("is {timeout}: a number of seconds, 0 or more, is needed"),
        })?;
        let limit = (seconds != 0).then(|| Duration::from_secs(seconds));
        let container = self.containers.resolve(id)?;
        if !matches!(container.state(), ContainerState::Running { .. }) {
            return Err(container.not("is not running"));
        }
        let pod = self
            .pods
            .get(&container.facts().pod)
            .ok_or_else(|| container.not("belongs to a pod that is gone"))?;
        let config = container.dir().join(CONFIG);
        let process_json =
            blocking(move || process(&config, &command, None, &Otherwise::default())).await?;
        let request = ExecRequest {
            container: container.id().to_string(),
            process_json,
            timeout: limit,
            max_bytes: LIMIT,
        };
        match pod.sandbox().await?.exec_collect(&request).await {
            Ok(output) => {
                let mut stderr = output.stderr;
                if output.truncated {
                    let said = format!(
                        "\n[coffer: output beyond {} MiB was dropped]\n",
                        LIMIT >> 20
                    );
                    stderr.extend_from_slice(said.as_bytes());
                }
                Ok(ExecResult {
                    stdout: output.stdout,
                    stderr,
                    exit_code: output.exit_code,
                })
            }
            Err(sandbox::Error::ExecTimeout { limit, .. }) => Err(Error::ExecTimeout {
                id: container.id().clone(),
                limit,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// The process document of a command: the container's own with other arguments and what `otherwise`
/// says, and with a terminal if `terminal` is given, of that size if one is known. Blocks.
///
/// # Errors
/// [`Error::File`], [`Error::Record`]: the container's document; [`Error::Spec`]: the command.
pub(crate) fn process(
    config: &std::path::Path,
    command: &[String],
    terminal: Option<Option<Size>>,
    otherwise: &Otherwise,
) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(config).map_err(Error::file("read", config))?;
    let spec: Spec = serde_json::from_slice(&bytes).map_err(|source| Error::Record {
        path: config.to_owned(),
        source: std::sync::Arc::new(source),
    })?;
    let mut process = spec::exec_process(&spec, command, terminal.is_some(), otherwise)?;
    process.console_size = terminal.flatten().map(|size| ConsoleSize {
        height: size.rows.into(),
        width: size.columns.into(),
    });
    serde_json::to_vec(&process).map_err(|e| Error::Internal {
        what: format!("the process document: {e}"),
    })
}

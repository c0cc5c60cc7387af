//! Processes whose streams a client leads, and views of a container's output.
//!
//! Everything is pulled: what is not read stays in the process's pipe (an exec's) or in the view's
//! bounded buffer (a container's), so a reader that is slow holds no memory here.
//!
//! ```text
//! exec_start ─┬─ read(stdout) … empty = end     open_output ── read_output … ended ── close_output
//!             ├─ read(stderr) … empty = end
//!             ├─ write_stdin … close_stdin        a slow view loses output and is told how much;
//!             ├─ resize, signal_exec, kill_exec   the container and its log don't wait for it
//!             └─ wait_exec → exit code
//! ```
//! An exec'd process and a view end with the connection to the agent: when this program dies, the
//! process and its process group are killed and the view is closed.

use agent_api::{grpc, sandbox as wire};

use crate::{Error, ExecStart, OutputChunk, Sandbox, Stream, handle::ctx};

impl Sandbox {
    /// Runs a further process in a container that is created or running; answers its pid. It is
    /// killed with its process group when the connection to the agent ends. Its name is free again
    /// once [`Sandbox::wait_exec`] has answered.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND (no such container or executable), FAILED_PRECONDITION (the
    /// container has ended), ALREADY_EXISTS (the name is in use).
    pub async fn exec_start(&self, exec: &ExecStart) -> Result<i32, Error> {
        let request = wire::ExecProcessRequest {
            container_id: exec.container.clone(),
            exec_id: exec.exec_id.clone(),
            process_json: exec.process_json.clone(),
            stdin: exec.stdin,
            ends_with_connection: true,
        };
        let client = self.ours();
        let answer = self
            .call("ExecProcess", client.exec_process(ctx(), &request))
            .await?;
        Ok(answer.pid)
    }

    /// Waits for output of a process and returns at most `max` bytes of it (0: as much as the agent
    /// sends at once); empty is its end. Without a limit. Not for the first process of a container
    /// with a log file: [`Sandbox::open_output`] shows that.
    ///
    /// Dropping the future may lose bytes that are under way: end the process then.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND, FAILED_PRECONDITION (the output goes to a log file).
    pub async fn read(&self, stream: &Stream, max: u32) -> Result<Vec<u8>, Error> {
        let request = grpc::ReadStreamRequest {
            container_id: stream.container.clone(),
            exec_id: named(&stream.container, &stream.exec_id),
            len: max,
        };
        let client = self.published();
        let answer = if stream.stderr {
            let call = client.read_stderr(ctx(), &request);
            self.call_within("ReadStderr", None, call).await?
        } else {
            let call = client.read_stdout(ctx(), &request);
            self.call_within("ReadStdout", None, call).await?
        };
        Ok(answer.data)
    }

    /// Writes all of `data` to a process's standard input; `exec_id` empty is the container's first
    /// process. Without a limit: it waits for as long as the process does not read. Nothing is done
    /// for empty `data`.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND (no such process, or it has ended), FAILED_PRECONDITION (its
    /// standard input is closed).
    pub async fn write_stdin(
        &self,
        container: &str,
        exec_id: &str,
        data: &[u8],
    ) -> Result<(), Error> {
        // Below the largest message of the protocol, 4 MiB.
        const PIECE: usize = 1024 * 1024;
        for piece in data.chunks(PIECE) {
            let request = grpc::WriteStreamRequest {
                container_id: container.to_owned(),
                exec_id: named(container, exec_id),
                data: piece.to_vec(),
            };
            let client = self.published();
            self.call_within("WriteStdin", None, client.write_stdin(ctx(), &request))
                .await?;
        }
        Ok(())
    }

    /// Ends a process's standard input; with a terminal this types ^D. Again changes nothing.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND.
    pub async fn close_stdin(&self, container: &str, exec_id: &str) -> Result<(), Error> {
        let request = grpc::CloseStdinRequest {
            container_id: container.to_owned(),
            exec_id: named(container, exec_id),
        };
        let client = self.published();
        self.call("CloseStdin", client.close_stdin(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Sets the size of a process's terminal, in characters.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND, FAILED_PRECONDITION (it has no terminal).
    pub async fn resize(
        &self,
        container: &str,
        exec_id: &str,
        columns: u16,
        rows: u16,
    ) -> Result<(), Error> {
        let request = grpc::TtyWinResizeRequest {
            container_id: container.to_owned(),
            exec_id: named(container, exec_id),
            row: rows.into(),
            column: columns.into(),
        };
        let client = self.published();
        self.call("TtyWinResize", client.tty_win_resize(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Waits for the end of an exec'd process and answers its exit code, 128+n for signal n.
    /// Without a limit. The answer is given once.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND.
    pub async fn wait_exec(&self, container: &str, exec_id: &str) -> Result<i32, Error> {
        let request = grpc::WaitProcessRequest {
            container_id: container.to_owned(),
            exec_id: named(container, exec_id),
        };
        let client = self.published();
        let call = client.wait_process(ctx(), &request);
        Ok(self.call_within("WaitProcess", None, call).await?.status)
    }

    /// Sends a signal to an exec'd process.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND when it has ended.
    pub async fn signal_exec(
        &self,
        container: &str,
        exec_id: &str,
        signal: u32,
    ) -> Result<(), Error> {
        let request = grpc::SignalProcessRequest {
            container_id: container.to_owned(),
            exec_id: named(container, exec_id),
            signal,
        };
        let client = self.published();
        self.call("SignalProcess", client.signal_process(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Kills an exec'd process with its process group and forgets it, for a client that is gone:
    /// nobody needs to wait for it.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND when its end was told already.
    pub async fn kill_exec(&self, container: &str, exec_id: &str) -> Result<(), Error> {
        let request = wire::KillExecRequest {
            container_id: container.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        let client = self.ours();
        self.call("KillExec", client.kill_exec(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Sets a container's limits anew, from a runtime-spec `linux.resources` document; what it does
    /// not name stays as it is.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND, INVALID_ARGUMENT (the document), the kernel's refusal.
    pub async fn update_container(&self, id: &str, resources_json: &[u8]) -> Result<(), Error> {
        let request = wire::UpdateContainerRequest {
            id: id.to_owned(),
            resources_json: resources_json.to_vec(),
        };
        let client = self.ours();
        self.call("UpdateContainer", client.update_container(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Opens a view of the output of a container's first process, from now on; answers its number.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND, FAILED_PRECONDITION (its output has no log file: then
    /// [`Sandbox::read`] reads it).
    pub async fn open_output(&self, container: &str) -> Result<u64, Error> {
        let request = wire::OpenOutputRequest {
            container_id: container.to_owned(),
        };
        let client = self.ours();
        let answer = self
            .call("OpenOutput", client.open_output(ctx(), &request))
            .await?;
        Ok(answer.view)
    }

    /// Waits for output that a view has seen, at most `max` bytes of both streams together (0: 64
    /// KiB). Without a limit.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND once the view is closed, which the end of the connection to the
    /// agent does too.
    pub async fn read_output(
        &self,
        container: &str,
        view: u64,
        max: u32,
    ) -> Result<OutputChunk, Error> {
        let request = wire::ReadOutputRequest {
            container_id: container.to_owned(),
            view,
            max_bytes: max,
        };
        let client = self.ours();
        let call = client.read_output(ctx(), &request);
        let answer = self.call_within("ReadOutput", None, call).await?;
        Ok(OutputChunk {
            stdout: answer.stdout,
            stderr: answer.stderr,
            dropped: answer.dropped_bytes,
            ended: answer.ended,
        })
    }

    /// Closes a view. Again changes nothing.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND (no such container).
    pub async fn close_output(&self, container: &str, view: u64) -> Result<(), Error> {
        let request = wire::CloseOutputRequest {
            container_id: container.to_owned(),
            view,
        };
        let client = self.ours();
        self.call("CloseOutput", client.close_output(ctx(), &request))
            .await?;
        Ok(())
    }
}

/// An exec id as the calls that take "the container's id" for its first process want it.
fn named(container: &str, exec_id: &str) -> String {
    let name = if exec_id.is_empty() {
        container
    } else {
        exec_id
    };
    name.to_owned()
}

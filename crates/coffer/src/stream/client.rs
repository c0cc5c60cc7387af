//! The CRI calls that answer with a URL.

use cri_api::v1;

use crate::{
    client::{Daemon, limited, of},
    error::Error,
};

/// What an exec is to be.
#[derive(Debug)]
pub(crate) struct ExecTarget<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) command: &'a [String],
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
}

impl Daemon {
    /// A URL for a command in a container.
    pub(crate) async fn exec_url(&self, exec: &ExecTarget<'_>) -> Result<String, Error> {
        let request = v1::ExecRequest {
            container_id: exec.id.to_owned(),
            cmd: exec.command.to_vec(),
            tty: exec.tty,
            stdin: exec.stdin,
            stdout: true,
            // A terminal has one stream.
            stderr: !exec.tty,
        };
        let answer = self.runtime().exec(limited(request)).await;
        let what = format!(
            "run {:?} in container {}",
            exec.command.join(" "),
            exec.name
        );
        Ok(answer.map_err(of(&what))?.into_inner().url)
    }

    /// A URL for the streams of a container's first process.
    pub(crate) async fn attach_url(
        &self,
        id: &str,
        name: &str,
        stdin: bool,
        tty: bool,
        output: bool,
    ) -> Result<String, Error> {
        let request = v1::AttachRequest {
            container_id: id.to_owned(),
            stdin,
            tty,
            stdout: output,
            stderr: output && !tty,
        };
        let answer = self.runtime().attach(limited(request)).await;
        let what = format!("attach to container {name}");
        Ok(answer.map_err(of(&what))?.into_inner().url)
    }

    /// A URL for one connection to a port of a pod.
    pub(crate) async fn port_forward_url(
        &self,
        pod: &str,
        name: &str,
        port: u16,
    ) -> Result<String, Error> {
        let request = v1::PortForwardRequest {
            pod_sandbox_id: pod.to_owned(),
            port: vec![i32::from(port)],
        };
        let answer = self.runtime().port_forward(limited(request)).await;
        let what = format!("forward port {port} of pod {name}");
        Ok(answer.map_err(of(&what))?.into_inner().url)
    }
}

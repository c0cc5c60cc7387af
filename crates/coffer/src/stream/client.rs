//! The calls that answer with a URL.

use cri_api::{node, v1};

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
    /// Another user than the container's; empty: that one.
    pub(crate) user: &'a str,
    /// Variables beside the container's.
    pub(crate) env: &'a [(String, String)],
    /// Another working directory than the container's; empty: that one.
    pub(crate) working_dir: &'a str,
}

impl Daemon {
    /// A URL for a command in a container.
    pub(crate) async fn exec_url(&self, exec: &ExecTarget<'_>) -> Result<String, Error> {
        let variables = exec.env.iter();
        let request = node::ExecRequest {
            container_id: exec.id.to_owned(),
            command: exec.command.to_vec(),
            tty: exec.tty,
            stdin: exec.stdin,
            user: exec.user.to_owned(),
            env: variables
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
            working_dir: exec.working_dir.to_owned(),
        };
        let answer = self.node().exec(limited(request)).await;
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

//! `coffer.agent.v1.Sandbox`: what the published service cannot say.

use std::sync::Arc;

use agent_api::sandbox::{self, Sandbox};
use async_trait::async_trait;
use tokio::sync::mpsc;
use ttrpc::asynchronous::{ServerStreamSender, TtrpcContext};

use super::{Reply, detached, parse};
use crate::agent::Agent;
use crate::connection::Connection;
use crate::convert;
use crate::error::Error;
use crate::oom::Reader;
use crate::ops;
use crate::stdio::Sink;

/// The service.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) agent: Arc<Agent>,
    pub(super) connection: Connection,
}

#[async_trait]
impl Sandbox for Calls {
    async fn handshake(
        &self,
        _: &TtrpcContext,
        request: sandbox::HandshakeRequest,
    ) -> Reply<sandbox::HandshakeResponse> {
        if request.protocol != agent_api::PROTOCOL {
            let (theirs, ours) = (request.protocol, agent_api::PROTOCOL);
            let why = format!("protocol {theirs} was asked for, this agent speaks {ours}");
            return Err(Error::Precondition(why).into_status());
        }
        let (pid, start_ticks) = ops::details::own_process().map_err(Error::into_status)?;
        Ok(sandbox::HandshakeResponse {
            protocol: agent_api::PROTOCOL,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            pid,
            start_ticks,
            sandbox_id: self.agent.pod().map(|p| p.id.clone()).unwrap_or_default(),
        })
    }

    async fn create_sandbox(
        &self,
        _: &TtrpcContext,
        request: sandbox::CreateSandboxRequest,
    ) -> Reply<sandbox::CreateSandboxResponse> {
        let agent = Arc::clone(&self.agent);
        let pid =
            detached(
                async move { ops::sandbox::run(&agent, convert::sandbox_own(request)?).await },
            )
            .await?;
        Ok(sandbox::CreateSandboxResponse {
            reaper_pid: pid.unwrap_or(0),
        })
    }

    async fn create_container(
        &self,
        _: &TtrpcContext,
        request: sandbox::CreateContainerRequest,
    ) -> Reply<sandbox::CreateContainerResponse> {
        let agent = Arc::clone(&self.agent);
        let pid = detached(async move {
            if agent.pod().is_none() {
                return Err(Error::NoSandbox);
            }
            let create = parse(move || convert::create_own(request)).await?;
            ops::create::run(&agent, create).await
        })
        .await?;
        Ok(sandbox::CreateContainerResponse { pid })
    }

    async fn exec_process(
        &self,
        _: &TtrpcContext,
        request: sandbox::ExecProcessRequest,
    ) -> Reply<sandbox::ExecProcessResponse> {
        let agent = Arc::clone(&self.agent);
        let with = request
            .ends_with_connection
            .then(|| self.connection.clone());
        let pid = detached(async move {
            let exec = parse(move || convert::exec_own(request)).await?;
            ops::exec::run(&agent, exec, with.as_ref()).await
        })
        .await?;
        Ok(sandbox::ExecProcessResponse { pid })
    }

    async fn exec_collect(
        &self,
        _: &TtrpcContext,
        request: sandbox::ExecCollectRequest,
        client: ServerStreamSender<sandbox::ExecCollectEvent>,
    ) -> Reply<()> {
        let agent = Arc::clone(&self.agent);
        let name = ops::exec_collect::reserve(&agent, &request.container_id, &request.exec_id);
        let name = name.map_err(Error::into_status)?;
        let (listener, mut events) = mpsc::channel(1);
        let tell = async move {
            while let Some(event) = events.recv().await {
                if client.send(&convert::collected(event)).await.is_err() {
                    return;
                }
            }
        };
        let forward = async {
            // The client is gone: the receiver goes, and with it the process.
            tokio::select! {
                () = tell => {}
                () = self.connection.ended() => {}
            }
        };
        let work = detached(async move {
            let collect = parse(move || convert::collect(request)).await?;
            ops::exec_collect::run(&agent, collect, name, listener).await
        });
        tokio::join!(work, forward).0
    }

    async fn update_container(
        &self,
        _: &TtrpcContext,
        request: sandbox::UpdateContainerRequest,
    ) -> Reply<sandbox::UpdateContainerResponse> {
        let agent = Arc::clone(&self.agent);
        detached(async move {
            let json = request.resources_json;
            let resources = parse(move || convert::resources_own(&json)).await?;
            ops::update::run(&agent, &request.id, Some(resources)).await
        })
        .await?;
        Ok(sandbox::UpdateContainerResponse {})
    }

    async fn kill_exec(
        &self,
        _: &TtrpcContext,
        request: sandbox::KillExecRequest,
    ) -> Reply<sandbox::KillExecResponse> {
        let killed = ops::exec::kill(&self.agent, &request.container_id, &request.exec_id);
        killed
            .map(|()| sandbox::KillExecResponse {})
            .map_err(Error::into_status)
    }

    async fn open_output(
        &self,
        _: &TtrpcContext,
        request: sandbox::OpenOutputRequest,
    ) -> Reply<sandbox::OpenOutputResponse> {
        let view = ops::output::open(&self.agent, &request.container_id, &self.connection);
        view.map(|view| sandbox::OpenOutputResponse { view })
            .map_err(Error::into_status)
    }

    async fn read_output(
        &self,
        _: &TtrpcContext,
        request: sandbox::ReadOutputRequest,
    ) -> Reply<sandbox::ReadOutputResponse> {
        let max = usize::try_from(request.max_bytes).unwrap_or(usize::MAX);
        let chunk = ops::output::read(&self.agent, &request.container_id, request.view, max).await;
        let chunk = chunk.map_err(Error::into_status)?;
        Ok(sandbox::ReadOutputResponse {
            stdout: chunk.stdout,
            stderr: chunk.stderr,
            dropped_bytes: chunk.dropped,
            ended: chunk.ended,
        })
    }

    async fn close_output(
        &self,
        _: &TtrpcContext,
        request: sandbox::CloseOutputRequest,
    ) -> Reply<sandbox::CloseOutputResponse> {
        let closed = ops::output::close(&self.agent, &request.container_id, request.view);
        closed
            .map(|()| sandbox::CloseOutputResponse {})
            .map_err(Error::into_status)
    }

    async fn wait_container(
        &self,
        _: &TtrpcContext,
        request: sandbox::WaitContainerRequest,
    ) -> Reply<sandbox::ContainerState> {
        let container = ops::wait::container(&self.agent, &request.id).await;
        container
            .map(|c| convert::state(&c))
            .map_err(Error::into_status)
    }

    async fn list_containers(
        &self,
        _: &TtrpcContext,
        _: sandbox::ListContainersRequest,
    ) -> Reply<sandbox::ListContainersResponse> {
        let containers = self
            .agent
            .table
            .all()
            .iter()
            .map(|c| convert::state(c))
            .collect();
        Ok(sandbox::ListContainersResponse { containers })
    }

    async fn reopen_log(
        &self,
        _: &TtrpcContext,
        request: sandbox::ReopenLogRequest,
    ) -> Reply<sandbox::ReopenLogResponse> {
        let container = self
            .agent
            .table
            .get(&request.id)
            .map_err(Error::into_status)?;
        let Sink::Log(pump) = &container.init.streams.sink else {
            let why = format!("container {}: it has no log file", request.id);
            return Err(Error::Precondition(why).into_status());
        };
        let reopened = pump.reopen().await;
        let reopened = reopened.map_err(|e| {
            Error::io(
                "open anew",
                format!("the log of container {}", request.id),
                e,
            )
            .into_status()
        });
        reopened.map(|()| sandbox::ReopenLogResponse {})
    }

    async fn pod_stats(
        &self,
        _: &TtrpcContext,
        request: sandbox::PodStatsRequest,
    ) -> Reply<sandbox::PodStatsResponse> {
        let read = ops::stats::pod(&self.agent, &request.ids).await;
        let (pod, containers) = read.map_err(Error::into_status)?;
        let wire = |r: &ops::stats::Reading| convert::stats(&r.id, r.at_ns, &r.stats);
        Ok(sandbox::PodStatsResponse {
            pod: pod.as_ref().map(wire),
            containers: containers.iter().map(wire).collect(),
        })
    }

    async fn get_oom_event(
        &self,
        _: &TtrpcContext,
        _: sandbox::GetOomEventRequest,
    ) -> Reply<sandbox::OomEvent> {
        match self.agent.oom.next(Reader::Own).await {
            Some(event) => Ok(convert::oom_event(event)),
            None => Err(Error::Destroyed.into_status()),
        }
    }
}

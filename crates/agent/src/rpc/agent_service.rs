//! `grpc.AgentService`, as published.

use std::sync::Arc;

use agent_api::{Empty, grpc, types};
use async_trait::async_trait;
use ttrpc::asynchronous::TtrpcContext;

use super::{Reply, detached, parse};
use crate::agent::Agent;
use crate::args::Forms;
use crate::convert;
use crate::error::Error;
use crate::net::statistics;
use crate::oom::Reader;
use crate::ops;
use crate::ops::remove::Record;

/// The service.
#[derive(Debug)]
pub(super) struct Calls(pub(super) Arc<Agent>);

impl Calls {
    /// A read; its end is told in the form that the client expects.
    async fn read(&self, read: ops::streams::Read) -> Reply<grpc::ReadStreamResponse> {
        let data = ops::streams::read(&self.0, &read).await;
        match data.map_err(Error::into_status)? {
            data if data.is_empty() && self.0.forms == Forms::Kata32 => {
                Err(Error::Internal("read meet eof".into()).into_status())
            }
            data => Ok(grpc::ReadStreamResponse { data }),
        }
    }
}

/// Runs a call that returns nothing.
macro_rules! change {
    ($self:ident, |$agent:ident| $work:expr) => {{
        let $agent = Arc::clone(&$self.0);
        detached(async move { $work }).await.map(|_| Empty {})
    }};
}

#[async_trait]
impl grpc::AgentService for Calls {
    async fn create_sandbox(
        &self,
        _: &TtrpcContext,
        request: grpc::CreateSandboxRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| ops::sandbox::run(
            &agent,
            convert::sandbox_published(request)?
        )
        .await)
    }

    async fn destroy_sandbox(
        &self,
        _: &TtrpcContext,
        _: grpc::DestroySandboxRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| ops::destroy::run(&agent).await)
    }

    async fn create_container(
        &self,
        _: &TtrpcContext,
        request: grpc::CreateContainerRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| {
            let create = parse(move || convert::create_published(request)).await?;
            ops::create::run(&agent, create).await
        })
    }

    async fn start_container(
        &self,
        _: &TtrpcContext,
        request: grpc::StartContainerRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| ops::start::run(&agent, &request.container_id)
            .await)
    }

    async fn remove_container(
        &self,
        _: &TtrpcContext,
        request: grpc::RemoveContainerRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| {
            let (id, seconds) = (&request.container_id, request.timeout);
            ops::remove::run(&agent, id, seconds, Record::Remove).await
        })
    }

    async fn exec_process(
        &self,
        _: &TtrpcContext,
        request: grpc::ExecProcessRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| {
            let exec = parse(move || convert::exec_published(request)).await?;
            ops::exec::run(&agent, exec, None).await
        })
    }

    async fn signal_process(
        &self,
        _: &TtrpcContext,
        request: grpc::SignalProcessRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| {
            let (id, mut exec) = (&request.container_id, &request.exec_id);
            if exec.is_empty() && agent.forms == Forms::Kata32 {
                exec = id;
            }
            ops::signal::run(&agent, id, exec, request.signal).await
        })
    }

    async fn wait_process(
        &self,
        _: &TtrpcContext,
        request: grpc::WaitProcessRequest,
    ) -> Reply<grpc::WaitProcessResponse> {
        let status = ops::wait::process(&self.0, &request.container_id, &request.exec_id).await;
        status
            .map(|status| grpc::WaitProcessResponse { status })
            .map_err(Error::into_status)
    }

    async fn update_container(
        &self,
        _: &TtrpcContext,
        request: grpc::UpdateContainerRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| {
            let resources = convert::resources(request.resources)?;
            ops::update::run(&agent, &request.container_id, resources).await
        })
    }

    async fn pause_container(
        &self,
        _: &TtrpcContext,
        request: grpc::PauseContainerRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| ops::pause::pause(
            &agent,
            &request.container_id
        )
        .await)
    }

    async fn resume_container(
        &self,
        _: &TtrpcContext,
        request: grpc::ResumeContainerRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| ops::pause::resume(
            &agent,
            &request.container_id
        )
        .await)
    }

    async fn stats_container(
        &self,
        _: &TtrpcContext,
        request: grpc::StatsContainerRequest,
    ) -> Reply<grpc::StatsContainerResponse> {
        let reading = ops::stats::container(&self.0, &request.container_id).await;
        let reading = reading.map_err(Error::into_status)?;
        let agent = Arc::clone(&self.0);
        let network = Agent::blocking(move || statistics::all(&agent)).await;
        let network = network.map_err(Error::into_status)?;
        Ok(grpc::StatsContainerResponse {
            cgroup_stats: Some(convert::cgroup_stats(&reading.stats)),
            network_stats: network.iter().map(convert::network_stats).collect(),
        })
    }

    async fn write_stdin(
        &self,
        _: &TtrpcContext,
        request: grpc::WriteStreamRequest,
    ) -> Reply<grpc::WriteStreamResponse> {
        let (id, exec) = (&request.container_id, &request.exec_id);
        let len = ops::streams::write(&self.0, id, exec, &request.data).await;
        len.map(|len| grpc::WriteStreamResponse { len })
            .map_err(Error::into_status)
    }

    async fn close_stdin(
        &self,
        _: &TtrpcContext,
        request: grpc::CloseStdinRequest,
    ) -> Reply<Empty> {
        change!(self, |agent| {
            ops::streams::close(&agent, &request.container_id, &request.exec_id).await
        })
    }

    async fn read_stdout(
        &self,
        _: &TtrpcContext,
        request: grpc::ReadStreamRequest,
    ) -> Reply<grpc::ReadStreamResponse> {
        self.read(convert::read(request, false)).await
    }

    async fn read_stderr(
        &self,
        _: &TtrpcContext,
        request: grpc::ReadStreamRequest,
    ) -> Reply<grpc::ReadStreamResponse> {
        self.read(convert::read(request, true)).await
    }

    async fn tty_win_resize(
        &self,
        _: &TtrpcContext,
        request: grpc::TtyWinResizeRequest,
    ) -> Reply<Empty> {
        let (id, exec) = (&request.container_id, &request.exec_id);
        match ops::streams::resize(&self.0, id, exec, (request.row, request.column)) {
            Ok(()) => Ok(Empty {}),
            Err(Error::Precondition(why)) if self.0.forms == Forms::Kata32 => {
                Err(Error::Unavailable(why).into_status())
            }
            Err(e) => Err(e.into_status()),
        }
    }

    async fn get_oom_event(
        &self,
        _: &TtrpcContext,
        _: grpc::GetOomEventRequest,
    ) -> Reply<grpc::OomEvent> {
        match self.0.oom.next(Reader::Published).await {
            Some(event) => Ok(grpc::OomEvent {
                container_id: event.container,
            }),
            None => Err(Error::Destroyed.into_status()),
        }
    }

    async fn get_guest_details(
        &self,
        _: &TtrpcContext,
        request: grpc::GuestDetailsRequest,
    ) -> Reply<grpc::GuestDetailsResponse> {
        ops::details::run(&request).map_err(Error::into_status)
    }

    super::plain::plain_calls!();
}

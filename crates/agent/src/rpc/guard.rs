//! The policy in front of every call: one that it does not name is refused before its request is read.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use ttrpc::asynchronous::{MethodHandler, Service, StreamHandler, StreamInner, TtrpcContext};
use ttrpc::proto::ResponseInit as _;
use ttrpc::{Code, Request, Response};

use crate::agent::Agent;
use crate::args::Forms;

/// Asks the policy, then the call itself.
struct Guarded<H> {
    agent: Arc<Agent>,
    call: String,
    inner: H,
}

impl<H> Guarded<H> {
    /// What is answered instead; None: the call is allowed.
    fn refusal(&self) -> Option<Response> {
        if self.agent.policy.allows(&self.call) {
            return None;
        }
        // An empty answer is the end of the output: a client that reads on would never come to it.
        let (code, text) = match self.call.as_str() {
            "ReadStdout" | "ReadStderr" => (Code::OK, String::new()),
            call if self.agent.forms == Forms::Kata32 => {
                (Code::UNIMPLEMENTED, format!("{call} is blocked"))
            }
            call => (
                Code::PERMISSION_DENIED,
                format!("the policy does not allow {call}"),
            ),
        };
        Some(Response::init_status(ttrpc::get_status(code, text)))
    }
}

#[async_trait]
impl MethodHandler for Guarded<Box<dyn MethodHandler + Send + Sync>> {
    async fn handler(&self, context: TtrpcContext, request: Request) -> ttrpc::Result<Response> {
        match self.refusal() {
            Some(refusal) => Ok(refusal),
            None => self.inner.handler(context, request).await,
        }
    }
}

#[async_trait]
impl StreamHandler for Guarded<Arc<dyn StreamHandler + Send + Sync>> {
    async fn handler(
        &self,
        context: TtrpcContext,
        stream: StreamInner,
    ) -> ttrpc::Result<Option<Response>> {
        match self.refusal() {
            Some(refusal) => Ok(Some(refusal)),
            None => self.inner.handler(context, stream).await,
        }
    }
}

/// Puts the policy in front of all calls of `services`.
pub(super) fn guard(
    agent: &Arc<Agent>,
    services: HashMap<String, Service>,
) -> HashMap<String, Service> {
    let methods = services.values().flat_map(|s| s.methods.keys());
    let streams = services.values().flat_map(|s| s.streams.keys());
    agent.policy.know(methods.chain(streams));
    let guarded = services.into_iter().map(|(name, service)| {
        let methods = service.methods.into_iter().map(|(call, inner)| {
            let guarded = Guarded {
                agent: Arc::clone(agent),
                call: call.clone(),
                inner,
            };
            (
                call,
                Box::new(guarded) as Box<dyn MethodHandler + Send + Sync>,
            )
        });
        let streams = service.streams.into_iter().map(|(call, inner)| {
            let guarded = Guarded {
                agent: Arc::clone(agent),
                call: call.clone(),
                inner,
            };
            (
                call,
                Arc::new(guarded) as Arc<dyn StreamHandler + Send + Sync>,
            )
        });
        let service = Service {
            methods: methods.collect(),
            streams: streams.collect(),
        };
        (name, service)
    });
    guarded.collect()
}

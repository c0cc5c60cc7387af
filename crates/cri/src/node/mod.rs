//! `coffer.v1.Node`: our own side service, in front of the service. One call, one file.

mod chunks;
mod copy;
mod events;
mod exec;
mod explain;
mod import;
mod keep;
mod names;
mod pull;
mod signal;

use std::pin::Pin;

use cri_api::node::{
    CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse, Event, EventsRequest,
    ExecRequest, ExecResponse, ExplainRequest, ExplainResponse, ExportImagesRequest,
    ExportImagesResponse, ImportImageEvent, ImportImageRequest, PinImageRequest, PinImageResponse,
    PruneImagesRequest, PruneImagesResponse, PullImageEvent, PullImageRequest, PushImageEvent,
    PushImageRequest, SignalContainerRequest, SignalContainerResponse, TagImageRequest,
    TagImageResponse, UntagImageRequest, UntagImageResponse, VerifyImageRequest,
    VerifyImageResponse,
    node_server::{self, NodeServer},
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::service::Service;

type Answer<T> = Result<Response<T>, Status>;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The adapter.
#[derive(Debug, Clone)]
pub(crate) struct Node(Service);

/// The service `coffer.v1.Node`, with a limit on the bytes of a message.
pub(crate) fn service(service: &Service, request: usize) -> NodeServer<Node> {
    NodeServer::new(Node(service.clone())).max_decoding_message_size(request)
}

#[tonic::async_trait]
impl node_server::Node for Node {
    type ImportImageStream = Answers<ImportImageEvent>;
    type PushImageStream = Answers<PushImageEvent>;
    type ExportImagesStream = Answers<ExportImagesResponse>;
    type PullImageStream = Answers<PullImageEvent>;
    type EventsStream = Answers<Event>;
    type CopyOutStream = Answers<CopyOutResponse>;

    async fn import_image(
        &self,
        request: Request<Streaming<ImportImageRequest>>,
    ) -> Answer<Self::ImportImageStream> {
        import::import(&self.0, request.into_inner()).await
    }

    async fn pull_image(
        &self,
        request: Request<PullImageRequest>,
    ) -> Answer<Self::PullImageStream> {
        pull::pull(&self.0, request.into_inner())
    }

    async fn push_image(
        &self,
        request: Request<PushImageRequest>,
    ) -> Answer<Self::PushImageStream> {
        let events = names::push(&self.0, request.into_inner());
        Ok(Response::new(events))
    }

    async fn tag_image(&self, request: Request<TagImageRequest>) -> Answer<TagImageResponse> {
        names::tag(&self.0, request.into_inner()).await
    }

    async fn untag_image(&self, request: Request<UntagImageRequest>) -> Answer<UntagImageResponse> {
        names::untag(&self.0, request.into_inner()).await
    }

    async fn export_images(
        &self,
        request: Request<ExportImagesRequest>,
    ) -> Answer<Self::ExportImagesStream> {
        names::export(&self.0, request.into_inner()).await
    }

    async fn prune_images(
        &self,
        request: Request<PruneImagesRequest>,
    ) -> Answer<PruneImagesResponse> {
        keep::prune(&self.0, request.into_inner()).await
    }

    async fn pin_image(&self, request: Request<PinImageRequest>) -> Answer<PinImageResponse> {
        keep::pin(&self.0, request.into_inner()).await
    }

    async fn verify_image(
        &self,
        request: Request<VerifyImageRequest>,
    ) -> Answer<VerifyImageResponse> {
        keep::verify(&self.0, request.into_inner()).await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        explain::explain(&self.0, request.into_inner()).await
    }

    async fn events(&self, request: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        events::events(&self.0, request.into_inner()).await
    }

    async fn copy_out(&self, request: Request<CopyOutRequest>) -> Answer<Self::CopyOutStream> {
        copy::copy_out(&self.0, request.into_inner()).await
    }

    async fn copy_in(&self, request: Request<Streaming<CopyInRequest>>) -> Answer<CopyInResponse> {
        copy::copy_in(&self.0, request.into_inner()).await
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Answer<ExecResponse> {
        exec::exec(&self.0, request.into_inner()).await
    }

    async fn signal_container(
        &self,
        request: Request<SignalContainerRequest>,
    ) -> Answer<SignalContainerResponse> {
        signal::signal(&self.0, request.into_inner()).await
    }
}

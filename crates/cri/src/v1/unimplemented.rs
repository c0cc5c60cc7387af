//! Every call of `runtime.v1` that is not there yet: it answers UNIMPLEMENTED and says its name.
//!
//! The macros expand to the methods as `#[async_trait]` would write them, because that attribute
//! does not look into macros.

use tonic::Status;

/// What a call that is not there answers.
pub(crate) fn answer(rpc: &str) -> Status {
    Status::unimplemented(format!(
        "{rpc} is not implemented yet by this version of coffer"
    ))
}

/// Methods that answer UNIMPLEMENTED: `method: Request => Response, "Rpc";`.
macro_rules! unimplemented_rpcs {
    ($($method:ident: $request:ident => $response:ty, $rpc:literal;)*) => {
        $(
            fn $method<'life0, 'async_trait>(
                &'life0 self,
                _: tonic::Request<cri_api::v1::$request>,
            ) -> std::pin::Pin<
                Box<
                    dyn std::future::Future<
                            Output = Result<tonic::Response<$response>, tonic::Status>,
                        > + Send
                        + 'async_trait,
                >,
            >
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async { Err(crate::v1::unimplemented::answer($rpc)) })
            }
        )*
    };
}

/// The calls of RuntimeService, and the types of their streams.
macro_rules! unimplemented_runtime_rpcs {
    () => {
        type StreamPodSandboxesStream =
            tokio_stream::Empty<Result<cri_api::v1::StreamPodSandboxesResponse, tonic::Status>>;
        type StreamContainersStream =
            tokio_stream::Empty<Result<cri_api::v1::StreamContainersResponse, tonic::Status>>;
        type StreamContainerStatsStream =
            tokio_stream::Empty<Result<cri_api::v1::StreamContainerStatsResponse, tonic::Status>>;
        type StreamPodSandboxStatsStream =
            tokio_stream::Empty<Result<cri_api::v1::StreamPodSandboxStatsResponse, tonic::Status>>;
        type StreamPodSandboxMetricsStream = tokio_stream::Empty<
            Result<cri_api::v1::StreamPodSandboxMetricsResponse, tonic::Status>,
        >;

        crate::v1::unimplemented::unimplemented_rpcs! {
            stream_pod_sandboxes: StreamPodSandboxesRequest
                => Self::StreamPodSandboxesStream, "StreamPodSandboxes";
            stream_containers: StreamContainersRequest
                => Self::StreamContainersStream, "StreamContainers";
            update_container_resources: UpdateContainerResourcesRequest
                => cri_api::v1::UpdateContainerResourcesResponse, "UpdateContainerResources";
            stream_container_stats: StreamContainerStatsRequest
                => Self::StreamContainerStatsStream, "StreamContainerStats";
            pod_sandbox_stats: PodSandboxStatsRequest
                => cri_api::v1::PodSandboxStatsResponse, "PodSandboxStats";
            list_pod_sandbox_stats: ListPodSandboxStatsRequest
                => cri_api::v1::ListPodSandboxStatsResponse, "ListPodSandboxStats";
            stream_pod_sandbox_stats: StreamPodSandboxStatsRequest
                => Self::StreamPodSandboxStatsStream, "StreamPodSandboxStats";
            update_runtime_config: UpdateRuntimeConfigRequest
                => cri_api::v1::UpdateRuntimeConfigResponse, "UpdateRuntimeConfig";
            checkpoint_container: CheckpointContainerRequest
                => cri_api::v1::CheckpointContainerResponse, "CheckpointContainer";
            checkpoint_pod: CheckpointPodRequest
                => cri_api::v1::CheckpointPodResponse, "CheckpointPod";
            restore_pod: RestorePodRequest => cri_api::v1::RestorePodResponse, "RestorePod";
            list_metric_descriptors: ListMetricDescriptorsRequest
                => cri_api::v1::ListMetricDescriptorsResponse, "ListMetricDescriptors";
            list_pod_sandbox_metrics: ListPodSandboxMetricsRequest
                => cri_api::v1::ListPodSandboxMetricsResponse, "ListPodSandboxMetrics";
            stream_pod_sandbox_metrics: StreamPodSandboxMetricsRequest
                => Self::StreamPodSandboxMetricsStream, "StreamPodSandboxMetrics";
            update_pod_sandbox_resources: UpdatePodSandboxResourcesRequest
                => cri_api::v1::UpdatePodSandboxResourcesResponse, "UpdatePodSandboxResources";
        }
    };
}

/// The calls of ImageService, and the types of their streams.
macro_rules! unimplemented_image_rpcs {
    () => {
        type StreamImagesStream =
            tokio_stream::Empty<Result<cri_api::v1::StreamImagesResponse, tonic::Status>>;

        crate::v1::unimplemented::unimplemented_rpcs! {
            stream_images: StreamImagesRequest => Self::StreamImagesStream, "StreamImages";
            pull_image: PullImageRequest => cri_api::v1::PullImageResponse, "PullImage";
        }
    };
}

pub(super) use {unimplemented_image_rpcs, unimplemented_rpcs, unimplemented_runtime_rpcs};

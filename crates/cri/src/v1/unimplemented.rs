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

/// The calls of RuntimeService.
macro_rules! unimplemented_runtime_rpcs {
    () => {
        crate::v1::unimplemented::unimplemented_rpcs! {
            checkpoint_container: CheckpointContainerRequest
                => cri_api::v1::CheckpointContainerResponse, "CheckpointContainer";
            checkpoint_pod: CheckpointPodRequest
                => cri_api::v1::CheckpointPodResponse, "CheckpointPod";
            restore_pod: RestorePodRequest => cri_api::v1::RestorePodResponse, "RestorePod";
        }
    };
}

pub(super) use {unimplemented_rpcs, unimplemented_runtime_rpcs};

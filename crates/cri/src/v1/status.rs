//! Errors as gRPC statuses: code and the whole chain of causes as one sentence. Logged here, once.

use tonic::{Code as Grpc, Response, Status};

use crate::error::{Code, Error};

/// An answer, or the status of an error.
#[expect(clippy::result_large_err, reason = "the transport's own type")]
pub(crate) fn told<T, W>(
    result: Result<T, Error>,
    tell: impl FnOnce(T) -> W,
) -> Result<Response<W>, Status> {
    match result {
        Ok(value) => Ok(Response::new(tell(value))),
        Err(error) => Err(from(&error)),
    }
}

/// The status of an error.
pub(crate) fn from(error: &Error) -> Status {
    let message = error.chain();
    match error.code() {
        Code::Internal | Code::ResourceExhausted | Code::Unavailable => {
            tracing::error!(error = message, "a call failed");
        }
        _ => tracing::debug!(error = message, "a call was refused"),
    }
    Status::new(code(error.code()), message)
}

/// The status of a pull that failed. A kubelet tells people that the registry is unavailable when an
/// error of code UNKNOWN begins with this word, and of no other error.
pub(crate) fn of_pull(error: &Error) -> Status {
    let status = from(error);
    match error.code() {
        Code::Unavailable => Status::unknown(format!("RegistryUnavailable: {}", status.message())),
        _ => status,
    }
}

fn code(code: Code) -> Grpc {
    match code {
        Code::InvalidArgument => Grpc::InvalidArgument,
        Code::DeadlineExceeded => Grpc::DeadlineExceeded,
        Code::NotFound => Grpc::NotFound,
        Code::AlreadyExists => Grpc::AlreadyExists,
        Code::ResourceExhausted => Grpc::ResourceExhausted,
        Code::FailedPrecondition => Grpc::FailedPrecondition,
        Code::Unimplemented => Grpc::Unimplemented,
        Code::Internal => Grpc::Internal,
        Code::Unavailable => Grpc::Unavailable,
        Code::Unauthenticated => Grpc::Unauthenticated,
        Code::PermissionDenied => Grpc::PermissionDenied,
        Code::Cancelled => Grpc::Cancelled,
    }
}

//! Work that blocks, off the threads that serve.

use crate::error::Error;

/// Runs `work` on a thread that may block.
///
/// # Errors
/// Those of `work`; [`Error::Internal`] when it panics.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    E: Send + 'static,
    Error: From<E>,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Error::from),
        Err(error) => Err(Error::panicked(&error)),
    }
}

//! How many calls run, so that the daemon can end as soon as none does.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tower::Service;

/// Counts calls from their request to the head of their answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<AtomicUsize>);

impl Running {
    /// Whether no call runs.
    pub(super) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Puts the count around a service.
    pub(super) fn around<S>(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            running: self.clone(),
        }
    }

    fn enter(&self) -> Entered {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(self.clone())
    }
}

/// One call; it is over when this is dropped.
struct Entered(Running);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    inner: S,
    running: Running,
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let entered = self.running.enter();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(entered);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_counts_until_it_is_answered_or_dropped() {
        let running = Running::default();
        let mut service = running.around(tower::service_fn(|()| async {
            tokio::task::yield_now().await;
            Ok::<_, std::convert::Infallible>(())
        }));
        let (answered, dropped) = (service.call(()), service.call(()));
        assert!(!running.is_idle());
        answered.await.unwrap();
        assert!(!running.is_idle());
        drop(dropped);
        assert!(running.is_idle());
    }
}

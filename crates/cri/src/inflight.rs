//! Operations that clients can join.
//!
//! ```text
//! caller 1 ── run(key, request) ──► task ────────────────► result ─► caller 1 (gone? no matter)
//! caller 2 ── run(key, request) ──────┘ joins                     └► caller 2
//! caller 3 ── run(key, other)   ──► AlreadyExists, naming the field
//! ```
//! An operation is a task of its own: a client that hangs up never cancels half of it. The entry is
//! gone as soon as the result is there; what a finished operation made is found in the stores, which
//! `begin` looks at under the same short lock.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use futures::future::Shared;
use serde::Serialize;

use crate::{diff::first_difference, error::Error};

type Outcome<T> = Shared<Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>>;

/// The running operations of one kind.
#[derive(Debug)]
pub(crate) struct Inflight<K, R, T: Clone> {
    running: Arc<Mutex<HashMap<K, Running<R, T>>>>,
}

struct Running<R, T: Clone> {
    request: R,
    outcome: Outcome<T>,
}

impl<R, T: Clone> std::fmt::Debug for Running<R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

/// What there is to do for a call that finds no running operation.
pub(crate) enum Begin<T, F> {
    /// It was done before: this is the result.
    Done(Result<T, Error>),
    /// Do it.
    Run(F),
}

impl<K, R, T: Clone> Default for Inflight<K, R, T> {
    fn default() -> Self {
        Inflight {
            running: Arc::default(),
        }
    }
}

impl<K, R, T> Inflight<K, R, T>
where
    K: Eq + Hash + Clone + std::fmt::Display + Send + 'static,
    R: Serialize + PartialEq + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the operation on `key`, or asks `begin` for the finished result or a new operation.
    ///
    /// `begin` runs under the lock of the table: it must not block.
    ///
    /// # Errors
    /// [`Error::Differs`] when an operation with another request runs on the key; else what the
    /// operation answers.
    pub(crate) async fn run<F>(
        &self,
        key: K,
        request: R,
        begin: impl FnOnce() -> Begin<T, F>,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let outcome = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            match running.get(&key) {
                Some(same) if same.request == request => same.outcome.clone(),
                Some(other) => {
                    return Err(Error::Differs {
                        what: key.to_string(),
                        field: first_difference(&other.request, &request).unwrap_or_default(),
                    });
                }
                None => match begin() {
                    Begin::Done(result) => return result,
                    Begin::Run(operation) => {
                        let outcome = self.spawn(key.clone(), operation);
                        running.insert(
                            key,
                            Running {
                                request,
                                outcome: outcome.clone(),
                            },
                        );
                        outcome
                    }
                },
            }
        };
        outcome.await
    }

    /// How many operations run.
    pub(crate) fn len(&self) -> usize {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn spawn<F>(&self, key: K, operation: F) -> Outcome<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let table = Arc::clone(&self.running);
        let task = tokio::spawn(async move {
            // The entry goes also when the operation panics: a key must never stay taken.
            let _leave = Leave { table, key };
            operation.await
        });
        let outcome: Pin<Box<dyn Future<Output = Result<T, Error>> + Send>> =
            Box::pin(async move { task.await.unwrap_or_else(|e| Err(Error::panicked(&e))) });
        outcome.shared()
    }
}

struct Leave<K: Eq + Hash, R, T: Clone> {
    table: Arc<Mutex<HashMap<K, Running<R, T>>>>,
    key: K,
}

impl<K: Eq + Hash, R, T: Clone> Drop for Leave<K, R, T> {
    fn drop(&mut self) {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    type Ops = Inflight<String, Vec<u32>, u32>;

    fn counted(
        count: &Arc<AtomicU32>,
    ) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        let count = Arc::clone(count);
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(count.fetch_add(1, Ordering::SeqCst) + 1)
        }
    }

    #[tokio::test]
    async fn a_second_caller_joins() {
        let (ops, count) = (Ops::default(), Arc::default());
        let call = || ops.run("pod".to_owned(), vec![1], || Begin::Run(counted(&count)));
        let (a, b) = tokio::join!(call(), call());
        assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
        assert_eq!(ops.len(), 0);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_cancels_nothing() {
        let (ops, count) = (Ops::default(), Arc::<AtomicU32>::default());
        let call = ops.run("pod".to_owned(), vec![1], || Begin::Run(counted(&count)));
        assert!(
            tokio::time::timeout(Duration::from_millis(5), call)
                .await
                .is_err()
        );
        let done = async {
            while ops.len() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), done)
            .await
            .unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn another_request_on_the_key_is_refused_by_field() {
        let (ops, count) = (Ops::default(), Arc::default());
        let first = ops.run("pod".to_owned(), vec![1, 2], || Begin::Run(counted(&count)));
        let second = async {
            tokio::task::yield_now().await;
            ops.run("pod".to_owned(), vec![1, 3], || Begin::Run(counted(&count)))
                .await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first.unwrap(), 1);
        assert!(matches!(second, Err(Error::Differs { field, .. }) if field == "[1]"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_the_key() {
        let ops = Ops::default();
        let boom = async { panic!("on purpose") };
        let result = ops.run("pod".to_owned(), vec![], || Begin::Run(boom)).await;
        assert!(matches!(result, Err(Error::Internal { .. })));
        assert_eq!(ops.len(), 0);
    }

    #[tokio::test]
    async fn what_is_done_is_not_done_again() {
        let ops = Ops::default();
        let done = || Begin::<u32, std::future::Ready<Result<u32, Error>>>::Done(Ok(7));
        assert_eq!(ops.run("pod".to_owned(), vec![], done).await.unwrap(), 7);
    }
}

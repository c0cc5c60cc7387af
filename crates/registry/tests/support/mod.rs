//! What the tests of the client share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "test code: each binary uses a part, and a failure is a panic"
)]

use std::{fs, path::Path, sync::atomic::AtomicBool, time::Duration};

use image::{Error, FetchErrorKind as Kind, Image, Progress, PullOptions, Store};
use registry::{Access, Registry, Said, Settings};
use testing::registry::Server;
use tokio::runtime::Runtime;

/// A store that pulls, with a configuration of its own.
pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) settings: Settings,
}

impl Node {
    pub(crate) fn new() -> Node {
        let dir = tempfile::Builder::new()
            .prefix("coffer-registry-")
            .tempdir()
            .unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let settings = Settings {
            host_dirs: vec![dir.path().join("hosts")],
            auth_files: vec![dir.path().join("auth.json")],
            retries: 3,
            connect: Duration::from_secs(2),
            max_retry_after: Duration::from_secs(5),
            stall: Duration::from_secs(2),
            min_rate: 1024,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Node {
            dir,
            store,
            runtime,
            settings,
        }
    }

    /// Writes `hosts.toml` for a registry.
    pub(crate) fn hosts(&self, registry: &str, text: &str) {
        let dir = self.dir.path().join("hosts").join(registry);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("hosts.toml"), text).unwrap();
    }

    pub(crate) fn knows(&self, server: &Server) {
        self.hosts(&server.host(), &format!("server = {:?}", server.url()));
    }

    pub(crate) fn pull_with(
        &self,
        registry: &Registry,
        name: &str,
        said: &Said,
        cancel: &AtomicBool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Image, Error> {
        let reference = name.parse().unwrap();
        let handle = self.runtime.handle().clone();
        let session = registry
            .session(&reference, said, Access::Pull, handle)
            .map_err(|error| {
                // The same words as through the store.
                Error::Invalid(error.to_string())
            })?;
        let options = PullOptions::default();
        self.store
            .pull(&reference, &session, &options, progress, cancel)
    }

    pub(crate) fn pull(&self, name: &str) -> Result<Image, Error> {
        self.pull_as(name, &Said::default())
    }

    pub(crate) fn pull_as(&self, name: &str, said: &Said) -> Result<Image, Error> {
        let registry = Registry::new(self.settings.clone());
        self.pull_with(&registry, name, said, &AtomicBool::new(false), &|_| ())
    }

    /// Nothing is left of a pull that has failed.
    pub(crate) fn assert_empty(&self) {
        let store = self.dir.path().join("store");
        let names = |dir: &Path| -> Vec<String> {
            let entries = fs::read_dir(dir).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        assert!(self.store.list().unwrap().is_empty());
        for dir in ["images/tmp", "images/blobs/sha256", "layers"] {
            assert_eq!(names(&store.join(dir)), [""; 0], "{dir}");
        }
    }
}

pub(crate) fn kind(error: &Error) -> Option<Kind> {
    match error {
        Error::Fetch(kind, _) => Some(*kind),
        _ => None,
    }
}

pub(crate) fn password(user: &str, password: &str) -> Said {
    Said {
        username: user.into(),
        password: password.into(),
        ..Said::default()
    }
}

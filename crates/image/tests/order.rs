//! In which order a pull's layers begin, and that no order keeps any of them waiting for good.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use image::{Document, FetchError, Progress, PullOptions, Remote, Source, Stopped};
use support::{fixture, memory::Memory};
use testing::{image::Builder, layer::Layer};

/// Calls a function before it gives a blob.
struct Held<'a> {
    memory: Memory<'a>,
    before: &'a (dyn Fn(&str) + Sync),
}

impl Source for Held<'_> {
    fn digest(&self, stopped: Stopped<'_>) -> Result<Option<String>, FetchError> {
        self.memory.digest(stopped)
    }

    fn manifest(
        &self,
        digest: Option<&str>,
        limit: u64,
        stopped: Stopped<'_>,
    ) -> Result<Document, FetchError> {
        self.memory.manifest(digest, limit, stopped)
    }

    fn blob<'a>(
        &'a self,
        blob: &Remote,
        stopped: Stopped<'a>,
    ) -> Result<Box<dyn Read + Send + 'a>, FetchError> {
        (self.before)(&blob.digest);
        self.memory.blob(blob, stopped)
    }
}

/// Which layers were asked for.
#[derive(Default)]
struct Asked {
    layers: Mutex<BTreeSet<String>>,
    bell: Condvar,
}

impl Asked {
    fn add(&self, digest: &str) {
        self.layers.lock().unwrap().insert(digest.to_owned());
        self.bell.notify_all();
    }

    fn wait_for(&self, wanted: &[String]) {
        let layers = self.layers.lock().unwrap();
        let missing =
            |layers: &mut BTreeSet<String>| !wanted.iter().all(|digest| layers.contains(digest));
        let long = Duration::from_secs(20);
        let wait = self.bell.wait_timeout_while(layers, long, missing).unwrap();
        assert!(!wait.1.timed_out(), "{wanted:?} do not begin: {:?}", wait.0);
    }
}

#[test]
fn a_large_layer_on_top_does_not_begin_when_the_small_ones_are_done() {
    let mut builder = Builder::new("a/app:1");
    for number in 0..8 {
        builder = builder.layer(Layer::new().file(&format!("small-{number}"), 0o644, b"small"));
    }
    let built = builder
        .layer(Layer::new().file("large", 0o644, &vec![7; 1 << 20]))
        .build()
        .unwrap();
    // No layer comes before the last one was asked for.
    let asked = Asked::default();
    let before = |digest: &str| {
        if built.layers.iter().any(|layer| layer == digest) {
            asked.add(digest);
            asked.wait_for(&built.layers[8..]);
        }
    };
    let gate = Held {
        memory: Memory(&built),
        before: &before,
    };
    let f = fixture();
    let (options, cancel) = (PullOptions::default(), AtomicBool::new(false));
    let reference = "a/app:1".parse().unwrap();
    let pulled = f
        .store
        .pull(&reference, &gate, &options, &|_| (), &cancel)
        .unwrap();
    assert_eq!(pulled.layers.len(), 9);
}

#[test]
fn large_layers_that_wait_for_those_below_leave_a_worker_for_these() {
    // None of the upper ones names the directory that its file is in: each has to look below.
    let mut builder = Builder::new("a/app:1");
    for number in 0..12usize {
        let content = vec![7; 1 + number * 100_000];
        builder = builder.layer(Layer::new().file(&format!("a/b/{number}"), 0o644, &content));
    }
    let built = builder.build().unwrap();
    let f = fixture();
    let (options, cancel) = (PullOptions::default(), AtomicBool::new(false));
    let done = AtomicBool::new(false);
    let pulled = thread::scope(|scope| {
        scope.spawn(|| {
            // A pull that hangs is a failure, not a test without an end.
            let began = Instant::now();
            while !done.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(20));
            }
            cancel.store(true, Ordering::Relaxed);
        });
        let reference = "a/app:1".parse().unwrap();
        let pulled = f
            .store
            .pull(&reference, &Memory(&built), &options, &|_| (), &cancel);
        done.store(true, Ordering::Relaxed);
        pulled
    });
    assert_eq!(pulled.unwrap().layers.len(), 12);
}

#[test]
fn a_layer_that_does_not_describe_the_root_waits_for_none_below_and_gets_theirs() {
    let mut builder =
        Builder::new("a/app:1").layer(Layer::new().dir("./", 0o710).file("a", 0o644, b"a"));
    for number in 0..11usize {
        let content = vec![7; 1 + number * 1000];
        builder = builder.layer(Layer::new().file(&format!("upper-{number}"), 0o644, &content));
    }
    let built = builder.build().unwrap();
    // The lowest layer comes when all others were asked for.
    let asked = Asked::default();
    let (lowest, others) = built.layers.split_first().unwrap();
    let before = |digest: &str| {
        asked.add(digest);
        if digest == lowest {
            asked.wait_for(others);
        }
    };
    let source = Held {
        memory: Memory(&built),
        before: &before,
    };
    let f = fixture();
    let (options, cancel) = (PullOptions::default(), AtomicBool::new(false));
    let reference = "a/app:1".parse().unwrap();
    let told = Mutex::new(BTreeSet::new());
    let progress = |progress: Progress| {
        if let Progress::LayerDone { index, .. } = progress {
            told.lock().unwrap().insert(index);
        }
    };
    let pulled = f
        .store
        .pull(&reference, &source, &options, &progress, &cancel)
        .unwrap();
    assert_eq!(pulled.layers.len(), 12);
    assert_eq!(told.into_inner().unwrap(), (0..12).collect());
    let roots: BTreeSet<_> = fs::read_dir(f.root().join("layers"))
        .unwrap()
        .filter_map(|entry| fs::metadata(entry.unwrap().path().join("diff")).ok())
        .map(|root| (root.mode() & 0o7777, root.mtime(), root.mtime_nsec()))
        .collect();
    let modes: Vec<u32> = roots.iter().map(|(mode, ..)| *mode).collect();
    assert_eq!(modes, [0o710], "{roots:?}");
}

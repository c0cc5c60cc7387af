//! Pulls at the same time that want the same layers: each layer is fetched and unpacked once, and
//! nobody is hurt by another's end.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use image::{Error, Image, Progress, rootfs_read};
use registry::{Registry, Said, Settings};
use support::Node;
use testing::{
    image::{Builder, Built},
    layer::Layer,
    registry::{Fault, Server},
};

const BASE: usize = 600_000;

/// Content that does not compress well, so that a blob has some length.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let bytes = (0..BASE).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[5]
    });
    bytes.collect()
}

fn base() -> Layer {
    Layer::new()
        .dir("etc", 0o751)
        .file("etc/base", 0o640, &noise(3))
}

/// An image on the shared base; its own file stands in a directory that only the base names.
fn on_base(name: &str) -> Built {
    Builder::new(&format!("lib/{name}:1"))
        .layer(base())
        .layer(Layer::new().file("etc/own", 0o600, name.as_bytes()))
        .build()
        .unwrap()
}

/// A node, a registry, and images of these names in it.
struct Scene {
    node: Node,
    server: Server,
    registry: Registry,
    names: Vec<String>,
}

impl Scene {
    fn new(images: &[(&str, &Built)]) -> Scene {
        let (node, server) = (Node::new(), Server::start().unwrap());
        node.knows(&server);
        let names = images
            .iter()
            .map(|(name, built)| server.put(&format!("lib/{name}"), "1", built))
            .collect();
        let registry = Registry::new(Settings {
            stall: Duration::from_secs(100),
            ..node.settings.clone()
        });
        Scene {
            node,
            server,
            registry,
            names,
        }
    }

    fn pull(&self, at: usize, cancel: &AtomicBool) -> Result<Image, Error> {
        self.watched(at, cancel, &|_| ())
    }

    fn watched(
        &self,
        at: usize,
        cancel: &AtomicBool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Image, Error> {
        let (name, said) = (&self.names[at], Said::default());
        self.node
            .pull_with(&self.registry, name, &said, cancel, progress)
    }

    /// How often a blob was fetched.
    fn fetched(&self, digest: &str) -> usize {
        let asked = self.server.asked();
        let of = |line: &&String| line.starts_with("GET") && line.contains(digest);
        asked.iter().filter(of).count()
    }

    fn until_fetched(&self, digest: &str) {
        let began = Instant::now();
        while self.fetched(digest) == 0 {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{digest} was not asked for: {:?}",
                self.server.asked()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Nothing passing lies around.
    fn assert_tidy(&self, layers: usize) {
        let store = self.node.dir.path().join("store");
        let count = |dir: &str| fs::read_dir(store.join(dir)).unwrap().count();
        assert_eq!(count("images/tmp"), 0);
        assert_eq!(count("layers"), layers);
    }
}

fn read(image: &Image, path: &str) -> Option<Vec<u8>> {
    rootfs_read(&image.layers, path, 1 << 20).unwrap()
}

#[test]
fn two_images_that_share_a_layer_fetch_and_unpack_it_once() {
    let (one, two) = (on_base("one"), on_base("two"));
    assert_eq!(one.layers[0], two.layers[0]);
    let scene = Scene::new(&[("one", &one), ("two", &two)]);
    // Slow enough that both want it while it comes.
    scene
        .server
        .fault(&one.layers[0], 100, Fault::Slow { rate: 1_000_000 });
    let go = AtomicBool::new(false);
    let seen = Mutex::new((0, Vec::new()));
    let watch = |progress: Progress| {
        let mut seen = seen.lock().unwrap();
        match progress {
            Progress::Unpack { index: 0, .. } => seen.0 += 1,
            Progress::LayerDone { index, shared, .. } => seen.1.push((index, shared)),
            _ => {}
        }
    };
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| scene.pull(0, &go).unwrap());
        scene.until_fetched(&one.layers[0]);
        let second = scope.spawn(|| scene.watched(1, &go, &watch).unwrap());
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(
        scene.fetched(&one.layers[0]),
        1,
        "{:?}",
        scene.server.asked()
    );
    assert_eq!(first.layers[1], second.layers[1], "one directory");
    for (image, name) in [(&first, "one"), (&second, "two")] {
        assert_eq!(read(image, "etc/own").as_deref(), Some(name.as_bytes()));
        assert!(read(image, "etc/base") == Some(noise(3)));
    }
    let (ticks, mut done) = seen.into_inner().unwrap();
    done.sort_unstable();
    assert_eq!(
        done,
        [(0, true), (1, false)],
        "the second only waited for it"
    );
    assert!(ticks > 1, "and saw it come");
    scene.assert_tidy(3);
    // Each is whole without the other.
    for (gone, left) in [(&first, &second), (&second, &first)] {
        let scene = Scene::new(&[("one", &one), ("two", &two)]);
        let both = [0, 1].map(|at| scene.pull(at, &go).unwrap());
        assert!(scene.node.store.remove(&gone.id, &|_| false).unwrap());
        let left = both.iter().find(|image| image.id == left.id).unwrap();
        assert!(read(left, "etc/base") == Some(noise(3)));
        scene.assert_tidy(2);
    }
}

#[test]
fn who_waits_takes_over_when_the_one_who_fetches_is_cancelled() {
    let (one, two) = (on_base("one"), on_base("two"));
    let scene = Scene::new(&[("one", &one), ("two", &two)]);
    let (stop, go) = (AtomicBool::new(false), AtomicBool::new(false));
    scene
        .server
        .fault(&one.layers[0], 1, Fault::Hang { after: 100_000 });
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| scene.pull(0, &stop));
        scene.until_fetched(&one.layers[0]);
        let second = scope.spawn(|| scene.pull(1, &go));
        // Its own layer comes beside the one that it waits for.
        scene.until_fetched(&two.layers[1]);
        thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        (first.join().unwrap(), second.join().unwrap())
    });
    assert!(matches!(first, Err(Error::Cancelled)), "{first:?}");
    assert!(read(&second.unwrap(), "etc/base") == Some(noise(3)));
    assert_eq!(
        scene.fetched(&one.layers[0]),
        2,
        "{:?}",
        scene.server.asked()
    );
    scene.assert_tidy(2);
}

#[test]
fn who_waits_can_go_and_who_fetches_goes_on() {
    let (one, two) = (on_base("one"), on_base("two"));
    let scene = Scene::new(&[("one", &one), ("two", &two)]);
    let (stop, go) = (AtomicBool::new(false), AtomicBool::new(false));
    scene
        .server
        .fault(&one.layers[0], 1, Fault::Slow { rate: 500_000 });
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| scene.pull(0, &go));
        scene.until_fetched(&one.layers[0]);
        let second = scope.spawn(|| scene.pull(1, &stop));
        scene.until_fetched(&two.layers[1]);
        stop.store(true, Ordering::Relaxed);
        (first.join().unwrap(), second.join().unwrap())
    });
    assert!(matches!(second, Err(Error::Cancelled)), "{second:?}");
    assert!(read(&first.unwrap(), "etc/base") == Some(noise(3)));
    assert_eq!(scene.fetched(&one.layers[0]), 1);
    scene.assert_tidy(2);
}

#[test]
fn a_layer_outlives_the_pull_that_made_it_and_failed() {
    let (one, two) = (on_base("one"), on_base("two"));
    let scene = Scene::new(&[("one", &one), ("two", &two)]);
    let go = AtomicBool::new(false);
    // The base comes at once; what the first needs besides never does, what the second needs comes
    // late: it still holds the base when the first has failed.
    scene
        .server
        .fault(&one.layers[1], 100, Fault::Slow { rate: 40 });
    scene
        .server
        .fault(&two.layers[1], 1, Fault::Slow { rate: 60 });
    let stop = AtomicBool::new(false);
    let based = AtomicBool::new(false);
    let shared = |progress: Progress| {
        if matches!(progress, Progress::LayerDone { index: 0, .. }) {
            based.store(true, Ordering::Relaxed);
        }
    };
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| scene.pull(0, &stop));
        scene.until_fetched(&one.layers[1]);
        let second = scope.spawn(|| scene.watched(1, &go, &shared));
        let began = Instant::now();
        while !based.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(2));
        }
        stop.store(true, Ordering::Relaxed);
        (first.join().unwrap(), second.join().unwrap())
    });
    assert!(matches!(first, Err(Error::Cancelled)), "{first:?}");
    let second = second.unwrap();
    assert!(read(&second, "etc/base") == Some(noise(3)));
    assert_eq!(read(&second, "etc/own").as_deref(), Some(&b"two"[..]));
    assert_eq!(scene.fetched(&one.layers[0]), 1);
    scene.assert_tidy(2);
}

#[test]
fn what_a_removal_left_for_a_pull_goes_when_that_has_failed() {
    let (one, two) = (on_base("one"), on_base("two"));
    let scene = Scene::new(&[("one", &one), ("two", &two)]);
    let (stop, go) = (AtomicBool::new(false), AtomicBool::new(false));
    let nobody = |_: &image::LayerId| false;
    scene
        .server
        .fault(&two.layers[1], 100, Fault::Slow { rate: 10 });
    let first = scene.pull(0, &go).unwrap();
    let (ring, rung) = std::sync::mpsc::channel();
    scene.node.store.when_freed(move || ring.send(()).unwrap());
    let second = thread::scope(|scope| {
        let second = scope.spawn(|| scene.pull(1, &stop));
        scene.until_fetched(&two.layers[1]);
        // The second builds on the base: it stays.
        assert!(scene.node.store.remove(&first.id, &nobody).unwrap());
        assert!(!scene.node.store.gc(&nobody).is_ok_and(|freed| freed > 0));
        assert!(rung.try_recv().is_err(), "nothing is free yet");
        stop.store(true, Ordering::Relaxed);
        second.join().unwrap()
    });
    assert!(matches!(second, Err(Error::Cancelled)), "{second:?}");
    // The end of the pull has told of it.
    rung.try_recv().unwrap();
    assert!(scene.node.store.gc(&nobody).unwrap() > 0);
    scene.node.assert_empty();
    // Who lets go of what no removal wanted rings nobody.
    assert!(scene.node.store.lease(&first.id).unwrap().is_none());
    scene.pull(0, &go).unwrap();
    drop(scene.node.store.lease(&first.id).unwrap().unwrap());
    assert!(rung.try_recv().is_err());
    // The same of a lease, with which a container is made.
    let lease = scene.node.store.lease(&first.id).unwrap().unwrap();
    assert!(scene.node.store.remove(&first.id, &nobody).unwrap());
    assert!(rung.try_recv().is_err());
    drop(lease);
    rung.try_recv().unwrap();
    assert!(scene.node.store.gc(&nobody).unwrap() > 0);
    scene.node.assert_empty();
}

#[test]
fn one_blob_at_different_heights_is_fetched_once() {
    let image = |name: &str, first: Layer, second: Layer| {
        let builder = Builder::new(&format!("lib/{name}:1"));
        builder.layer(first).layer(second).build().unwrap()
    };
    let other = || Layer::new().file("other", 0o600, &noise(5));
    // Each needs what the other has at another place: nobody waits in a circle.
    let one = image("one", base(), other());
    let two = image("two", other(), base());
    let scene = Scene::new(&[("one", &one), ("two", &two)]);
    for layer in &one.layers {
        scene
            .server
            .fault(layer, 100, Fault::Slow { rate: 1_000_000 });
    }
    let go = AtomicBool::new(false);
    let both = thread::scope(|scope| {
        let pulls = [0, 1].map(|at| {
            let (scene, go) = (&scene, &go);
            scope.spawn(move || scene.pull(at, go).unwrap())
        });
        pulls.map(|pull| pull.join().unwrap())
    });
    for image in &both {
        assert!(read(image, "etc/base") == Some(noise(3)));
        assert!(read(image, "other") == Some(noise(5)));
    }
    for layer in &one.layers {
        assert_eq!(scene.fetched(layer), 1, "{:?}", scene.server.asked());
    }
    scene.assert_tidy(4);
}

#[test]
fn many_pulls_of_many_images_end_and_fetch_each_layer_once() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let built: Vec<Built> = names.iter().map(|name| on_base(name)).collect();
    let images: Vec<(&str, &Built)> = names.iter().copied().zip(&built).collect();
    let scene = Scene::new(&images);
    scene
        .server
        .fault(&built[0].layers[0], 100, Fault::Slow { rate: 2_000_000 });
    let go = AtomicBool::new(false);
    thread::scope(|scope| {
        let pulls: Vec<_> = (0..names.len())
            .map(|at| {
                let (scene, go) = (&scene, &go);
                scope.spawn(move || scene.pull(at, go).unwrap())
            })
            .collect();
        for (pull, name) in pulls.into_iter().zip(names) {
            let image = pull.join().unwrap();
            assert_eq!(read(&image, "etc/own").as_deref(), Some(name.as_bytes()));
        }
    });
    assert_eq!(scene.fetched(&built[0].layers[0]), 1);
    scene.assert_tidy(1 + names.len());
}

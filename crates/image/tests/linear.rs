//! Pulls, removals, prunes, collections and containers at once, over images that share layers: what
//! each was told fits one order of all of them (the history is linearizable), no container ever
//! stands on a layer that is gone, and in the end nothing is left.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use image::{LayerId, PullOptions, Reference, rootfs_read};
use support::{fixture, memory::Memory};
use testing::{
    image::{Builder, Built},
    layer::Layer,
};

/// Tags of one repository may move between images; another repository has one of its own.
const NAMES: [&str; 3] = ["r/a:1", "r/a:2", "r/b:1"];
const THREADS: u64 = 4;
const STEPS: usize = 40;

fn images() -> Vec<Built> {
    let base = Layer::new()
        .dir("etc", 0o755)
        .file("etc/base", 0o644, b"base");
    let middle = Layer::new().file("etc/middle", 0o644, b"middle");
    (0..3)
        .map(|number: usize| {
            let text = number.to_string();
            let top = Layer::new().file("etc/number", 0o644, text.as_bytes());
            let builder = Builder::new("x/x:1").layer(base.clone());
            let builder = match number {
                // Not all share as much.
                2 => builder,
                _ => builder.layer(middle.clone()),
            };
            builder.layer(top).build().unwrap()
        })
        .collect()
}

/// What was asked and answered about one name: an image is known by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Pull(usize),
    Remove { there: bool },
    Look(Option<usize>),
}

#[derive(Debug, Clone, Copy)]
struct Done {
    from: u64,
    to: u64,
    act: Act,
}

/// Whether some order of `history`, in which nothing comes before what ended before it began, is one
/// that a single name, changed by one after another, could have seen.
fn linearizable(history: &[Done]) -> bool {
    assert!(history.len() <= 128, "the set of what is done is a number");
    let all = if history.len() == 128 {
        u128::MAX
    } else {
        (1 << history.len()) - 1
    };
    let mut seen = HashSet::new();
    let mut todo = vec![(0u128, None::<usize>)];
    while let Some((done, value)) = todo.pop() {
        if done == all {
            return true;
        }
        if !seen.insert((done, value)) {
            continue;
        }
        let open = || {
            history
                .iter()
                .enumerate()
                .filter(|(at, _)| done & (1 << at) == 0)
        };
        // Whoever began after another had ended comes after it.
        let first_end = open().map(|(_, one)| one.to).min().unwrap_or(u64::MAX);
        for (at, one) in open().filter(|(_, one)| one.from <= first_end) {
            let next = match one.act {
                Act::Pull(number) => Some(Some(number)),
                Act::Remove { there } => (value.is_some() == there).then_some(None),
                Act::Look(found) => (found == value).then_some(value),
            };
            if let Some(next) = next {
                todo.push((done | (1 << at), next));
            }
        }
    }
    false
}

#[test]
fn the_checker_knows_an_impossible_history() {
    let done = |from, to, act| Done { from, to, act };
    let pull = done(0, 1, Act::Pull(1));
    assert!(linearizable(&[pull, done(2, 3, Act::Look(Some(1)))]));
    assert!(!linearizable(&[pull, done(2, 3, Act::Look(None))]));
    // At the same time either may be first.
    assert!(linearizable(&[pull, done(0, 3, Act::Look(None))]));
    let removed = done(2, 3, Act::Remove { there: true });
    assert!(linearizable(&[pull, removed]));
    let again = done(4, 5, Act::Remove { there: true });
    assert!(!linearizable(&[pull, removed, again]));
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

#[test]
fn pulls_removals_and_containers_at_once_fit_one_order() {
    let f = fixture();
    let images = images();
    let number_of = |id: &str| images.iter().position(|image| image.config == id).unwrap();
    let clock = AtomicU64::new(0);
    let history: Mutex<BTreeMap<&str, Vec<Done>>> = Mutex::default();
    let uses: Mutex<Vec<Vec<LayerId>>> = Mutex::default();
    let in_use = |layer: &LayerId| uses.lock().unwrap().iter().any(|one| one.contains(layer));
    let one_step = |dice: &mut Dice| {
        let name = NAMES[dice.roll(NAMES.len())];
        let from = clock.fetch_add(1, Ordering::SeqCst);
        let act = match dice.roll(10) {
            0..=3 => {
                let number = dice.roll(images.len());
                let reference: Reference = name.parse().unwrap();
                let cancel = AtomicBool::new(false);
                let pulled = f.store.pull(
                    &reference,
                    &Memory(&images[number]),
                    &PullOptions::default(),
                    &|_| (),
                    &cancel,
                );
                assert_eq!(pulled.unwrap().id, images[number].config);
                Act::Pull(number)
            }
            4 | 5 => Act::Remove {
                there: f.store.untag(name, &in_use).unwrap(),
            },
            6 => {
                // Concerns only what has no tag, so no name.
                let pruned = f.store.prune(&|image| image.repo_tags.is_empty(), &in_use);
                assert!(
                    pruned
                        .unwrap()
                        .images
                        .iter()
                        .all(|one| one.repo_tags.is_empty())
                );
                f.store.gc(&in_use).unwrap();
                return;
            }
            7 => Act::Look(f.store.get(name).unwrap().map(|image| number_of(&image.id))),
            _ => {
                let lease = f.store.lease(name).unwrap();
                let found = lease.map(|lease| {
                    let image = lease.image().clone();
                    let layers = image.layers.iter();
                    let layers = layers.map(|diff| LayerId::of_diff(diff).unwrap()).collect();
                    uses.lock().unwrap().push(layers);
                    image
                });
                let to = clock.fetch_add(1, Ordering::SeqCst);
                let number = found.as_ref().map(|image| number_of(&image.id));
                let act = Act::Look(number);
                history
                    .lock()
                    .unwrap()
                    .entry(name)
                    .or_default()
                    .push(Done { from, to, act });
                if let Some(image) = found {
                    // A container: all that it stands on is there for as long as it lives.
                    for _ in 0..3 {
                        let read = |path| rootfs_read(&image.layers, path, 100).unwrap();
                        assert_eq!(read("etc/base").as_deref(), Some(&b"base"[..]));
                        let text = number.unwrap().to_string();
                        assert_eq!(read("etc/number").as_deref(), Some(text.as_bytes()));
                        std::thread::yield_now();
                    }
                    let ended: Vec<LayerId> = image
                        .layers
                        .iter()
                        .map(|diff| LayerId::of_diff(diff).unwrap())
                        .collect();
                    let mut uses = uses.lock().unwrap();
                    let at = uses.iter().position(|one| *one == ended).unwrap();
                    uses.swap_remove(at);
                }
                return;
            }
        };
        let to = clock.fetch_add(1, Ordering::SeqCst);
        history
            .lock()
            .unwrap()
            .entry(name)
            .or_default()
            .push(Done { from, to, act });
    };
    std::thread::scope(|scope| {
        for seed in 1..=THREADS {
            let one_step = &one_step;
            scope.spawn(move || {
                let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                (0..STEPS).for_each(|_| one_step(&mut dice));
            });
        }
    });
    for (name, history) in history.into_inner().unwrap() {
        assert!(history.len() > 10, "{name} was hardly asked about");
        assert!(linearizable(&history), "{name}: {history:#?}");
    }
    for image in f.store.list().unwrap() {
        f.store.untag(&image.id, &in_use).unwrap();
    }
    f.store.gc(&in_use).unwrap();
    assert_eq!(f.store.fs_info().unwrap().inodes_used, 0);
    for dir in ["layers", "images/blobs/sha256", "images/tmp"] {
        assert_eq!(
            fs::read_dir(f.root().join(dir)).unwrap().count(),
            0,
            "{dir}"
        );
    }
}

/// A removal is seen by all at once: whoever was told that the image is gone is not shown it again.
#[test]
fn nobody_sees_an_image_again_that_could_not_be_leased() {
    let f = fixture();
    let images = images();
    // Odd while a pull may bring the image.
    let pulls = AtomicU64::new(0);
    let (looks, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut gone = 0_u64;
            while !ended.load(Ordering::SeqCst) {
                looks.fetch_add(1, Ordering::SeqCst);
                let before = pulls.load(Ordering::SeqCst);
                if f.store.lease(NAMES[0]).unwrap().is_some() {
                    continue;
                }
                let shown = f.store.get(NAMES[0]).unwrap().is_some();
                if before.is_multiple_of(2) && pulls.load(Ordering::SeqCst) == before {
                    assert!(!shown, "it was gone, and no pull has brought it since");
                    gone += 1;
                }
            }
            gone
        });
        for _ in 0..30 {
            let (reference, cancel) = (NAMES[0].parse().unwrap(), AtomicBool::new(false));
            pulls.fetch_add(1, Ordering::SeqCst);
            f.store
                .pull(
                    &reference,
                    &Memory(&images[0]),
                    &PullOptions::default(),
                    &|_| (),
                    &cancel,
                )
                .unwrap();
            pulls.fetch_add(1, Ordering::SeqCst);
            assert!(f.store.untag(NAMES[0], &|_| false).unwrap());
            // The one look that may be under way, and a whole one.
            let seen = looks.load(Ordering::SeqCst);
            while looks.load(Ordering::SeqCst) < seen + 3 && !watch.is_finished() {
                std::thread::yield_now();
            }
        }
        ended.store(true, Ordering::SeqCst);
        assert!(watch.join().unwrap() > 0, "nobody looked in time");
    });
}

#[test]
fn a_lease_keeps_an_image_whole_and_a_prune_leaves_what_is_kept() {
    let f = fixture();
    let images = images();
    let nobody = |_: &LayerId| false;
    let pull = |name: &str, number: usize| {
        let reference: Reference = name.parse().unwrap();
        let (options, cancel) = (PullOptions::default(), AtomicBool::new(false));
        let memory = Memory(&images[number]);
        f.store
            .pull(&reference, &memory, &options, &|_| (), &cancel)
            .unwrap()
    };
    let first = pull("r/a:1", 0);
    let lease = f.store.lease("r/a:1").unwrap().unwrap();
    // Prune passes over what is leased; a removal takes the image, and its layers stay.
    assert_eq!(f.store.prune(&|_| true, &nobody).unwrap().images, []);
    assert!(f.store.untag("r/a:1", &nobody).unwrap());
    assert!(f.store.get("r/a:1").unwrap().is_none());
    assert!(f.store.lease("r/a:1").unwrap().is_none());
    let read = rootfs_read(&first.layers, "etc/number", 10).unwrap();
    assert_eq!(read.as_deref(), Some(&b"0"[..]));
    drop(lease);
    assert!(f.store.gc(&nobody).unwrap() > 0);
    assert!(!first.layers[0].exists());

    // A tag that moves leaves an image without one: that goes first, then all but the pinned.
    let (old, pinned) = (pull("r/a:1", 0), pull("r/b:1", 2));
    pull("r/a:1", 1);
    assert!(f.store.pin("r/b:1", true).unwrap());
    let pruned = f
        .store
        .prune(&|image| image.repo_tags.is_empty(), &nobody)
        .unwrap();
    let ids = |images: &[image::Image]| images.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&pruned.images), [old.id]);
    assert!(pruned.bytes > 0);
    let pruned = f.store.prune(&|_| true, &nobody).unwrap();
    assert_eq!(pruned.images.len(), 1);
    assert_eq!(
        ids(&f.store.list().unwrap()),
        std::slice::from_ref(&pinned.id)
    );
    let f = f.reopen();
    assert!(f.store.get(&pinned.id).unwrap().unwrap().pinned);
    assert!(f.store.pin("r/b:1", false).unwrap());
    assert_eq!(f.store.prune(&|_| true, &nobody).unwrap().images.len(), 1);
    assert_eq!(f.store.fs_info().unwrap().used_bytes, 0);
}

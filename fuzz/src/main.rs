//! Every fuzz target in one program: `COFFER_FUZZ=tar` chooses which of them is fed.
//!
//! A target is a function of the crate whose reader it feeds, in that crate's `fuzzing` module
//! (feature `fuzzing`): it takes bytes and asserts what must hold for any. To add one:
//!
//! 1. write the function, and name it in that module's replay test;
//! 2. name it in [`TARGETS`];
//! 3. put an input or two into `fuzz/corpus/<name>/`.
//!
//! `make fuzz` runs all of them; the ordinary tests replay what is kept in `fuzz/corpus/`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

type Feed = fn(&[u8]);

const TARGETS: [(&str, Feed); 9] = [
    ("auth_header", registry::fuzzing::auth_header),
    ("auth_json", registry::fuzzing::auth_json),
    ("hosts_toml", registry::fuzzing::hosts_toml),
    ("manifest", image::fuzzing::manifest),
    ("passwd", image::fuzzing::passwd),
    ("platform", image::fuzzing::platform),
    ("reference", image::fuzzing::reference),
    ("tar", image::fuzzing::tar),
    ("zstd", image::fuzzing::zstd),
];

static FEED: LazyLock<Feed> = LazyLock::new(|| {
    let wanted = std::env::var("COFFER_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    match found {
        Some((_, feed)) => *feed,
        None => {
            // `COFFER_FUZZ=list` is how the script learns their names.
            for (name, _) in TARGETS {
                println!("{name}");
            }
            std::process::exit(if wanted == "list" { 0 } else { 2 });
        }
    }
});

fuzz_target!(|data: &[u8]| (*FEED)(data));

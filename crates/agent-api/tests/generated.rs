//! The checked-in code is what the generator makes from the `.proto` files of today.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

#[path = "../generator/mod.rs"]
mod generator;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn files(dir: &Path) -> BTreeMap<String, String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|e| {
            let e = e.unwrap();
            (
                e.file_name().into_string().unwrap(),
                fs::read_to_string(e.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn generating_again_gives_the_same_bytes() {
    let fresh = tempfile::tempdir().unwrap();
    generator::generate(fresh.path()).unwrap();
    let fresh = files(fresh.path());
    let kept = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated"));
    assert_eq!(
        fresh.keys().collect::<Vec<_>>(),
        kept.keys().collect::<Vec<_>>()
    );
    for (name, text) in &kept {
        assert!(
            fresh[name] == *text,
            "{name} is stale: run `cargo run -p agent-api --example generate_agent`"
        );
    }
}

//! The corpora of the fuzzers, replayed: each file as it is, cut short, and with every byte changed.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

use std::fs;
use std::path::Path;

#[test]
fn what_fuzzers_know_is_read_without_a_panic() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, reader) in agent::fuzzing::READERS {
        let mut files = 0;
        for entry in fs::read_dir(corpora.join(format!("agent_{name}"))).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            reader(&bytes);
            // Small inputs are varied whole, large ones at some places.
            let step = bytes.len() / 500 + 1;
            for at in (0..bytes.len()).step_by(step) {
                reader(&bytes[..at]);
                for change in [0x01, 0x80, 0xff] {
                    let mut other = bytes.clone();
                    other[at] ^= change;
                    reader(&other);
                }
            }
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
    let names = fs::read_dir(&corpora)
        .unwrap()
        .map(|e| e.unwrap().file_name());
    let ours = names.filter(|n| n.to_str().unwrap().starts_with("agent_"));
    assert_eq!(
        ours.count(),
        agent::fuzzing::READERS.len(),
        "a corpus without a reader"
    );
}

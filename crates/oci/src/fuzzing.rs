//! What a fuzzer feeds: hostile bytes into each reader of this crate, with what must hold for any.
//! Nothing here has an effect outside.
//!
//! `fuzz/` may run these for long; the test below replays the inputs that are kept in `fuzz/corpus/`.

use crate::runtime::{
    Problem, State, parse, parse_process, parse_resources, print, validate, validate_process,
};

/// A config.json: what is read prints as what reads the same and is judged the same; every problem has a
/// path.
pub fn config_json(data: &[u8]) {
    match parse(data) {
        Ok(spec) => {
            let printed = print(&spec).unwrap_or_default();
            assert_eq!(parse(printed.as_bytes()).ok().as_ref(), Some(&spec));
            if let Err(invalid) = validate(&spec) {
                let said = |p: &Problem| !p.path.is_empty() && !p.rule.is_empty();
                assert!(!invalid.problems.is_empty() && invalid.problems.iter().all(said));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A process document of exec, and limits of an update.
pub fn process_json(data: &[u8]) {
    if let Ok(process) = parse_process(data) {
        let _ = validate_process(&process);
    }
    let _ = parse_resources(data);
}

/// A state document, as hooks get it and others print it.
pub fn state_json(data: &[u8]) {
    if let Ok(state) = serde_json::from_slice::<State>(data) {
        let printed = serde_json::to_vec(&state).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<State>(&printed).ok(), Some(state));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_kept_inputs_pass() {
        for (name, feed) in [
            ("config_json", super::config_json as fn(&[u8])),
            ("process_json", super::process_json),
            ("state_json", super::state_json),
        ] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fuzz/corpus")
                .join(name);
            let mut count = 0;
            for entry in std::fs::read_dir(&dir).expect("there are inputs") {
                let bytes = std::fs::read(entry.expect("lists").path()).expect("reads");
                feed(&bytes);
                // Cut off anywhere, and with a byte changed, it is still only an error.
                for at in (0..bytes.len()).step_by(7) {
                    feed(&bytes[..at]);
                    let mut changed = bytes.clone();
                    changed[at] ^= 0x11;
                    feed(&changed);
                }
                count += 1;
            }
            assert!(count > 0, "{name}");
        }
    }
}

//! Every fuzz target in one program: `COFFER_FUZZ=tar` chooses which of them is fed.
//!
//! A target is a function of the crate whose reader it feeds, in that crate's `fuzzing` module
//! (feature `fuzzing`): it takes bytes and asserts what must hold for any. To add one:
//!
//! 1. write the function, and name it in that module's replay test;
//! 2. name it in [`TARGETS`] (the agent's readers have a table of their own, and come as `agent_<name>`);
//! 3. put an input or two into `fuzz/corpus/<name>/`.
//!
//! `make fuzz` runs all of them; the ordinary tests replay what is kept in `fuzz/corpus/`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

type Feed = fn(&[u8]);

const TARGETS: [(&str, Feed); 15] = [
    ("auth_header", registry::fuzzing::auth_header),
    ("auth_json", registry::fuzzing::auth_json),
    ("cgroup_record", container::fuzzing::cgroup_record),
    ("config_json", oci::fuzzing::config_json),
    ("dbus_message", container::fuzzing::dbus_message),
    ("hosts_toml", registry::fuzzing::hosts_toml),
    ("manifest", image::fuzzing::manifest),
    ("passwd", image::fuzzing::passwd),
    ("platform", image::fuzzing::platform),
    ("process_json", oci::fuzzing::process_json),
    ("reference", image::fuzzing::reference),
    ("seccomp_json", container::fuzzing::seccomp_json),
    ("state_json", oci::fuzzing::state_json),
    ("tar", image::fuzzing::tar),
    ("zstd", image::fuzzing::zstd),
];

fn targets() -> impl Iterator<Item = (String, Feed)> {
    let agents = agent::fuzzing::READERS.iter();
    let agents = agents.map(|(name, feed)| (format!("agent_{name}"), *feed));
    let own = TARGETS.iter().map(|(name, feed)| ((*name).to_owned(), *feed));
    own.chain(agents)
}

static FEED: LazyLock<Feed> = LazyLock::new(|| {
    let wanted = std::env::var("COFFER_FUZZ").unwrap_or_default();
    match targets().find(|(name, _)| *name == wanted) {
        Some((_, feed)) => feed,
        None => {
            // `COFFER_FUZZ=list` is how the script learns their names.
            for (name, _) in targets() {
                println!("{name}");
            }
            std::process::exit(if wanted == "list" { 0 } else { 2 });
        }
    }
});

fuzz_target!(|data: &[u8]| (*FEED)(data));

//! An AppArmor profile confines what runs in a container. For a machine whose kernel has AppArmor and the profile
//! `coffer-test` loaded, which forbids writing below `/denied`: the tests in virtual machines make one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use common::{Bundle, Live, piped, process};
use container::Gate;
use serde_json::{Value, json};

const PROFILE: &str = "coffer-test";
const PROBE: &str = "cat /proc/self/attr/current; echo x > /allowed/f && echo written; \
                     echo x > /denied/f || echo denied";

/// A bundle with a directory that the profile lets be written and one that it does not.
fn bundle(script: &str, profile: Value) -> Bundle {
    let mut bundle = Bundle::script(script);
    for name in ["allowed", "denied"] {
        std::fs::create_dir(bundle.root().join(name)).unwrap();
    }
    bundle.json["process"]["apparmorProfile"] = profile;
    bundle
}

#[test]
#[ignore = "needs AppArmor with the profile coffer-test"]
fn a_profile_confines_the_first_process() {
    let ran = bundle(PROBE, json!(PROFILE)).run();
    assert_eq!(
        ran.stdout, "coffer-test (enforce)\nwritten\ndenied\n",
        "{ran:?}"
    );
    assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
    // The same without a profile: nothing else forbids it.
    let ran = bundle(PROBE, Value::Null).run();
    assert_eq!(ran.stdout, "unconfined\nwritten\n", "{ran:?}");
}

#[test]
#[ignore = "needs AppArmor with the profile coffer-test"]
fn a_profile_confines_an_exec_also_with_no_new_privileges() {
    let mut bundle = bundle("exec sleep 100", json!(PROFILE));
    bundle.json["process"]["noNewPrivileges"] = json!(true);
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, piped().0, Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let mut wanted = process(&["sh", "-c", PROBE]);
    wanted["apparmorProfile"] = json!(PROFILE);
    wanted["noNewPrivileges"] = json!(true);
    let ran = live.exec(wanted.clone());
    assert_eq!(
        ran.stdout, "coffer-test (enforce)\nwritten\ndenied\n",
        "{ran:?}"
    );
    wanted["apparmorProfile"] = json!("coffer-none-such");
    let error = live.try_exec(wanted).unwrap_err();
    let said = common::chain(&error);
    let wanted = "apply apparmor profile `coffer-none-such`: profile not loaded";
    assert!(said.contains(wanted), "{said}");
}

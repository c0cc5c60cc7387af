//! `features`: what this runtime can do, as the document of the specification.

use oci::runtime::{
    NamespaceType, SeccompAction, SeccompArch, SeccompFlag, SeccompOperator, capability,
};
use serde_json::json;

use super::print;
use crate::error::Error;

pub(crate) fn command() -> Result<i32, Error> {
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": oci::runtime::VERSION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ],
        "linux": {
            "namespaces": NamespaceType::ALL,
            "capabilities": capability::NAMES.as_slice(),
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false },
            "seccomp": {
                "enabled": true,
                "actions": SeccompAction::ALL,
                "operators": SeccompOperator::ALL,
                "archs": SeccompArch::ALL,
                "knownFlags": SeccompFlag::ALL,
            },
        },
    });
    print(&(serde_json::to_string_pretty(&features)? + "\n"))?;
    Ok(0)
}

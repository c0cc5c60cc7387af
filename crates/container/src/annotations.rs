//! Annotations that change what is done, as crun has them. They count only for a program whose documents
//! are its own user's: whoever else may set them could have files written as us, or keep our groups.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files that take what hooks print.
const OUTPUT: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];
/// The process keeps our supplementary groups.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

static HONOURED: AtomicBool = AtomicBool::new(false);

/// Has them count from now on.
pub fn honour() {
    HONOURED.store(true, Ordering::Relaxed);
}

/// What a document says by annotations, if they count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Files for standard output and error of hooks.
    pub hook_output: [Option<String>; 2],
    /// The process keeps our supplementary groups.
    pub keep_groups: bool,
}

impl Said {
    pub(crate) fn by(annotations: &BTreeMap<String, String>) -> Self {
        if !HONOURED.load(Ordering::Relaxed) {
            return Self::default();
        }
        let text = |key: &str| annotations.get(key).filter(|text| !text.is_empty());
        Self {
            hook_output: OUTPUT.map(|key| text(key).cloned()),
            keep_groups: text(KEEP_GROUPS).is_some_and(|text| text != "0"),
        }
    }
}

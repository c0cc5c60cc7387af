//! Annotations that change what is done, as crun has them. They count only for a program whose documents
//! are its own user's: whoever else may set them could have files written as us, or keep our groups.

use std::collections::BTreeMap;

/// Files that take what hooks print.
const OUTPUT: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];
/// The process keeps our supplementary groups.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Whether they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Annotations {
    /// For nothing: somebody else than who runs the program may have set them.
    #[default]
    Ignored,
    /// As crun has them.
    Honoured,
}

/// What a document says by annotations, if they count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Files for standard output and error of hooks.
    pub hook_output: [Option<String>; 2],
    /// The process keeps our supplementary groups.
    pub keep_groups: bool,
}

impl Annotations {
    /// What those of a document say.
    pub(crate) fn said(self, annotations: &BTreeMap<String, String>) -> Said {
        if self == Self::Ignored {
            return Said::default();
        }
        let text = |key: &str| annotations.get(key).filter(|text| !text.is_empty());
        Said {
            hook_output: OUTPUT.map(|key| text(key).cloned()),
            keep_groups: text(KEEP_GROUPS).is_some_and(|text| text != "0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_count_for_who_honours_them() {
        let annotations = BTreeMap::from([
            ("run.oci.hooks.stdout".to_owned(), "/out".to_owned()),
            ("run.oci.hooks.stderr".to_owned(), String::new()),
            (KEEP_GROUPS.to_owned(), "1".to_owned()),
        ]);
        assert_eq!(Annotations::default().said(&annotations), Said::default());
        let said = Annotations::Honoured.said(&annotations);
        assert_eq!(said.hook_output, [Some("/out".to_owned()), None]);
        assert!(said.keep_groups);
    }
}

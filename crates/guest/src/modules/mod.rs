//! Which kernel modules a wish needs, and in which order. Debian's package has no modules.dep (depmod runs
//! when it is installed), so what each module says of itself in its section `.modinfo` is read.
//!
//! ```text
//!  .modinfo: name=virtio_blk NUL depends=virtio,virtio_ring NUL softdep=pre: x post: y NUL alias=… NUL
//! ```
//! `-` and `_` are the same in a module's name; names are kept with `_`.

mod elf;

use std::collections::{BTreeMap, BTreeSet};

pub use elf::section;

/// The modules of one kernel by name.
#[derive(Debug, Default)]
pub struct Modules {
    release: String,
    known: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Below `/lib/modules/<release>`.
    pub path: String,
    /// Must be loaded before it.
    pub depends: Vec<String>,
    /// Should be loaded before it, where they exist: names, or aliases of the kernel's crypto.
    pub before: Vec<String>,
    /// Patterns of devices and names that it serves.
    pub aliases: Vec<String>,
}

/// A module's name as the kernel shows it.
#[must_use]
pub fn name_of(text: &str) -> String {
    let file = text.rsplit('/').next().unwrap_or(text);
    file.strip_suffix(".ko").unwrap_or(file).replace('-', "_")
}

impl Module {
    /// Reads what a module file says of itself; None when it is no module.
    #[must_use]
    pub fn read(path: &str, file: &[u8]) -> Option<Self> {
        let info = section(file, ".modinfo")?;
        let mut module = Self {
            path: path.to_owned(),
            depends: Vec::new(),
            before: Vec::new(),
            aliases: Vec::new(),
        };
        for entry in info.split(|b| *b == 0) {
            let entry = String::from_utf8_lossy(entry);
            match entry.split_once('=') {
                Some(("depends", list)) => {
                    let names = list.split(',').filter(|name| !name.is_empty());
                    module.depends.extend(names.map(name_of));
                }
                Some(("softdep", text)) => module.before.extend(before(text)),
                Some(("alias", text)) => module.aliases.push(text.to_owned()),
                _ => {}
            }
        }
        Some(module)
    }
}

/// The names after `pre:` of a softdep.
fn before(text: &str) -> impl Iterator<Item = String> {
    let mut pre = false;
    text.split_whitespace().filter_map(move |word| match word {
        "pre:" | "post:" => {
            pre = word == "pre:";
            None
        }
        name => pre.then(|| name_of(name)),
    })
}

impl Modules {
    /// The modules of the kernel `release`; `builtin` is its list of what needs no loading.
    #[must_use]
    pub fn new(release: &str, modules: impl IntoIterator<Item = Module>, builtin: &str) -> Self {
        Self {
            release: release.to_owned(),
            known: modules
                .into_iter()
                .map(|module| (name_of(&module.path), module))
                .collect(),
            builtin: builtin.lines().map(name_of).collect(),
        }
    }

    /// All that `names` need and themselves, each after what it needs.
    ///
    /// # Errors
    /// A name that the kernel has neither as a module nor built in.
    pub fn resolve(&self, names: &[&str]) -> Result<Vec<&Module>, crate::Error> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.visit(&name_of(name), &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit<'a>(
        &'a self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<&'a Module>,
    ) -> Result<(), crate::Error> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let module = self.known.get(name).ok_or_else(|| crate::Error::NoModule {
            release: self.release.clone(),
            name: name.to_owned(),
        })?;
        // A soft dependency may be an alias or missing: the module's own code copes.
        let soft = module.before.iter().filter(|n| self.known.contains_key(*n));
        for needed in module.depends.iter().chain(soft) {
            self.visit(needed, seen, order)?;
        }
        order.push(module);
        Ok(())
    }

    /// The file modules.dep for `chosen`, which must be in order: each line names a module and what it
    /// needs, nearest first, as depmod writes it and modprobe reads it.
    ///
    /// # Errors
    /// As [`Modules::resolve`].
    pub fn dep(&self, chosen: &[&Module]) -> Result<String, crate::Error> {
        let mut text = String::new();
        for module in chosen {
            text.push_str(&module.path);
            text.push(':');
            let needed = self.resolve(&[&name_of(&module.path)])?;
            for other in needed.iter().rev().skip(1) {
                text.push(' ');
                text.push_str(&other.path);
            }
            text.push('\n');
        }
        Ok(text)
    }
}

/// The file modules.alias for `chosen`.
#[must_use]
pub fn alias(chosen: &[&Module]) -> String {
    let mut text = String::new();
    for module in chosen {
        for alias in &module.aliases {
            text.push_str(&format!("alias {alias} {}\n", name_of(&module.path)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, depends: &[&str], before: &[&str]) -> Module {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Module {
            path: path.to_owned(),
            depends: owned(depends),
            before: owned(before),
            aliases: vec![],
        }
    }

    fn modules() -> Modules {
        let list = [
            module("kernel/a/virtio-blk.ko", &["virtio", "virtio_ring"], &[]),
            module("kernel/v/virtio_ring.ko", &[], &[]),
            module("kernel/v/virtio.ko", &["virtio_ring"], &[]),
            module("kernel/fs/erofs.ko", &["libcrc32c"], &["crc32c", "virtio"]),
            module("kernel/lib/libcrc32c.ko", &[], &[]),
            module("kernel/x/broken.ko", &["nowhere"], &[]),
        ];
        Modules::new("6.1", list, "kernel/fs/ext4/ext4.ko\n")
    }

    fn names(modules: &[&Module]) -> Vec<String> {
        modules.iter().map(|m| name_of(&m.path)).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let modules = modules();
        let order = modules.resolve(&["virtio-blk", "ext4", "erofs"]).unwrap();
        let wanted = ["virtio_ring", "virtio", "virtio_blk", "libcrc32c", "erofs"];
        assert_eq!(names(&order), wanted);
        let dep = modules.dep(&order).unwrap();
        assert_eq!(
            dep.lines().nth(2).unwrap(),
            "kernel/a/virtio-blk.ko: kernel/v/virtio.ko kernel/v/virtio_ring.ko"
        );
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        for (wish, name) in [("vritio", "vritio"), ("broken", "nowhere")] {
            let error = modules().resolve(&[wish]).unwrap_err().to_string();
            assert_eq!(error, format!("the kernel 6.1 has no module {name}"));
        }
    }

    #[test]
    fn softdeps_before_count_and_those_after_do_not() {
        let words: Vec<_> = before("pre: crc32c a-b post: c pre: d").collect();
        assert_eq!(words, ["crc32c", "a_b", "d"]);
    }
}

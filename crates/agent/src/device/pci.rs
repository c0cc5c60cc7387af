//! PCI paths: the slots from the root bus through bridges to a device, as the caller, who plugged it in,
//! knows them.
//!
//! ```text
//! "02/03.1"   slot 2 of the root bus is a bridge, slot 3 function 1 behind it the device:
//!             /sys/devices/pci0000:00/0000:00:02.0/0000:01:03.1
//! ```

use std::fmt;
use std::path::{Path as FilePath, PathBuf};

use crate::error::Error;

/// A place on a bus: slot and function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    slot: u8,
    function: u8,
}

/// A path of one step or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    /// Reads `slot[.function]/slot[.function]…`, in hexadecimal.
    ///
    /// # Errors
    /// It is no such path.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let why = "expected slots in hexadecimal such as 02/03, or 02/03.1 with a function";
            Error::invalid(format!("PCI path {text:?}"), why)
        };
        let number = |text: &str, max: u8| match u8::from_str_radix(text, 16) {
            Ok(n) if n <= max && text.len() <= 2 && !text.starts_with('+') => Ok(n),
            _ => Err(wrong()),
        };
        let step = |text: &str| {
            let (slot, function) = text.split_once('.').unwrap_or((text, "0"));
            Ok(Step {
                slot: number(slot, 0x1f)?,
                function: number(function, 7)?,
            })
        };
        text.split('/')
            .map(step)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A path of slots only, as AddSwap has it.
    ///
    /// # Errors
    /// It is empty, or a number is no slot.
    pub(crate) fn of_slots(slots: &[u32]) -> Result<Self, Error> {
        let step = |slot: &u32| {
            let slot = u8::try_from(*slot).ok().filter(|s| *s <= 0x1f);
            let slot = slot.ok_or_else(|| {
                Error::invalid(format!("PCI path {slots:?}"), "a slot is a number up to 31")
            })?;
            Ok(Step { slot, function: 0 })
        };
        match slots {
            [] => Err(Error::invalid("PCI path", "it is empty")),
            slots => slots.iter().map(step).collect::<Result<_, _>>().map(Self),
        }
    }

    /// The device's directory in sysfs; None while it, or a bridge before it, is not there.
    pub(crate) fn find(&self, sys: &FilePath) -> Option<PathBuf> {
        let mut dir = roots(sys).into_iter().find_map(|root| {
            let bus = root.file_name()?.to_str()?.strip_prefix("pci")?.to_owned();
            self.0.first().and_then(|step| child(&root, &bus, *step))
        })?;
        for step in self.0.iter().skip(1) {
            let bus = std::fs::read_dir(dir.join("pci_bus")).ok()?.next()?.ok()?;
            let bus = bus.file_name().to_str()?.to_owned();
            dir = child(&dir, &bus, *step)?;
        }
        Some(dir)
    }
}

/// The root complexes: `pciDDDD:BB` of the machine, or deeper on some boards.
fn roots(sys: &FilePath) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![(sys.join("devices"), 0)];
    while let Some((dir, depth)) = todo.pop() {
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let digits = name
                .strip_prefix("pci")
                .and_then(|rest| rest.split_once(':'));
            if digits.is_some_and(|(domain, bus)| domain.len() == 4 && bus.len() == 2) {
                found.push(entry.path());
            } else if depth == 0 && name.starts_with("platform") {
                todo.push((entry.path(), 1));
            }
        }
    }
    found.sort();
    found
}

/// The device at `step` of the bus `DDDD:BB` behind `dir`.
fn child(dir: &FilePath, bus: &str, step: Step) -> Option<PathBuf> {
    let path = dir.join(format!("{bus}:{:02x}.{}", step.slot, step.function));
    path.is_dir().then_some(path)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Step { slot, function }) in self.0.iter().enumerate() {
            let between = if i == 0 { "" } else { "/" };
            match function {
                0 => write!(f, "{between}{slot:02x}")?,
                _ => write!(f, "{between}{slot:02x}.{function}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_printed() {
        for (text, printed) in [
            ("02", Some("02")),
            ("2/1f.7", Some("02/1f.7")),
            ("02/03.0/04", Some("02/03/04")),
            ("", None),
            ("02/", None),
            ("20", None),
            ("02.8", None),
            ("0x2", None),
            ("+2", None),
            ("/dev/vda", None),
        ] {
            let path = Path::parse(text).ok().map(|path| path.to_string());
            assert_eq!(path.as_deref(), printed, "{text}");
        }
        assert_eq!(Path::of_slots(&[2, 31]).unwrap().to_string(), "02/1f");
        assert!(Path::of_slots(&[]).is_err() && Path::of_slots(&[32]).is_err());
    }

    #[test]
    fn a_device_behind_bridges_is_found() {
        let sys = tempfile::tempdir().unwrap();
        let root = sys.path().join("devices/pci0000:00");
        let bridge = root.join("0000:00:02.0");
        std::fs::create_dir_all(bridge.join("pci_bus/0000:01")).unwrap();
        let path = Path::parse("02/03.1").unwrap();
        assert_eq!(path.find(sys.path()), None);
        std::fs::create_dir_all(bridge.join("0000:01:03.1")).unwrap();
        assert_eq!(path.find(sys.path()), Some(bridge.join("0000:01:03.1")));
        assert_eq!(Path::parse("02").unwrap().find(sys.path()), Some(bridge));
        assert_eq!(Path::parse("04").unwrap().find(sys.path()), None);
    }
}

//! Huge pages for a hugetlbfs: in a micro-VM they are reserved, and it is checked that they are there.
//! On a node they are the administrator's to reserve.

use std::path::Path;

use crate::error::Error;
use crate::machine::Machine;

/// Reserves what `pagesize=` and `size=` ask for.
///
/// # Errors
/// The kernel has no pages of that size, or not so many.
pub(super) fn reserve(machine: &Machine, data: &[String]) -> Result<(), Error> {
    let value = |key: &str| {
        let mut words = data.iter().filter_map(|word| word.split_once('='));
        words.find(|(k, _)| *k == key).map(|(_, value)| value)
    };
    let (Some(page), Some(size)) = (value("pagesize"), value("size")) else {
        return Ok(());
    };
    let (page, size) = (bytes(page)?, bytes(size)?);
    if !machine.own || page == 0 {
        return Ok(());
    }
    let kilobytes = page / 1024;
    let pool = machine
        .sys
        .join(format!("kernel/mm/hugepages/hugepages-{kilobytes}kB"));
    let wanted = size.div_ceil(page);
    let file = pool.join("nr_hugepages");
    let failed = |act, e| Error::io(act, file.display(), e);
    // Those of other storages stay: the pool grows by what this one needs.
    let now = number(&file).map_err(|e| failed("read", e))?;
    let free = number(&pool.join("free_hugepages")).map_err(|e| failed("read", e))?;
    let total = now + wanted.saturating_sub(free);
    std::fs::write(&file, total.to_string()).map_err(|e| failed("write", e))?;
    let got = number(&file).map_err(|e| failed("read", e))?;
    if got < total {
        let why =
            format!("{wanted} huge pages of {kilobytes} kB are wanted, {got} of {total} are there");
        return Err(Error::Precondition(why));
    }
    Ok(())
}

fn number(file: &Path) -> std::io::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    text.trim()
        .parse()
        .map_err(|_| std::io::ErrorKind::InvalidData.into())
}

/// A number of bytes, with K, M or G (or Ki, Mi, Gi) behind it.
fn bytes(text: &str) -> Result<u64, Error> {
    let wrong = || Error::invalid(format!("size {text:?}"), "not a number of bytes");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "ki" => 10,
        "m" | "mi" => 20,
        "g" | "gi" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("2M", Some(2 << 20)),
            ("1Gi", Some(1 << 30)),
            ("4096", Some(4096)),
            ("", None),
            ("M", None),
            ("1T", None),
            ("99999999999G", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn pages_are_reserved_in_a_micro_vm_only() {
        let temp = tempfile::tempdir().unwrap();
        let mut machine = Machine::here(true);
        machine.sys = temp.path().to_owned();
        let pool = temp.path().join("kernel/mm/hugepages/hugepages-2048kB");
        fs::create_dir_all(&pool).unwrap();
        fs::write(pool.join("nr_hugepages"), "3\n").unwrap();
        fs::write(pool.join("free_hugepages"), "1\n").unwrap();
        let data = ["pagesize=2M".to_owned(), "size=7M".to_owned()];
        reserve(&machine, &data).unwrap();
        let now = fs::read_to_string(pool.join("nr_hugepages")).unwrap();
        assert_eq!(now, "6", "four pages, one of which was free");
        machine.own = false;
        fs::write(pool.join("nr_hugepages"), "0").unwrap();
        reserve(&machine, &data).unwrap();
        assert_eq!(fs::read_to_string(pool.join("nr_hugepages")).unwrap(), "0");
        machine.own = true;
        let other = ["pagesize=1G".to_owned(), "size=1G".to_owned()];
        assert!(reserve(&machine, &other).is_err());
    }
}

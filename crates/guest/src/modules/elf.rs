//! One section of an ELF file: 64 bit, little endian, as every module and kernel of x86-64 is.

/// The bytes of the section called `name`; None when there is none or the file is no such ELF.
#[must_use]
pub fn section<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // EI_CLASS 2: 64 bit. EI_DATA 1: little endian.
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let headers = usize::try_from(number(file, 0x28, 8)?).ok()?;
    let size = usize::try_from(number(file, 0x3a, 2)?).ok()?;
    let count = usize::try_from(number(file, 0x3c, 2)?).ok()?;
    let names = usize::try_from(number(file, 0x3e, 2)?).ok()?;
    let header = |index: usize| {
        let at = headers.checked_add(index.checked_mul(size)?)?;
        file.get(at..at.checked_add(64)?)
    };
    let content = |header: &[u8]| {
        let offset = usize::try_from(number(header, 0x18, 8)?).ok()?;
        let length = usize::try_from(number(header, 0x20, 8)?).ok()?;
        file.get(offset..offset.checked_add(length)?)
    };
    let names = content(header(names)?)?;
    (0..count).find_map(|index| {
        let header = header(index)?;
        let at = usize::try_from(number(header, 0, 4)?).ok()?;
        let called = names.get(at..)?.split(|b| *b == 0).next()?;
        (called == name.as_bytes()).then(|| content(header))?
    })
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let mut number = [0; 8];
    number
        .get_mut(..width)?
        .copy_from_slice(bytes.get(at..at.checked_add(width)?)?);
    Some(u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of three sections: none, their names, `.modinfo`.
    pub(crate) fn file(modinfo: &[u8]) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let header = |name: u32, content: &[u8], file: &mut Vec<u8>| {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(file.len() as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(content.len() as u64).to_le_bytes());
            file.extend(content);
            header
        };
        let headers = [
            [0; 64],
            header(1, names, &mut file),
            header(11, modinfo, &mut file),
        ];
        let at = file.len() as u64;
        file[0x28..0x30].copy_from_slice(&at.to_le_bytes());
        file[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        file[0x3c..0x3e].copy_from_slice(&3_u16.to_le_bytes());
        file[0x3e..0x40].copy_from_slice(&1_u16.to_le_bytes());
        file.extend(headers.concat());
        file
    }

    #[test]
    fn sections_are_found_by_name() {
        let file = file(b"depends=a,b\0");
        assert_eq!(section(&file, ".modinfo"), Some(&b"depends=a,b\0"[..]));
        assert_eq!(section(&file, ".text"), None);
    }

    #[test]
    fn a_broken_file_is_no_panic() {
        let whole = file(b"depends=\0");
        for cut in 0..whole.len() {
            assert_eq!(section(&whole[..cut], ".text"), None);
        }
        for at in 0..whole.len() {
            let mut file = whole.clone();
            file[at] = 0xff;
            let _ = section(&file, ".modinfo");
        }
    }
}

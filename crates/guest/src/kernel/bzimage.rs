//! The ELF kernel inside a bzImage. QEMU starts an ELF kernel with a PVH note at once; a bzImage would
//! unpack itself on the emulated processor first.
//!
//! ```text
//!  0x1f1 sectors of set-up code - 1     0x202 "HdrS"     0x248 payload's offset     0x24c its length
//!  (sectors + 1) * 512 + offset: the payload, packed with lz4
//! ```

use super::lz4;
use crate::modules::section;

/// Takes the kernel out; the error says what is unexpected.
pub(super) fn vmlinux(image: &[u8]) -> Result<Vec<u8>, &'static str> {
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return Err("no bzImage");
    }
    let number = |at: usize| {
        let bytes = image.get(at..at + 4)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let payload = || {
        let begin = (usize::from(image[0x1f1]) + 1) * 512 + number(0x248)?;
        image.get(begin..begin.checked_add(number(0x24c)?)?)
    };
    let payload = payload().ok_or("the payload is not in the file")?;
    let kernel = lz4::unpack(payload).ok_or("the payload is not packed with lz4, or broken")?;
    if section(&kernel, ".notes").is_none_or(|notes| !has_pvh_entry(notes)) {
        return Err("the kernel has no PVH entry point (CONFIG_PVH), by which QEMU starts it");
    }
    Ok(kernel)
}

/// Looks for the note "Xen" of type 18, XEN_ELFNOTE_PHYS32_ENTRY.
fn has_pvh_entry(notes: &[u8]) -> bool {
    let mut rest = notes;
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let field = |n: usize| {
            let bytes = head[n * 4..]
                .first_chunk::<4>()
                .copied()
                .unwrap_or_default();
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (name, content, kind) = (field(0), field(1), field(2));
        if kind == 18 && after.starts_with(b"Xen\0") {
            return true;
        }
        let padded = |length: usize| length.checked_next_multiple_of(4);
        let next = padded(name).and_then(|n| n.checked_add(padded(content)?));
        match next.and_then(|n| after.get(n..)) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8; 4], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = 4_u32.to_le_bytes().to_vec();
        note.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        note.extend(kind.to_le_bytes());
        note.extend(name);
        note.extend(content);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    #[test]
    fn the_pvh_note_is_found_behind_others() {
        let notes = [note(b"GNU\0", 3, b"12345"), note(b"Xen\0", 18, b"1234")].concat();
        assert!(has_pvh_entry(&notes));
        assert!(!has_pvh_entry(&note(b"GNU\0", 18, b"1234")));
        assert!(!has_pvh_entry(&note(b"Xen\0", 6, b"linux")));
        assert!(!has_pvh_entry(&[0xff; 64]));
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert_eq!(vmlinux(b"#!/bin/sh").unwrap_err(), "no bzImage");
        let mut image = vec![0; 1024];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&[0xff; 4]);
        assert_eq!(
            vmlinux(&image).unwrap_err(),
            "the payload is not in the file"
        );
    }
}

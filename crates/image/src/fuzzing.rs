//! What a fuzzer feeds: hostile bytes into each reader of this crate, with what must hold for any.
//!
//! `fuzz/` runs these for long; the test below replays the inputs that are kept in `fuzz/corpus/`.

use std::io::{BufRead, BufReader, Read};

use oci::image::{Descriptor, MediaType};

use crate::{
    Limits, Platform, Reference, import::fuzzing as documents, tar, user, zstd_frames::Frames,
};

/// A reference that is read prints as text that reads as the same.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(reference) = text.parse::<Reference>() {
        let again = reference.to_string().parse::<Reference>();
        assert_eq!(again.as_ref(), Ok(&reference), "{text:?}");
        for name in [reference.tagged(), Some(reference.name())] {
            let again = name.map(|name| name.parse::<Reference>());
            assert!(again.is_none_or(|again| again.is_ok()), "{text:?}");
        }
    }
}

/// A platform that is read prints as text that reads as the same kind of machine; the level of a CPU
/// is not printed.
pub fn platform(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(platform) = text.parse::<Platform>() {
        let shown = platform.to_string();
        let again: Result<Platform, _> = shown.parse();
        assert!(
            again.is_ok_and(|again| again.to_string() == shown),
            "{text:?}"
        );
    }
}

/// Documents of an image, separated by lines with `---`: the first is what a name leads to, each
/// further one is what is fetched next. They make an image within the limits, or an error.
pub fn manifest(data: &[u8]) {
    let limits = Limits::default();
    let mut parts = documents::Parts::new(data);
    let Some(first) = parts.next_part() else {
        return;
    };
    let Ok(media_type) = documents::media_type(&first) else {
        return;
    };
    parts.again(first);
    let descriptor = Descriptor {
        media_type: media_type
            .parse::<MediaType>()
            .map_or(media_type, |known| known.to_string()),
        digest: format!("sha256:{}", "0".repeat(64)),
        ..Descriptor::default()
    };
    if let Ok(layers) = documents::layers(&mut parts, &descriptor, &limits) {
        assert!(layers <= limits.layers);
    }
}

/// Entries of a tar: their sizes hold against what comes, and sparse extents lie within the file, in
/// order.
pub fn tar(data: &[u8]) {
    let limit = 64 << 10;
    let mut reader = tar::Reader::new(BufReader::new(data), limit);
    while let Ok(Some(entry)) = reader.next() {
        let mut at = 0;
        let mut stored = 0u64;
        for (offset, length) in entry.extents.iter().flatten() {
            assert!(*offset >= at, "{entry:?}");
            at = offset.checked_add(*length).unwrap_or(u64::MAX);
            assert!(at <= entry.size, "{entry:?}");
            stored += length;
        }
        let held: usize = entry
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let names = entry.path.len() + entry.link.len();
        assert!(
            held as u64 <= limit && names as u64 <= 2 * limit,
            "{entry:?}"
        );
        if entry.extents.is_some() {
            assert!(reader.left() <= stored, "{entry:?}");
        }
        let mut came = 0;
        loop {
            match reader.data() {
                Ok([]) => break,
                Ok(part) => {
                    let length = part.len();
                    came += length as u64;
                    reader.consume(length);
                }
                Err(_) => return,
            }
        }
        assert!(came <= data.len() as u64);
    }
}

/// Frames of zstd: their end, an error, or no more than is asked for.
pub fn zstd(data: &[u8]) {
    let may_go_on = || Ok(());
    let frames = Frames::new(BufReader::new(data), &may_go_on);
    let mut out = BufReader::new(frames.take(4 << 20));
    while let Ok(part) = out.fill_buf() {
        let length = part.len();
        if length == 0 {
            break;
        }
        out.consume(length);
    }
}

/// `user`, `passwd` and `group`, separated by lines with `---`: an identity, or an error.
pub fn passwd(data: &[u8]) {
    let mut parts = documents::Parts::new(data);
    let mut next = || parts.next_part().unwrap_or_default();
    let (user, passwd, group) = (next(), next(), next());
    let user = String::from_utf8_lossy(&user);
    let user = user.trim_end();
    if let Ok(identity) = user::resolve(user, &passwd, &group) {
        let by_id = user::by_id(identity.uid, &passwd, &group);
        assert_eq!(by_id.uid, identity.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_saved_inputs_hold() {
        for (name, target) in [
            ("reference", reference as fn(&[u8])),
            ("platform", platform),
            ("manifest", manifest),
            ("tar", tar),
            ("zstd", zstd),
            ("passwd", passwd),
        ] {
            testing::corpus::replay(name, target);
        }
    }
}

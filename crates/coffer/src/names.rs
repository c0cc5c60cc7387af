//! Names for pods that got none, and unique ids for all.

use crate::error::Error;

const FIRST: [&str; 32] = [
    "amber", "brisk", "calm", "clear", "crisp", "deft", "early", "fair", "fond", "glad", "green",
    "keen", "kind", "late", "light", "lucid", "mild", "neat", "noble", "plain", "quick", "quiet",
    "rapid", "round", "sharp", "sleek", "solid", "sunny", "tidy", "vivid", "warm", "wise",
];
const SECOND: [&str; 32] = [
    "anchor", "basin", "beacon", "birch", "bridge", "canal", "cedar", "comet", "coral", "crane",
    "delta", "ember", "fjord", "harbor", "heron", "island", "jetty", "lagoon", "lantern", "maple",
    "meadow", "orchid", "otter", "pebble", "plover", "quartz", "reef", "river", "spruce", "summit",
    "tern", "willow",
];

/// Two words and a number, such as `calm-heron-41`.
pub(crate) fn random() -> Result<String, Error> {
    let [a, b, c, ..] = random_bytes()?;
    let (first, second) = (FIRST[usize::from(a) % 32], SECOND[usize::from(b) % 32]);
    Ok(format!("{first}-{second}-{}", c % 100))
}

/// A random (version 4) UUID.
pub(crate) fn uid() -> Result<String, Error> {
    let mut bytes = random_bytes()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let groups = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    Ok(groups.join("-"))
}

fn random_bytes() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(
        |errno| Error::Io {
            what: "get random bytes".into(),
            source: errno.into(),
        },
    )?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_version_four_and_differ() {
        let one = uid().unwrap();
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert_ne!(one, uid().unwrap());
    }
}

//! Maps of sparse files: GNU's old header form, and the check that all forms must pass.

use super::header::{BLOCK, number};

/// A map longer than this is an attack on memory: 4 MiB of extents.
pub(super) const EXTENTS_MAX: usize = 1 << 18;

/// Reads `count` extents of 12 + 12 bytes; an empty one ends the map.
pub(super) fn extents(block: &[u8; BLOCK], at: usize, count: usize) -> Option<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for field in block[at..].chunks_exact(24).take(count) {
        if field[0] == 0 {
            break;
        }
        let offset = u64::try_from(number(&field[..12])?).ok()?;
        let length = u64::try_from(number(&field[12..])?).ok()?;
        found.push((offset, length));
    }
    Some(found)
}

/// Ascending, without overlap, inside the file, and exactly as much data as the archive holds.
pub(super) fn is_valid(map: &[(u64, u64)], size: u64, data: u64) -> bool {
    let (mut end, mut sum) = (0u64, 0u64);
    for &(offset, length) in map {
        let Some(next) = offset.checked_add(length) else {
            return false;
        };
        if offset < end || next > size {
            return false;
        }
        end = next;
        sum += length;
    }
    sum == data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_must_make_sense() {
        for (map, size, data, valid) in [
            (vec![], 100, 0, true),
            (vec![(0, 10), (50, 10)], 100, 20, true),
            (vec![(0, 10), (100, 0)], 100, 10, true),
            (vec![(0, 10), (5, 10)], 100, 20, false),
            (vec![(50, 10), (0, 10)], 100, 20, false),
            (vec![(95, 10)], 100, 10, false),
            (vec![(0, 10)], 100, 11, false),
            (vec![(u64::MAX, 2)], u64::MAX, 2, false),
        ] {
            assert_eq!(is_valid(&map, size, data), valid, "{map:?}");
        }
    }
}

//! The word that was probably meant.

/// The one of `known` that is closest to `word`, if it is close enough to be a slip of the hand.
pub(crate) fn of<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Edits (insert, delete, replace) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(
            of("wbe", ["web", "db"]).as_deref(),
            None,
            "two edits in three letters"
        );
        assert_eq!(of("webb", ["web", "db"]).as_deref(), Some("web"));
        assert_eq!(
            of("busibox", ["busybox", "nginx"]).as_deref(),
            Some("busybox")
        );
        assert_eq!(of("redis", ["busybox", "nginx"]), None);
    }
}

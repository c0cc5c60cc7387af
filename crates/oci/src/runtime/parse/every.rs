//! All values that are wrong, not only the first, at which serde stops.
//!
//! The text is read again without the value in error, and so on: a key becomes `null`, an element of a
//! list goes (indices are counted back to the text's own). Where the place then lacks what it must have,
//! that is no second problem: the whole structure goes.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::runtime::Problem;
use crate::runtime::locate::locate;

/// A text with more wrong values than this has been read enough.
const MOST: usize = 64;

/// One part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    Index(usize),
}

/// The problems of `text` beside its first, which is at `first`.
pub(super) fn others<T: DeserializeOwned>(text: &[u8], first: &str) -> Vec<Problem> {
    let Ok(mut document) = serde_json::from_slice::<Value>(text) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut gone: BTreeMap<Vec<Part>, Vec<usize>> = BTreeMap::new();
    let mut at = parts(first);
    for _ in 0..MOST {
        if !take_out(&mut document, &at, &mut gone) {
            break;
        }
        let text = document.to_string();
        // From a slice as in `parse`: the readers of a text and of bytes would be two programs' worth.
        let Err(error) = serde_json::from_slice::<T>(text.as_bytes()) else {
            break;
        };
        let reason = error.to_string();
        let (line, column) = (error.line(), error.column());
        let next = parts(&locate(text.as_bytes(), line, column, &reason));
        let reason = reason.split(" at line ").next().unwrap_or_default();
        // What was taken out was needed there: no problem of the document's own.
        let ours = at.starts_with(&next) || next == at;
        if !ours {
            found.push(Problem {
                path: render(&back(&next, &gone)),
                rule: reason.to_owned(),
            });
        }
        at = next;
        if ours && at.is_empty() {
            break;
        }
    }
    found
}

/// Takes a value out of the document.
fn take_out(
    document: &mut Value,
    path: &[Part],
    gone: &mut BTreeMap<Vec<Part>, Vec<usize>>,
) -> bool {
    let Some((last, above)) = path.split_last() else {
        return false;
    };
    let mut place = document;
    for part in above {
        let next = match part {
            Part::Key(key) => place.get_mut(key),
            Part::Index(index) => place.get_mut(index),
        };
        match next {
            Some(next) => place = next,
            None => return false,
        }
    }
    match (last, place) {
        (Part::Key(key), Value::Object(map)) => map.remove(key).is_some(),
        (Part::Index(index), Value::Array(list)) if *index < list.len() => {
            list.remove(*index);
            let original = match back(path, gone).last() {
                Some(Part::Index(original)) => *original,
                _ => *index,
            };
            let removed = gone.entry(above.to_vec()).or_default();
            removed.push(original);
            removed.sort_unstable();
            true
        }
        _ => false,
    }
}

/// A path with the indices of the text.
fn back(path: &[Part], gone: &BTreeMap<Vec<Part>, Vec<usize>>) -> Vec<Part> {
    let mut out = Vec::new();
    for (depth, part) in path.iter().enumerate() {
        out.push(match part {
            Part::Key(key) => Part::Key(key.clone()),
            Part::Index(index) => {
                let above = path.get(..depth).unwrap_or_default();
                let mut index = *index;
                for removed in gone.get(above).into_iter().flatten() {
                    index += usize::from(*removed <= index);
                }
                Part::Index(index)
            }
        });
    }
    out
}

fn parts(path: &str) -> Vec<Part> {
    let mut out = Vec::new();
    for key in path.split('.').filter(|key| !key.is_empty()) {
        let (name, indices) = key.split_at(key.find('[').unwrap_or(key.len()));
        if !name.is_empty() {
            out.push(Part::Key(name.to_owned()));
        }
        let indices = indices.split(['[', ']']).filter(|index| !index.is_empty());
        out.extend(
            indices
                .filter_map(|index| index.parse().ok())
                .map(Part::Index),
        );
    }
    out
}

fn render(path: &[Part]) -> String {
    let mut text = String::new();
    for part in path {
        match part {
            Part::Key(key) if text.is_empty() => text.push_str(key),
            Part::Key(key) => text.push_str(&format!(".{key}")),
            Part::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

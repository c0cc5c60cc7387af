//! Where in a JSON text an error is, as a path: serde knows the line and column only.
//!
//! ```text
//!  {"mounts":[{"type":7}]}     column of the 7   ->   mounts[0].type
//! ```

/// One open object or array.
enum Level {
    Object { key: String, in_value: bool },
    Array { index: usize },
}

/// The path of the value that ends at or contains `line` and `column` (both from 1, as serde_json
/// counts them); empty for the document itself. Runs on invalid texts too, as far as they go.
pub(crate) fn locate(text: &[u8], line: usize, column: usize, reason: &str) -> String {
    let line_start = match line {
        0 | 1 => 0,
        _ => nth_newline(text, line - 1).map_or(text.len(), |at| at + 1),
    };
    let end = (line_start + column).min(text.len());
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < end {
        match text[at] {
            b'{' => levels.push(Level::Object {
                key: String::new(),
                in_value: false,
            }),
            b'[' => levels.push(Level::Array { index: 0 }),
            // A closing bracket at the very end belongs to the value in error.
            b'}' | b']' if at + 1 < end => drop(levels.pop()),
            b':' => {
                if let Some(Level::Object { in_value, .. }) = levels.last_mut() {
                    *in_value = true;
                }
            }
            b',' if at + 1 < end => match levels.last_mut() {
                Some(Level::Object { in_value, .. }) => *in_value = false,
                Some(Level::Array { index }) => *index += 1,
                None => {}
            },
            b'"' => {
                let close = string_end(text, at + 1);
                if let Some(Level::Object {
                    key,
                    in_value: false,
                }) = levels.last_mut()
                {
                    let raw = &text[at + 1..close.min(text.len())];
                    *key = String::from_utf8_lossy(raw).into_owned();
                }
                at = close;
            }
            _ => {}
        }
        at += 1;
    }
    // A whole that lacks a part is in error itself, not the last of its parts.
    if reason.starts_with("missing field")
        && let Some(Level::Object { key, .. }) = levels.last_mut()
    {
        key.clear();
    }
    render(&levels)
}

fn nth_newline(text: &[u8], n: usize) -> Option<usize> {
    text.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(n - 1)
        .map(|(at, _)| at)
}

/// Index of the closing quote of a string whose first character is at `at`.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at
}

fn render(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object { key, .. } if key.is_empty() => {}
            Level::Object { key, .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Level::Array { index } => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn names_keys_and_indices() {
        let text = br#"{"a": 1, "mounts": [{"type": "x,]}"}, {"type": 7}], "z": 1}"#;
        let column = text.windows(2).position(|two| two == b"7}").expect("there") + 1;
        assert_eq!(locate(text, 1, column, ""), "mounts[1].type");
        assert_eq!(locate(text, 1, 7, ""), "a");
        assert_eq!(locate(text, 1, text.len() - 1, ""), "z");
    }

    #[test]
    fn what_lacks_a_part_is_named_itself() {
        let text = br#"{"a": [{"x": 1}, {"y": 2}]}"#;
        let column = text.len() - 2;
        assert_eq!(locate(text, 1, column, "missing field `z`"), "a[1]");
        assert_eq!(locate(text, 1, column, "unknown word"), "a[1].y");
    }

    #[test]
    fn counts_lines_and_survives_a_cut_text() {
        assert_eq!(
            locate(b"{\n \"linux\": {\n  \"seccomp\": 3", 3, 14, ""),
            "linux.seccomp"
        );
        assert_eq!(locate(b"{\"a\": \"unclosed", 1, 15, ""), "a");
        assert_eq!(locate(b"", 9, 9, ""), "");
        assert_eq!(locate(b"{\"a\\", 1, 4, ""), "a\\");
    }
}

//! Document to text, in the form that people edit.
//!
//! Documents are written without white space, by the one serializer that records use as well, and
//! indented afterwards: the machine code of a second serializer for all structures is saved.

use serde::Serialize;

/// Prints a document indented by tabs, as runc writes it, without a newline at the end.
///
/// # Errors
/// Never for the documents of this crate: their keys are strings.
pub fn print<T: Serialize>(document: &T) -> Result<String, serde_json::Error> {
    print_indented(document, "\t")
}

/// As [`print`], indented by `unit`.
///
/// # Errors
/// As [`print`].
pub fn print_indented<T: Serialize>(document: &T, unit: &str) -> Result<String, serde_json::Error> {
    Ok(indent(&serde_json::to_string(document)?, unit))
}

/// Indents a JSON text that has no white space between its tokens.
fn indent(compact: &str, unit: &str) -> String {
    let mut text = String::with_capacity(compact.len() * 2);
    let mut depth = 0_usize;
    let (mut in_string, mut escaped, mut opened) = (false, false, false);
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        (0..depth).for_each(|_| text.push_str(unit));
    };
    for token in compact.chars() {
        if in_string {
            in_string = escaped || token != '"';
            escaped = !escaped && token == '\\';
            text.push(token);
            continue;
        }
        let closes = matches!(token, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // Something in the brackets: the first of it, or their end, is on a line of its own.
        if opened != closes {
            line(&mut text, depth);
        }
        opened = matches!(token, '{' | '[');
        depth += usize::from(opened);
        in_string = token == '"';
        text.push(token);
        match token {
            ',' => line(&mut text, depth),
            ':' => text.push(' '),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{indent, print_indented};

    #[test]
    fn it_is_what_serde_json_makes_of_it() {
        let value = serde_json::json!({
            "a": [], "b": {}, "c": [1, -2.5, [[]], null], "d": {"e": {"f": true}},
            "quotes \" and \\": "{[,:]}\\", "": ["x\"", "\\"],
        });
        let wanted = serde_json::to_string_pretty(&value).expect("prints");
        assert_eq!(print_indented(&value, "  ").expect("prints"), wanted);
        for plain in ["1", "\"a,b\"", "null", "[]"] {
            assert_eq!(indent(plain, "  "), plain);
        }
    }
}

//! Where two requests differ: the name of the first field, for the answer to a repeated call that
//! asks for something else.

use serde::Serialize;
use serde_json::Value;

/// The path of the first field in which `a` and `b` differ ("security.capabilities.add[1]"), in
/// alphabetical order of field names; `None` when they are equal.
pub(crate) fn first_difference<T: Serialize>(a: &T, b: &T) -> Option<String> {
    // Our domain types always serialise: string keys, no maps with other keys.
    let (a, b) = (serde_json::to_value(a).ok()?, serde_json::to_value(b).ok()?);
    let mut path = String::new();
    differs(&a, &b, &mut path).then_some(path)
}

/// Leaves the path of the first difference in `path` and answers true, or leaves it as it was.
fn differs(a: &Value, b: &Value, path: &mut String) -> bool {
    let length = path.len();
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                let null = Value::Null;
                if differs(
                    a.get(key).unwrap_or(&null),
                    b.get(key).unwrap_or(&null),
                    path,
                ) {
                    return true;
                }
                path.truncate(length);
            }
            // A key whose value is null on one side and missing on the other is no difference.
            false
        }
        (Value::Array(a), Value::Array(b)) => {
            for at in 0..a.len().max(b.len()) {
                path.push_str(&format!("[{at}]"));
                match (a.get(at), b.get(at)) {
                    (Some(a), Some(b)) if !differs(a, b, path) => path.truncate(length),
                    _ => return true,
                }
            }
            false
        }
        _ => a != b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named() {
        let base = json!({"a": {"x": 1, "y": [1, {"z": 2}]}, "b": "t", "n": null});
        let cases = [
            (base.clone(), None),
            (json!({"a": {"x": 1, "y": [1, {"z": 2}]}, "b": "t"}), None),
            (
                json!({"a": {"x": 2, "y": [1, {"z": 2}]}, "b": "t"}),
                Some("a.x"),
            ),
            (
                json!({"a": {"x": 1, "y": [1, {"z": 3}]}, "b": "t"}),
                Some("a.y[1].z"),
            ),
            (json!({"a": {"x": 1, "y": [1]}, "b": "t"}), Some("a.y[1]")),
            (
                json!({"a": {"x": 1, "y": [1, {"z": 2}, 3]}, "b": "t"}),
                Some("a.y[2]"),
            ),
            (
                json!({"a": {"x": 1, "y": [1, {"z": 2}]}, "b": "t", "c": 1}),
                Some("c"),
            ),
            (json!({"a": 1, "b": "t"}), Some("a")),
        ];
        for (other, expected) in cases {
            assert_eq!(
                first_difference(&base, &other).as_deref(),
                expected,
                "{other}"
            );
        }
    }
}

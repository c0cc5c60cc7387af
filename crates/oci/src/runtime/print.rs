//! Document to text, in the form that people edit: indented by tabs, as runc writes it.

use serde::Serialize;

/// Prints a document, without a newline at the end.
///
/// # Errors
/// Never for the documents of this crate: their keys are strings.
pub fn print<T: Serialize>(document: &T) -> Result<String, serde_json::Error> {
    let mut text = Vec::with_capacity(4096);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    document.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, formatter,
    ))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

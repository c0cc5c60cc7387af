//! `--format`: the part of Go's templates that people use with lists, over the same JSON that
//! `-o json` prints.
//!
//! ```text
//! {{.name}}            a field; case and underscores do not matter: {{.PodName}} is pod_name
//! {{.info.pid}}        a field of a field
//! {{json .labels}}     a value as JSON; {{json .}} is all of it
//! \t \n                a tab, a new line
//! ```
//! The words `json` and `table` alone mean what they say.

use serde_json::Value;

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { path: Vec<String>, json: bool },
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        if text.trim() == "json" {
            return Ok(Template(vec![Part::Field {
                path: Vec::new(),
                json: true,
            }]));
        }
        if text.trim() == "table" {
            return Ok(Template(Vec::new()));
        }
        let mut rest = text.strip_prefix("table ").unwrap_or(text);
        let mut parts = Vec::new();
        while let Some((before, after)) = rest.split_once("{{") {
            parts.push(Part::Text(unescape(before)));
            let (inside, after) = after
                .split_once("}}")
                .ok_or_else(|| format!("{text:?} has a {{{{ without its }}}}"))?;
            parts.push(field(inside)?);
            rest = after;
        }
        parts.push(Part::Text(unescape(rest)));
        Ok(Template(parts))
    }

    /// Whether it was the word `table`: what there is without a template.
    pub(crate) fn is_table(&self) -> bool {
        self.0.is_empty()
    }

    /// The template with the fields of `value`; the error names the fields that there are.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Field { path, json } => {
                    let found = look_up(value, path)?;
                    match found {
                        Value::String(plain) if !json => text.push_str(plain),
                        Value::Null if !json => {}
                        other => text.push_str(&other.to_string()),
                    }
                }
            }
        }
        Ok(text)
    }
}

fn field(inside: &str) -> Result<Part, String> {
    let words: Vec<&str> = inside.split_whitespace().collect();
    let (json, path) = match words.as_slice() {
        ["json", path] => (true, *path),
        [path] => (false, *path),
        _ => return Err(not_understood(inside)),
    };
    let path = path
        .strip_prefix('.')
        .ok_or_else(|| not_understood(inside))?;
    let path = path.split('.').filter(|part| !part.is_empty());
    Ok(Part::Field {
        path: path.map(str::to_owned).collect(),
        json,
    })
}

fn not_understood(inside: &str) -> String {
    format!("{{{{{inside}}}}} is neither {{{{.field}}}} nor {{{{json .field}}}}")
}

fn look_up<'a>(value: &'a Value, path: &[String]) -> Result<&'a Value, String> {
    let mut at = value;
    for part in path {
        // Labels have dots in their names and a case of their own: exactly first.
        at = match at {
            Value::Object(map) => map
                .get(part)
                .or_else(|| {
                    map.iter()
                        .find(|(key, _)| same(key, part))
                        .map(|(_, value)| value)
                })
                .ok_or_else(|| {
                    let known: Vec<&str> = map.keys().map(String::as_str).collect();
                    let nearest = crate::nearest::of(&part.to_lowercase(), known.iter().copied());
                    match nearest {
                        Some(nearest) => format!("no field .{part}; did you mean .{nearest}?"),
                        None => format!("no field .{part}; there are {}", known.join(", ")),
                    }
                })?,
            Value::Array(list) => part
                .parse::<usize>()
                .ok()
                .and_then(|index| list.get(index))
                .ok_or_else(|| format!(".{part} is no place in a list of {}", list.len()))?,
            _ => return Err(format!("there is nothing below the value before .{part}")),
        };
    }
    Ok(at)
}

/// Docker's names for our fields, beside those that differ in case only.
fn same(key: &str, asked: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    let asked = plain(asked);
    let key = plain(key);
    key == asked
        || matches!(
            (asked.as_str(), key.as_str()),
            ("names", "name")
                | ("status", "state")
                | ("pod", "podname")
                | ("imageid", "id")
                | ("repotags", "names")
                | ("createdat" | "created", "createdat")
        )
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let value = json!({
            "name": "web", "pod_name": "p", "exit_code": 3,
            "labels": {"a.b": "c"}, "pid": null, "mounts": [{"host_path": "/x"}],
        });
        Template::parse(template)?.fill(&value)
    }

    #[test]
    fn fields_are_found_by_our_names_and_by_those_of_others() {
        for (template, text) in [
            ("{{.name}}\\t{{ .PodName }}", "web\tp"),
            ("{{.Names}} ({{.exit_code}})", "web (3)"),
            ("{{json .labels}}", "{\"a.b\":\"c\"}"),
            ("{{.mounts.0.HostPath}}", "/x"),
            ("[{{.pid}}]", "[]"),
            ("table {{.Name}}", "web"),
            ("plain", "plain"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn slips_are_named() {
        for (template, said) in [
            ("{{.nam}}", "no field .nam; did you mean .name?"),
            ("{{.colour}}", "there are exit_code"),
            ("{{.name", "without its }}"),
            ("{{range .}}x{{end}}", "neither {{.field}}"),
            ("{{.name.x}}", "nothing below"),
            ("{{.mounts.7}}", "no place"),
        ] {
            let error = filled(template).unwrap_err();
            assert!(error.contains(said), "{template}: {error}");
        }
    }
}

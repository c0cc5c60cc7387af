//! The last word of exec and attach on the error channel: Kubernetes' `metav1.Status` as JSON
//! (protocol versions 4 and 5), or a bare sentence (version 1).

use serde::Serialize;

use super::session::Outcome;

/// `metav1.Status`, as far as clients of streams read it.
#[derive(Debug, Serialize)]
struct Status<'a> {
    /// Always there, always empty.
    metadata: Empty,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
struct Details<'a> {
    causes: [Cause<'a>; 1],
}

#[derive(Debug, Serialize)]
struct Cause<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    message: &'a str,
}

/// The JSON of an outcome.
pub(crate) fn json(outcome: &Outcome) -> Vec<u8> {
    let (code, message);
    let status = match outcome {
        Outcome::Exited(0) => Status {
            metadata: Empty {},
            status: "Success",
            message: "",
            reason: "",
            details: None,
            code: None,
        },
        Outcome::Exited(exit) => {
            code = exit.to_string();
            message = text(outcome);
            Status {
                metadata: Empty {},
                status: "Failure",
                message: &message,
                reason: "NonZeroExitCode",
                details: Some(Details {
                    causes: [Cause {
                        reason: "ExitCode",
                        message: &code,
                    }],
                }),
                code: None,
            }
        }
        Outcome::Failed(why) => Status {
            metadata: Empty {},
            status: "Failure",
            message: why,
            reason: "InternalError",
            details: Some(Details {
                causes: [Cause {
                    reason: "",
                    message: why,
                }],
            }),
            code: Some(500),
        },
    };
    // Strings and numbers: nothing in it can fail to be written.
    serde_json::to_vec(&status).unwrap_or_default()
}

/// The sentence of an outcome; empty when all went well.
pub(crate) fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(0) => String::new(),
        Outcome::Exited(code) => format!("command terminated with non-zero exit code: {code}"),
        Outcome::Failed(why) => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_find_what_they_look_for() {
        let table = [
            (Outcome::Exited(0), r#"{"metadata":{},"status":"Success"}"#),
            (
                Outcome::Exited(3),
                r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#,
            ),
            (
                Outcome::Failed("no \"x\"".to_owned()),
                r#"{"metadata":{},"status":"Failure","message":"no \"x\"","reason":"InternalError","details":{"causes":[{"message":"no \"x\""}]},"code":500}"#,
            ),
        ];
        for (outcome, expected) in table {
            let json = String::from_utf8(json(&outcome)).unwrap();
            assert_eq!(json, expected);
        }
        assert_eq!(text(&Outcome::Exited(0)), "");
    }
}

//! The last word of a session: a Kubernetes `Status` as JSON on the error channel.

use serde::Deserialize;

/// How the far side says that it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The process ended with this code; for an attach: the stream ended in order.
    Code(i32),
    /// It did not come so far, or broke off: the sentence.
    Failed(String),
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Status {
    status: String,
    message: String,
    reason: String,
    details: Details,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

/// Reads a verdict. Anything that is no `Status` is a failure that says what came instead.
pub(super) fn parse(bytes: &[u8]) -> Verdict {
    let Ok(status) = serde_json::from_slice::<Status>(bytes) else {
        // Versions 1 to 3 of the protocol send bare words.
        return Verdict::Failed(String::from_utf8_lossy(bytes).trim().to_owned());
    };
    if status.status == "Success" {
        return Verdict::Code(0);
    }
    let code = status
        .details
        .causes
        .iter()
        .filter(|cause| cause.reason == "ExitCode")
        .find_map(|cause| cause.message.parse().ok());
    match code {
        Some(code) if status.reason == "NonZeroExitCode" => Verdict::Code(code),
        _ if status.message.is_empty() => {
            let text = String::from_utf8_lossy(bytes);
            Verdict::Failed(format!("the daemon said no more than {text}"))
        }
        _ => Verdict::Failed(status.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let failed = |text: &str| Verdict::Failed(text.to_owned());
        let table = [
            (r#"{"metadata":{},"status":"Success"}"#, Verdict::Code(0)),
            (
                r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#,
                Verdict::Code(3),
            ),
            (
                r#"{"metadata":{},"status":"Failure","message":"exec: \"x\": not found","reason":"InternalError","code":500}"#,
                failed("exec: \"x\": not found"),
            ),
            (
                r#"{"status":"Failure","reason":"NonZeroExitCode","message":"no number","details":{"causes":[{"reason":"ExitCode","message":"many"}]}}"#,
                failed("no number"),
            ),
            (
                r#"{"status":"Failure"}"#,
                failed(r#"the daemon said no more than {"status":"Failure"}"#),
            ),
            ("broken pipe\n", failed("broken pipe")),
        ];
        for (text, verdict) in table {
            assert_eq!(parse(text.as_bytes()), verdict, "{text}");
        }
    }
}

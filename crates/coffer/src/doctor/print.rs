//! Findings for people: by area, wrapped to the terminal, what to do below.

use super::{Finding, Paragraph, Verdict};
use crate::{paint::Paint, table::printable};

/// Below this width the finding stands under its name and not beside it.
const NARROW: usize = 72;
const INDENT: usize = 8;

/// The report as text.
pub(crate) fn shown(findings: &[Finding], width: Option<usize>, painted: bool) -> String {
    let mut text = String::new();
    let mut area = "";
    let longest = findings.iter().map(|one| one.check.chars().count()).max();
    let column = longest.unwrap_or(0) + 2;
    let narrow = width.is_some_and(|width| width < NARROW);
    for one in findings {
        if one.area != area {
            if !text.is_empty() {
                text.push('\n');
            }
            area = one.area;
            text.push_str(&Paint::Bold.on(area, painted));
            text.push('\n');
        }
        let (word, paint) = match one.verdict {
            Verdict::Ok => ("ok", Paint::Good),
            Verdict::Warn => ("warn", Paint::Warn),
            Verdict::Fail => ("FAIL", Paint::Bad),
        };
        let found = printable(&one.found);
        let body = if narrow {
            text.push_str(&format!("  {word:<6}{}\n", one.check));
            paragraph("", INDENT, width).fill(&found)
        } else {
            let first = format!("  {word:<6}{:<column$}", one.check);
            Paragraph {
                first: &first,
                rest: INDENT + column,
                width,
            }
            .fill(&found)
        };
        text.push_str(&body);
        if !one.fix.is_empty() {
            let rest = if narrow { INDENT } else { INDENT + column };
            text.push_str(&paragraph("→ ", rest, width).fill(&printable(&one.fix)));
        }
        // The verdict was written plain, so that wrapping counts right.
        if painted && let Some(at) = text.rfind(&format!("  {word:<6}{}", one.check)) {
            let word_at = at + 2;
            text.replace_range(word_at..word_at + word.len(), &paint.on(word, true));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// How many there are of each verdict, in a sentence.
pub(crate) fn counted(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
    format!(
        "{} as it should be, {} to look at, {} that keep pods from running",
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail),
    )
}

/// A paragraph that begins with `mark`, moved in by `rest`.
fn paragraph(mark: &str, rest: usize, width: Option<usize>) -> Filled {
    Filled {
        first: format!("{}{mark}", " ".repeat(rest)),
        rest: rest + mark.chars().count(),
        width,
    }
}

struct Filled {
    first: String,
    rest: usize,
    width: Option<usize>,
}

impl Filled {
    fn fill(&self, text: &str) -> String {
        Paragraph {
            first: &self.first,
            rest: self.rest,
            width: self.width,
        }
        .fill(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let finding = |area, check: &str, verdict, fix: &str| Finding {
            area,
            check: check.to_owned(),
            verdict,
            found: "something that takes more than one line on a narrow terminal".to_owned(),
            fix: fix.to_owned(),
        };
        vec![
            finding("kernel", "overlay", Verdict::Ok, ""),
            finding(
                "disk",
                "space",
                Verdict::Fail,
                "remove images: `coffer rmi`",
            ),
        ]
    }

    #[test]
    fn areas_verdicts_and_fixes_stand_in_their_places() {
        let text = shown(&findings(), None, false);
        assert!(
            text.starts_with("kernel\n  ok    overlay  something"),
            "{text}"
        );
        assert!(
            text.contains("\n\ndisk\n  FAIL  space    something"),
            "{text}"
        );
        assert!(
            text.contains("\n                 → remove images"),
            "{text}"
        );
        assert_eq!(
            counted(&findings()),
            "1 as it should be, 0 to look at, 1 that keep pods from running"
        );
    }

    #[test]
    fn every_width_holds() {
        for width in [40, 71, 72, 100] {
            let text = shown(&findings(), Some(width), false);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn paint_changes_nothing_but_colours() {
        let painted = shown(&findings(), Some(60), true);
        assert!(painted.contains("\x1b[31mFAIL\x1b[0m"), "{painted}");
        let plain = ["\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"]
            .iter()
            .fold(painted, |text, code| text.replace(code, ""));
        assert_eq!(plain, shown(&findings(), Some(60), false));
    }
}

//! A picture of a terminal: lines of painted text. Knows what line-wise programs show: colours
//! (SGR), newlines, carriage returns, erasing; nothing else moves the cursor.

use crate::Shown;

const WIDTH: f64 = 7.8;
const HEIGHT: f64 = 17.0;
const MARGIN: f64 = 14.0;

/// How a character looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Style {
    bold: bool,
    dim: bool,
    color: u8,
}

/// A line: when it was complete, and its characters.
#[derive(Debug, Default)]
struct Line {
    at: f64,
    cells: Vec<(char, Style)>,
}

/// The recording as SVG: each line appears when it appeared.
pub(crate) fn svg(shown: &[Shown], columns: u16) -> String {
    let lines = lines(shown);
    let width = MARGIN * 2.0 + WIDTH * f64::from(columns);
    let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let height = MARGIN * 2.0 + HEIGHT * f64::from(count);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"13\">\n\
         <style>@keyframes come{{from{{opacity:0}}to{{opacity:1}}}}text{{fill:#d8dee9;white-space:pre;\
         animation:come .01s both}}.b{{font-weight:bold;fill:#fff}}.d{{fill:#7b8694}}\
         .c31{{fill:#ff6b6b}}.c32{{fill:#8fd17a}}.c33{{fill:#f2c55c}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#161b22\"/>\n"
    );
    let mut y = MARGIN + HEIGHT * 0.75;
    for line in &lines {
        if line.cells.iter().any(|(c, _)| *c != ' ') {
            text.push_str(&format!(
                "<text x=\"{MARGIN}\" y=\"{y:.0}\" style=\"animation-delay:{:.2}s\">{}</text>\n",
                line.at,
                spans(&line.cells)
            ));
        }
        y += HEIGHT;
    }
    text.push_str("</svg>\n");
    text
}

fn spans(cells: &[(char, Style)]) -> String {
    let mut text = String::new();
    for run in cells.chunk_by(|one, other| one.1 == other.1) {
        let plain: String = run.iter().map(|(c, _)| escaped(*c)).collect();
        let style = run.first().map(|(_, style)| *style).unwrap_or_default();
        let mut classes = Vec::new();
        if style.bold {
            classes.push("b".to_owned());
        }
        if style.dim {
            classes.push("d".to_owned());
        }
        if style.color != 0 {
            classes.push(format!("c{}", style.color));
        }
        if classes.is_empty() {
            text.push_str(&plain);
        } else {
            text.push_str(&format!(
                "<tspan class=\"{}\">{plain}</tspan>",
                classes.join(" ")
            ));
        }
    }
    text
}

fn escaped(c: char) -> String {
    match c {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        c => c.to_string(),
    }
}

fn lines(shown: &[Shown]) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut style = Style::default();
    let mut column = 0;
    for one in shown {
        let mut chars = one.text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\n' => {
                    lines.push(Line::default());
                    column = 0;
                }
                '\r' => column = 0,
                '\u{1b}' => {
                    let mut sequence = String::new();
                    for c in chars.by_ref() {
                        sequence.push(c);
                        if c.is_ascii_alphabetic() {
                            break;
                        }
                    }
                    control(&sequence, &mut style, &mut lines, column);
                }
                c if c.is_control() => {}
                c => {
                    if let Some(line) = lines.last_mut() {
                        line.at = one.at;
                        while line.cells.len() <= column {
                            line.cells.push((' ', Style::default()));
                        }
                        line.cells[column] = (c, style);
                    }
                    column += 1;
                }
            }
        }
    }
    while lines.last().is_some_and(|line| line.cells.is_empty()) {
        lines.pop();
    }
    lines
}

fn control(sequence: &str, style: &mut Style, lines: &mut [Line], column: usize) {
    if sequence == "[K"
        && let Some(line) = lines.last_mut()
    {
        line.cells.truncate(column);
    }
    let Some(codes) = sequence
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix('m'))
    else {
        return;
    };
    for code in codes.split(';') {
        match code.parse::<u8>().unwrap_or(0) {
            0 => *style = Style::default(),
            1 => style.bold = true,
            2 => style.dim = true,
            22 => (style.bold, style.dim) = (false, false),
            39 => style.color = 0,
            color @ 31..=33 => style.color = color,
            _ => {}
        }
    }
}

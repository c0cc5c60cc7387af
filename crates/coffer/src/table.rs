//! Tables: columns as wide as their content, cut to the terminal where there is one.

use std::io::IsTerminal;

use crate::{error::Error, out};

const GAP: usize = 3;

/// A table with a header.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(header: &[&'static str]) -> Table {
        Table {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one text a column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Writes the table to standard output.
    pub(crate) fn print(&self) -> Result<(), Error> {
        let width = std::io::stdout()
            .is_terminal()
            .then(terminal_width)
            .flatten();
        out::raw(self.render(width).as_bytes())
    }

    /// The table as text. With a `width`, the widest columns give way until a line fits.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let mut widths: Vec<usize> = self
            .header
            .iter()
            .map(|name| name.chars().count())
            .collect();
        for row in &self.rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = (*column).max(cell.chars().count());
            }
        }
        if let Some(width) = width {
            shrink(&mut widths, width);
        }
        let mut text = String::new();
        let header: Vec<String> = self.header.iter().map(|name| (*name).to_owned()).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{:<width$}", cut(cell, *width)))
                .collect();
            text.push_str(cells.join(&" ".repeat(GAP)).trim_end());
            text.push('\n');
        }
        text
    }
}

/// Takes from the widest column, one at a time, until the line fits; no column goes below 8.
fn shrink(widths: &mut [usize], limit: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > limit {
        match widths.iter_mut().max_by_key(|width| **width) {
            Some(widest) if *widest > 8 => *widest -= 1,
            _ => return,
        }
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// What images and containers say about themselves must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["ID", "IMAGE"]);
        table.row(vec![
            "abc".into(),
            "docker.io/library/busybox:latest".into(),
        ]);
        table.row(vec!["d".into(), "x".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let text = sample().render(None);
        assert_eq!(
            text,
            "ID    IMAGE\nabc   docker.io/library/busybox:latest\nd     x\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        let text = sample().render(Some(20));
        assert!(
            text.lines().all(|line| line.chars().count() <= 20),
            "{text}"
        );
        assert!(text.contains("docker.io/lib…"), "{text}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(vec!["a\u{1b}[31mb".into()]);
        assert!(!table.render(None).contains('\u{1b}'));
    }
}

//! Tables: columns as wide as their content; on a terminal they fit it.
//!
//! ```text
//! natural widths fit?  yes ─► done
//!   │ no
//!   ├─ the widest columns are cut with …, none below its floor      long names stay recognisable
//!   ├─ columns that may be shed go, the highest `shed` first        ids and names never do
//!   └─ what is left is cut further, down to LEAST
//! ```
//! Into a pipe everything is written in full.

use std::io::IsTerminal;

use crate::{
    error::Error,
    out,
    paint::{self, Paint},
};

const GAP: usize = 3;
/// No column is narrower than this, whatever the terminal.
const LEAST: usize = 4;

/// A column: what stands above it, and how it behaves where there is little room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    head: &'static str,
    shed: u8,
    floor: usize,
    right: bool,
}

impl Column {
    /// A column that is never shed.
    pub(crate) const fn new(head: &'static str) -> Column {
        Column {
            head,
            shed: 0,
            floor: 12,
            right: false,
        }
    }

    /// May be left out on a narrow terminal; those with the highest number go first.
    pub(crate) const fn shed(mut self, order: u8) -> Column {
        self.shed = order;
        self
    }

    /// Width below which others are shed rather than this one cut.
    pub(crate) const fn floor(mut self, width: usize) -> Column {
        self.floor = width;
        self
    }

    /// Numbers stand on the right.
    pub(crate) const fn right(mut self) -> Column {
        self.right = true;
        self
    }
}

impl From<&'static str> for Column {
    fn from(head: &'static str) -> Column {
        Column::new(head)
    }
}

impl From<&&'static str> for Column {
    fn from(head: &&'static str) -> Column {
        Column::new(head)
    }
}

impl From<&Column> for Column {
    fn from(column: &Column) -> Column {
        *column
    }
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A painted cell.
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Cell {
        Cell {
            text: printable(&text.into()),
            paint,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::painted(text, Paint::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::painted(text, Paint::Plain)
    }
}

/// A table with a header.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    headless: bool,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: impl IntoIterator<Item = impl Into<Column>>) -> Table {
        Table {
            columns: columns.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
            headless: false,
        }
    }

    /// Leaves the header out.
    pub(crate) fn headless(mut self, headless: bool) -> Table {
        self.headless = headless;
        self
    }

    /// Adds a row, one cell a column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Writes the table to standard output: to the width of a terminal, in full elsewhere.
    pub(crate) fn print(&self) -> Result<(), Error> {
        out::raw(self.render(terminal_width(), paint::on_stdout()).as_bytes())
    }

    /// Writes the table without cutting anything.
    pub(crate) fn print_full(&self) -> Result<(), Error> {
        out::raw(self.render(None, paint::on_stdout()).as_bytes())
    }

    /// The table as text that fits `width`, if there is one.
    pub(crate) fn render(&self, width: Option<usize>, painted: bool) -> String {
        let widths = self.fit(width);
        let mut text = String::new();
        if !self.headless {
            let heads: Vec<Cell> = self
                .columns
                .iter()
                .map(|column| Cell::painted(column.head, Paint::Bold))
                .collect();
            self.line(&mut text, &heads, &widths, painted);
        }
        for row in &self.rows {
            self.line(&mut text, row, &widths, painted);
        }
        text
    }

    fn line(&self, text: &mut String, row: &[Cell], widths: &[Option<usize>], painted: bool) {
        let shown: Vec<(&Column, &Cell, usize)> = self
            .columns
            .iter()
            .zip(row)
            .zip(widths)
            .filter_map(|((column, cell), width)| Some((column, cell, (*width)?)))
            .collect();
        let mut pending = 0;
        for (column, cell, width) in shown {
            let cut = cut(&cell.text, width);
            let pad = width - cut.chars().count();
            let (before, after) = if column.right { (pad, 0) } else { (0, pad) };
            if !cut.is_empty() {
                text.push_str(&" ".repeat(pending + before));
                text.push_str(&cell.paint.on(&cut, painted));
                pending = after + GAP;
            } else {
                pending += width + GAP;
            }
        }
        text.push('\n');
    }

    /// Width of each column; `None` for one that is shed.
    fn fit(&self, limit: Option<usize>) -> Vec<Option<usize>> {
        let mut widths: Vec<Option<usize>> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let head = if self.headless {
                    0
                } else {
                    column.head.chars().count()
                };
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                Some(
                    cells
                        .map(|cell| cell.text.chars().count())
                        .fold(head, usize::max),
                )
            })
            .collect();
        let Some(limit) = limit else { return widths };
        let floors: Vec<usize> = self.columns.iter().map(|column| column.floor).collect();
        loop {
            let mut fitted = widths.clone();
            shrink(&mut fitted, &floors, limit);
            let kept = self.columns.iter().enumerate().zip(&widths);
            let next = kept
                .filter(|((_, column), width)| column.shed > 0 && width.is_some())
                .max_by_key(|((_, column), _)| column.shed)
                .map(|((at, _), _)| at);
            match next {
                Some(at) if total(&fitted) > limit => widths[at] = None,
                _ => {
                    shrink(&mut fitted, &vec![LEAST; floors.len()], limit);
                    return fitted;
                }
            }
        }
    }
}

fn total(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
}

/// Takes from the widest column that is above its floor, one at a time, until the line fits.
fn shrink(widths: &mut [Option<usize>], floors: &[usize], limit: usize) {
    while total(widths) > limit {
        let widest = widths
            .iter_mut()
            .zip(floors)
            .filter_map(|(width, floor)| width.as_mut().filter(|width| **width > *floor))
            .max_by_key(|width| **width);
        match widest {
            Some(width) => *width -= 1,
            None => return,
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
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Columns of the terminal that standard output is; `None` for anything else.
pub(crate) fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stdout).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new([
            Column::new("ID"),
            Column::new("IMAGE"),
            Column::new("SIZE").shed(2).right(),
            Column::new("STATE").shed(1),
        ]);
        table.row(["abc", "docker.io/library/busybox:latest", "7 B", ""]);
        table.row(["d", "x", "1000 B", "up"]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        assert_eq!(
            sample().render(None, false),
            "ID    IMAGE                                SIZE   STATE\n\
             abc   docker.io/library/busybox:latest      7 B\n\
             d     x                                  1000 B   up\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_names_then_sheds_columns() {
        for width in 10..70 {
            let text = sample().render(Some(width), false);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width, "{width}: {text}");
            assert!(text.contains("abc"), "{width}: {text}");
        }
        let text = sample().render(Some(45), false);
        assert!(
            text.contains("docker.io/library/bus…") && text.contains("STATE"),
            "{text}"
        );
        let text = sample().render(Some(28), false);
        assert!(text.contains("STATE") && !text.contains("SIZE"), "{text}");
        let text = sample().render(Some(20), false);
        assert!(
            !text.contains("STATE") && text.contains("docker.io/lib…"),
            "{text}"
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(["NAME"]);
        table.row(["a\u{1b}[31mb\nc"]);
        let text = table.render(None, false);
        assert!(
            !text.contains('\u{1b}') && text.lines().count() == 2,
            "{text}"
        );
    }

    #[test]
    fn paint_takes_no_room_and_the_header_can_go() {
        let mut table = Table::new(["A", "B"]).headless(true);
        table.row([Cell::painted("x", Paint::Good), "y".into()]);
        assert_eq!(table.render(None, true), "\x1b[32mx\x1b[0m   y\n");
    }
}

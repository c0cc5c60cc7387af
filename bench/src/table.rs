//! A markdown table whose columns line up, as `docs/performance.md` shows it.

/// Lays out `rows` below `head`; the first column is left-aligned, all others right-aligned.
pub(crate) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(head.get(column).map(|h| h.chars().count()))
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::from("|");
        for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if i == 0 {
                out.push_str(&format!(" {cell:<width$} |"));
            } else {
                out.push_str(&format!(" {cell:>width$} |"));
            }
        }
        out.push('\n');
        out
    };
    let mut out = line(head.to_vec());
    out.push('|');
    for (i, width) in widths.iter().enumerate() {
        let dashes = "-".repeat(*width);
        out.push_str(&if i == 0 {
            format!(" {dashes} |")
        } else {
            format!(" {}: |", &dashes[1..])
        });
    }
    out.push('\n');
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let table = super::markdown(
            &["program", "ms"],
            &[
                vec!["coffer-oci".into(), "9.10".into()],
                vec!["crun".into(), "10.00".into()],
            ],
        );
        assert_eq!(
            table,
            "| program    |    ms |\n| ---------- | ----: |\n| coffer-oci |  9.10 |\n| crun       | 10.00 |\n"
        );
    }
}

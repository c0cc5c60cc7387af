//! The mounts of a namespace: lines of `/proc/<pid>/mountinfo`, see proc_pid_mountinfo(5).

use std::borrow::Cow;

/// A mount.
pub(crate) struct Entry<'a> {
    /// What of the filesystem it shows.
    pub(crate) root: Cow<'a, str>,
    pub(crate) point: Cow<'a, str>,
    pub(crate) fstype: &'a str,
    pub(crate) super_options: &'a str,
}

impl<'a> Entry<'a> {
    /// Of one line; `None` for one of another form.
    pub(crate) fn parse(line: &'a str) -> Option<Entry<'a>> {
        let mut fields = line.split(' ').skip(3);
        let root = unescape(fields.next()?);
        let point = unescape(fields.next()?);
        // Behind the options: as many tags as there are, and what ends them.
        fields.find(|field| *field == "-")?;
        let fstype = fields.next()?;
        let super_options = fields.nth(1).unwrap_or("");
        Some(Entry {
            root,
            point,
            fstype,
            super_options,
        })
    }
}

/// Undoes mountinfo's `\040` escapes.
fn unescape(field: &str) -> Cow<'_, str> {
    if !field.contains('\\') {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

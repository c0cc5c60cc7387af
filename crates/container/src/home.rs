//! HOME of a user who has none in the environment: from the container's own passwd.

use std::{os::fd::AsFd, path::Path};

/// passwd files are small; what is longer is not read (S18).
const LIMIT: u64 = 10 << 20;

/// The home directory of `uid` by `etc/passwd` below `root`, or `/`.
pub(crate) fn of(root: impl AsFd, uid: u32) -> String {
    let bytes = sys::in_root::read(root, Path::new("etc/passwd"), LIMIT).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    find(&text, uid).unwrap_or("/").to_owned()
}

fn find(text: &str, uid: u32) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.nth(2)?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (found == uid && home.starts_with('/')).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_sixth_field_counts() {
        let text = "# x\nroot:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/false\nbad:x:9\n";
        assert_eq!(find(text, 0), Some("/root"));
        assert_eq!(find(text, 33), Some("/srv"));
        assert_eq!(find(text, 9), None);
        assert_eq!(find("a:x:1:1::relative:\n", 1), None);
    }
}

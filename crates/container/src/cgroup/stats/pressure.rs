//! Pressure stall information: `some avg10=0.12 avg60=0.00 avg300=0.00 total=1234` (µs), `full` too.

use std::path::Path;

use super::super::error::Error;
use super::super::file;
use super::PressureStats;

/// The two lines of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: PressureLine,
    /// All tasks waited.
    pub full: PressureLine,
}

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PressureLine {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Time waited, in nanoseconds.
    pub total_ns: u64,
}

/// Reads the three pressure files of a cgroup2 directory.
pub(super) fn read(dir: &Path) -> Result<PressureStats, Error> {
    let one = |name: &str| -> Result<Option<Pressure>, Error> {
        let path = dir.join(name);
        let text = file::read_optional(&path)?;
        text.filter(|t| !t.is_empty())
            .map(|t| parse(&path, &t))
            .transpose()
    };
    Ok(PressureStats {
        cpu: one("cpu.pressure")?,
        memory: one("memory.pressure")?,
        io: one("io.pressure")?,
    })
}

fn parse(path: &Path, text: &str) -> Result<Pressure, Error> {
    let bad = || file::format_error(path, text, "pressure lines");
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let slot = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => return Err(bad()),
        };
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(bad)?;
            let average = || percent(value).ok_or_else(bad);
            match key {
                "avg10" => slot.avg10 = average()?,
                "avg60" => slot.avg60 = average()?,
                "avg300" => slot.avg300 = average()?,
                "total" => {
                    let us = value.parse::<u64>().map_err(|_| bad())?;
                    slot.total_ns = us.saturating_mul(1000);
                }
                _ => {}
            }
        }
    }
    Ok(pressure)
}

/// Two decimals, as the kernel prints them. (Parsing any number that there is takes 20 KB of tables.)
fn percent(text: &str) -> Option<f64> {
    let (whole, decimals) = text.split_once('.')?;
    let [tens, ones] = decimals.as_bytes() else {
        return None;
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let whole: u32 = whole.parse().ok()?;
    let hundredths = whole.checked_mul(100)? + digit(tens)? * 10 + digit(ones)?;
    Some(f64::from(hundredths) / 100.)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\n\
                    full avg10=0.10 avg60=0.00 avg300=0.00 total=9\n";
        let p = parse(Path::new("/x"), text).unwrap();
        assert_eq!(
            p.some,
            PressureLine {
                avg10: 1.5,
                avg60: 0.25,
                avg300: 0.,
                total_ns: 1234000
            }
        );
        assert_eq!(p.full.total_ns, 9000);
    }

    #[test]
    fn another_form_is_an_error() {
        for bad in [
            "most avg10=0.00",
            "some avg10",
            "some total=x",
            "some avg10=1",
            "some avg10=1.5",
            "some avg10=1.x0",
            "some avg10=-1.00",
        ] {
            parse(Path::new("/x"), bad).unwrap_err();
        }
    }
}

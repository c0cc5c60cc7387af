//! PAX extended headers: `<length> key=value\n`, the length counting the whole record.

use super::{Error, show};

/// The records that mean something to us; all else is passed over.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// GNU's three ways to say where the data of a sparse file lie.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// 0.0 and 0.1: the map is in the header.
    pub(super) map: Option<Vec<(u64, u64)>>,
    /// 1.0: the map is in front of the data.
    pub(super) map_in_data: bool,
    pending_offset: Option<u64>,
    major: Option<u64>,
}

impl Pax {
    pub(super) fn parse(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or_else(|| Error::Entry {
                entry: show(data),
                problem: "a PAX record is malformed".into(),
            })?;
            self.take(key, value)?;
            data = rest;
        }
        self.sparse.map_in_data = self.sparse.major == Some(1);
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let bad = |field| Error::Number {
            entry: show(value),
            field,
        };
        match key {
            b"path" => self.path = some(value),
            b"linkpath" => self.link = some(value),
            b"size" => {
                let size = decimal(value).filter(|&size| i64::try_from(size).is_ok());
                self.size = Some(size.ok_or_else(|| bad("size"))?);
            }
            b"uid" => self.uid = Some(decimal(value).ok_or_else(|| bad("uid"))?),
            b"gid" => self.gid = Some(decimal(value).ok_or_else(|| bad("gid"))?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| bad("mtime"))?),
            b"GNU.sparse.name" => self.sparse.name = some(value),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.real_size = Some(decimal(value).ok_or_else(|| bad("sparse size"))?);
            }
            b"GNU.sparse.major" => {
                self.sparse.major = Some(decimal(value).ok_or_else(|| bad("sparse version"))?);
            }
            b"GNU.sparse.offset" => {
                self.sparse.pending_offset =
                    Some(decimal(value).ok_or_else(|| bad("sparse offset"))?);
            }
            b"GNU.sparse.numbytes" => {
                let length = decimal(value).ok_or_else(|| bad("sparse length"))?;
                let offset = self
                    .sparse
                    .pending_offset
                    .take()
                    .ok_or_else(|| bad("sparse offset"))?;
                self.sparse
                    .map
                    .get_or_insert_default()
                    .push((offset, length));
            }
            b"GNU.sparse.map" => {
                self.sparse.map = Some(map(value).ok_or_else(|| bad("sparse map"))?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// An empty value takes a record back.
fn some(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = data.iter().take(20).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&data[..blank])?).ok()?;
    if length > data.len() || length <= blank + 1 {
        return None;
    }
    let (record, rest) = data.split_at(length);
    let body = record[blank + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|&b| b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], rest))
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[-]seconds[.fraction]`; the fraction counts away from zero.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&b| b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0u32, |nanos, at| {
        nanos * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'))
    });
    Some(match (negative, nanos) {
        (false, nanos) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

/// `offset,length,offset,length…`
fn map(text: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers: Option<Vec<u64>> = text.split(|&b| b == b',').map(decimal).collect();
    let (pairs, rest) = numbers.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| {
        pairs
            .iter()
            .map(|&[offset, length]| (offset, length))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        for (text, value) in [
            ("0", Some((0, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("12.0000000019", Some((12, 1))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("1.x", None),
            ("", None),
            ("9999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in [
            "x",
            "5 a=b\n",
            "3 \n",
            "99 path=x\n",
            "0 a=b\n",
            "9 path=x ",
            "6 abcd\n",
        ] {
            assert!(Pax::default().parse(text.as_bytes()).is_err(), "{text:?}");
        }
        let mut pax = Pax::default();
        pax.parse(b"10 path=x\n25 SCHILY.xattr.user.a=1\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(b"x".as_slice()));
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"1".to_vec())]);
    }
}

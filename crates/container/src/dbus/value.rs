//! Values and their bytes, by the D-Bus specification: little endian, each aligned to its size from the
//! start of the message (bodies start at a multiple of 8, so from the body's own start as well).

use super::Error;

/// The largest message, by the specification.
pub(super) const MAX: usize = 128 << 20;
/// Containers are nested up to 32 of each kind.
const MAX_DEPTH: usize = 64;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the specification's types")]
pub enum Value {
    Byte(u8),
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Text(String),
    Path(String),
    Signature(String),
    /// The elements' signature, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn variant(self) -> Self {
        Self::Variant(Box::new(self))
    }

    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::Array(
            "y".to_owned(),
            bytes.iter().map(|&b| Self::Byte(b)).collect(),
        )
    }

    /// The text of a string, a path, or a variant of them.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            Self::Variant(inner) => inner.as_text(),
            _ => None,
        }
    }

    pub(super) fn as_u32(&self) -> Option<u32> {
        match self {
            Self::U32(number) => Some(*number),
            Self::Variant(inner) => inner.as_u32(),
            _ => None,
        }
    }

    /// Its signature.
    #[must_use]
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::I64(_) => "x".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Array(of, _) => format!("a{of}"),
            Self::Struct(fields) => {
                format!(
                    "({})",
                    fields.iter().map(Self::signature).collect::<String>()
                )
            }
            Self::Variant(_) => "v".to_owned(),
        }
    }

    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(b) => out.push(*b),
            Self::Bool(b) => number(out, &u32::from(*b).to_le_bytes()),
            Self::I32(n) => number(out, &n.to_le_bytes()),
            Self::U32(n) => number(out, &n.to_le_bytes()),
            Self::I64(n) => number(out, &n.to_le_bytes()),
            Self::U64(n) => number(out, &n.to_le_bytes()),
            Self::Text(text) | Self::Path(text) => {
                number(out, &length(text.len()));
                out.extend(text.as_bytes());
                out.push(0);
            }
            Self::Signature(text) => {
                out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                out.extend(text.as_bytes());
                out.push(0);
            }
            Self::Array(of, elements) => {
                number(out, &[0; 4]);
                let length_at = out.len() - 4;
                pad(out, alignment(of));
                let start = out.len();
                elements.iter().for_each(|e| e.encode(out));
                let bytes = length(out.len() - start);
                if let Some(place) = out.get_mut(length_at..length_at + 4) {
                    place.copy_from_slice(&bytes);
                }
            }
            Self::Struct(fields) => {
                pad(out, 8);
                fields.iter().for_each(|f| f.encode(out));
            }
            Self::Variant(inner) => {
                Self::Signature(inner.signature()).encode(out);
                inner.encode(out);
            }
        }
    }
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes()
}

fn number(out: &mut Vec<u8>, bytes: &[u8]) {
    pad(out, bytes.len());
    out.extend(bytes);
}

pub(super) fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn alignment(signature: &str) -> usize {
    match signature.bytes().next() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// Reads values from bytes, never beyond their end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The values of a signature.
    pub(super) fn values(&mut self, signature: &str) -> Result<Vec<Value>, Error> {
        let mut rest = signature;
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (one, after) = split(rest)?;
            out.push(self.value(one, 0)?);
            rest = after;
        }
        Ok(out)
    }

    fn value(&mut self, signature: &str, depth: usize) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Protocol("values are nested too deep"));
        }
        Ok(match signature.as_bytes() {
            [b'y'] => Value::Byte(self.take::<1>()?[0]),
            [b'b'] => Value::Bool(u32::from_le_bytes(self.take()?) != 0),
            [b'i'] => Value::I32(i32::from_le_bytes(self.take()?)),
            [b'u' | b'h'] => Value::U32(u32::from_le_bytes(self.take()?)),
            [b'n' | b'q'] => Value::U32(u16::from_le_bytes(self.take()?).into()),
            [b'x'] => Value::I64(i64::from_le_bytes(self.take()?)),
            [b't' | b'd'] => Value::U64(u64::from_le_bytes(self.take()?)),
            [b's'] => Value::Text(self.string()?),
            [b'o'] => Value::Path(self.string()?),
            [b'g'] => Value::Signature(self.signature()?),
            [b'v'] => {
                let inner = self.signature()?;
                let (one, rest) = split(&inner)?;
                if !rest.is_empty() {
                    return Err(Error::Protocol("a variant of several values"));
                }
                self.value(one, depth + 1)?.variant()
            }
            [b'a', ..] => {
                let of = signature.get(1..).unwrap_or_default();
                let length = u32::from_le_bytes(self.take()?);
                let length = usize::try_from(length).unwrap_or(MAX);
                self.skip_to(alignment(of))?;
                let end = self.at.saturating_add(length);
                if end > self.bytes.len() {
                    return Err(Error::Protocol("an array that is longer than its message"));
                }
                let mut elements = Vec::new();
                while self.at < end {
                    elements.push(self.value(of, depth + 1)?);
                }
                Value::Array(of.to_owned(), elements)
            }
            [b'(' | b'{', .., _] => {
                self.skip_to(8)?;
                let mut inner = signature.get(1..signature.len() - 1).unwrap_or_default();
                let mut fields = Vec::new();
                while !inner.is_empty() {
                    let (one, rest) = split(inner)?;
                    fields.push(self.value(one, depth + 1)?);
                    inner = rest;
                }
                Value::Struct(fields)
            }
            _ => return Err(Error::Protocol("an unknown type")),
        })
    }

    fn skip_to(&mut self, alignment: usize) -> Result<(), Error> {
        self.at = self.at.next_multiple_of(alignment);
        if self.at > self.bytes.len() {
            return Err(Error::Protocol("a message that is cut off"));
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.skip_to(N)?;
        let bytes = self.slice(N)?;
        bytes
            .try_into()
            .map_err(|_| Error::Protocol("a message that is cut off"))
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.saturating_add(length);
        let slice = self.bytes.get(self.at..end);
        self.at = end;
        slice.ok_or(Error::Protocol("a message that is cut off"))
    }

    fn string(&mut self) -> Result<String, Error> {
        let length = u32::from_le_bytes(self.take()?);
        self.text(usize::try_from(length).unwrap_or(MAX))
    }

    fn signature(&mut self) -> Result<String, Error> {
        let [length] = self.take::<1>()?;
        self.text(length.into())
    }

    fn text(&mut self, length: usize) -> Result<String, Error> {
        let bytes = self.slice(length)?;
        self.slice(1)?;
        let text = std::str::from_utf8(bytes);
        Ok(text
            .map_err(|_| Error::Protocol("a string that is not UTF-8"))?
            .to_owned())
    }
}

/// The first complete type of a signature, and the rest.
fn split(signature: &str) -> Result<(&str, &str), Error> {
    let mut depth = 0_usize;
    for (at, c) in signature.char_indices() {
        match c {
            'a' => continue,
            '(' | '{' => depth += 1,
            ')' | '}' => {
                depth = depth
                    .checked_sub(1)
                    .ok_or(Error::Protocol("a signature's brackets"))?;
            }
            _ => {}
        }
        if depth == 0 {
            return Ok(signature.split_at(at + c.len_utf8()));
        }
    }
    Err(Error::Protocol("a signature that is cut off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Value> {
        let pair =
            |name: &str, value: Value| Value::Struct(vec![Value::text(name), value.variant()]);
        vec![
            Value::text("a.scope"),
            Value::Byte(7),
            Value::Array(
                "(sv)".to_owned(),
                vec![
                    pair("Delegate", Value::Bool(true)),
                    pair("PIDs", Value::Array("u".to_owned(), vec![Value::U32(4711)])),
                    pair("AllowedCPUs", Value::bytes(&[3])),
                    pair("MemoryMax", Value::U64(u64::MAX)),
                    pair("Nice", Value::I32(-3)),
                    pair("Big", Value::I64(-1 << 40)),
                ],
            ),
            Value::Array("(sa(sv))".to_owned(), vec![]),
            Value::Path("/job/1".to_owned()),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let values = sample();
        let signature: String = values.iter().map(Value::signature).collect();
        assert_eq!(signature, "sya(sv)a(sa(sv))o");
        let mut bytes = Vec::new();
        values.iter().for_each(|v| v.encode(&mut bytes));
        assert_eq!(Reader::new(&bytes, 0).values(&signature).unwrap(), values);
        for cut in 0..bytes.len() {
            assert!(
                Reader::new(&bytes[..cut], 0).values(&signature).is_err(),
                "{cut}"
            );
        }
    }

    #[test]
    fn the_bytes_are_the_specifications() {
        let mut bytes = Vec::new();
        Value::Byte(1).encode(&mut bytes);
        Value::Array("t".to_owned(), vec![Value::U64(2)]).encode(&mut bytes);
        Value::text("ab").encode(&mut bytes);
        // The padding before the first element is not part of the array's length.
        let wanted = b"\x01\0\0\0\x08\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0ab\0";
        assert_eq!(bytes, wanted);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail_otherwise(
            bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..64),
            signature in "[ybiutsogva(){}]{0,8}",
        ) {
            let _ = Reader::new(&bytes, 0).values(&signature);
        }
    }
}

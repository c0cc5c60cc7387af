//! Frames: a header of fixed and named fields, padded to 8, then the body.

use super::Error;
use super::value::{MAX, Reader, Value, pad};

/// Kinds of messages.
pub(super) const CALL: u8 = 1;
pub(super) const RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// Bytes of the fixed fields and of the length of the named ones.
pub(super) const FIXED: usize = 16;

/// Named fields, by the specification's numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) path: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) member: Option<String>,
    pub(super) error: Option<String>,
    pub(super) reply_to: Option<u32>,
    pub(super) destination: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) signature: Option<String>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(super) kind: u8,
    pub(super) serial: u32,
    pub(super) fields: Fields,
    pub(super) body: Vec<Value>,
}

impl Message {
    fn new(kind: u8, fields: Fields, body: Vec<Value>) -> Self {
        Self {
            kind,
            serial: 0,
            fields,
            body,
        }
    }

    /// The answer to a call.
    #[must_use]
    pub fn answer(call: &Message, body: Vec<Value>) -> Self {
        let fields = Fields {
            reply_to: Some(call.serial),
            ..Fields::default()
        };
        Self::new(RETURN, fields, body)
    }

    /// An error in answer to a call.
    #[must_use]
    pub fn error(call: &Message, name: &str, text: &str) -> Self {
        let fields = Fields {
            reply_to: Some(call.serial),
            error: Some(name.to_owned()),
            ..Fields::default()
        };
        Self::new(ERROR, fields, vec![Value::text(text)])
    }

    /// A signal to all who listen.
    #[must_use]
    pub fn signal(path: &str, interface: &str, member: &str, body: Vec<Value>) -> Self {
        let fields = Fields {
            path: Some(path.to_owned()),
            interface: Some(interface.to_owned()),
            member: Some(member.to_owned()),
            ..Fields::default()
        };
        Self::new(SIGNAL, fields, body)
    }

    /// The same message, to somebody.
    #[must_use]
    pub fn to(mut self, destination: &str) -> Self {
        self.fields.destination = Some(destination.to_owned());
        self
    }

    /// Whether it is a method call.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.kind == CALL
    }

    /// The method or signal.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        self.fields.member.as_deref()
    }

    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> Option<&str> {
        self.fields.sender.as_deref()
    }

    /// What it says.
    #[must_use]
    pub fn body(&self) -> &[Value] {
        &self.body
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.body.iter().for_each(|v| v.encode(&mut body));
        let signature: String = self.body.iter().map(Value::signature).collect();
        let text = |number: u8, value: &Option<String>, make: fn(String) -> Value| {
            let value = value.clone().map(make)?;
            Some(Value::Struct(vec![Value::Byte(number), value.variant()]))
        };
        let fields = &self.fields;
        let named: Vec<Value> = [
            text(1, &fields.path, Value::Path),
            text(2, &fields.interface, Value::Text),
            text(3, &fields.member, Value::Text),
            text(4, &fields.error, Value::Text),
            fields
                .reply_to
                .map(|serial| Value::Struct(vec![Value::Byte(5), Value::U32(serial).variant()])),
            text(6, &fields.destination, Value::Text),
            text(
                8,
                &(!signature.is_empty()).then_some(signature),
                Value::Signature,
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut out = vec![b'l', self.kind, 0, 1];
        Value::U32(u32::try_from(body.len()).unwrap_or(u32::MAX)).encode(&mut out);
        Value::U32(self.serial).encode(&mut out);
        Value::Array("(yv)".to_owned(), named).encode(&mut out);
        pad(&mut out, 8);
        out.extend(body);
        out
    }

    /// How many bytes the message has whose first [`FIXED`] these are.
    pub(super) fn length(fixed: &[u8; FIXED]) -> Result<usize, Error> {
        if fixed[0] != b'l' || fixed[3] != 1 {
            // The bus itself answers in the order of the machine it runs on, which is ours.
            return Err(Error::Protocol("another byte order or version"));
        }
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(fixed.get(at..at + 4).unwrap_or(&[0; 4]));
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(MAX)
        };
        let fields = word(12).saturating_add(FIXED).next_multiple_of(8);
        let total = fields.saturating_add(word(4));
        if total > MAX {
            return Err(Error::Protocol("a message over 128 MiB"));
        }
        Ok(total)
    }

    /// Reads a whole message.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let head = Reader::new(bytes, 0).values("yyyyuua(yv)")?;
        let [
            _,
            Value::Byte(kind),
            _,
            _,
            Value::U32(body),
            Value::U32(serial),
            Value::Array(_, list),
        ] = head.as_slice()
        else {
            return Err(Error::Protocol("a header of other fields"));
        };
        let mut fields = Fields::default();
        for field in list {
            let Value::Struct(pair) = field else { continue };
            let [Value::Byte(number), value] = pair.as_slice() else {
                continue;
            };
            let text = || value.as_text().map(str::to_owned);
            match number {
                1 => fields.path = text(),
                2 => fields.interface = text(),
                3 => fields.member = text(),
                4 => fields.error = text(),
                5 => fields.reply_to = value.as_u32(),
                6 => fields.destination = text(),
                7 => fields.sender = text(),
                8 => fields.signature = text(),
                _ => {}
            }
        }
        let body = usize::try_from(*body).unwrap_or(MAX);
        let start = bytes
            .len()
            .checked_sub(body)
            .ok_or(Error::Protocol("a body that is longer than its message"))?;
        let signature = fields.signature.clone().unwrap_or_default();
        let body = Reader::new(bytes.get(start..).unwrap_or_default(), 0).values(&signature)?;
        Ok(Self {
            kind: *kind,
            serial: *serial,
            fields,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_and_knows_its_length() {
        let message = Message {
            kind: CALL,
            serial: 9,
            fields: Fields {
                path: Some("/org/freedesktop/systemd1".to_owned()),
                interface: Some("org.freedesktop.systemd1.Manager".to_owned()),
                member: Some("StopUnit".to_owned()),
                destination: Some("org.freedesktop.systemd1".to_owned()),
                signature: Some("ss".to_owned()),
                ..Fields::default()
            },
            body: vec![Value::text("a.scope"), Value::text("replace")],
        };
        let bytes = message.encode();
        let fixed: [u8; FIXED] = bytes[..FIXED].try_into().unwrap();
        assert_eq!(Message::length(&fixed).unwrap(), bytes.len());
        assert_eq!(Message::decode(&bytes).unwrap(), message);
        for cut in FIXED..bytes.len() {
            let _ = Message::decode(&bytes[..cut]);
        }
    }

    #[test]
    fn a_recorded_signal_is_read() {
        // dbus-daemon 1.14: NameAcquired to a new connection.
        let mut bytes = b"l\x04\x01\x01\x09\0\0\0\x02\0\0\0\x8d\0\0\0".to_vec();
        let field = |bytes: &mut Vec<u8>, number: u8, kind: u8, text: &str| {
            pad(bytes, 8);
            bytes.extend([number, 1, kind, 0]);
            if kind == b'g' {
                bytes.push(1);
            } else {
                bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            }
            bytes.extend(text.as_bytes());
            bytes.push(0);
        };
        field(&mut bytes, 1, b'o', "/org/freedesktop/DBus");
        field(&mut bytes, 2, b's', "org.freedesktop.DBus");
        field(&mut bytes, 3, b's', "NameAcquired");
        field(&mut bytes, 8, b'g', "s");
        field(&mut bytes, 7, b's', "org.freedesktop.DBus");
        let named = u32::try_from(bytes.len() - FIXED).unwrap();
        bytes[12..16].copy_from_slice(&named.to_le_bytes());
        pad(&mut bytes, 8);
        bytes.extend(b"\x04\0\0\0:1.1\0");
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.kind, SIGNAL);
        assert_eq!(message.fields.member.as_deref(), Some("NameAcquired"));
        assert_eq!(message.body, [Value::text(":1.1")]);
    }
}

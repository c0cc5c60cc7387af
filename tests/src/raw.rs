//! Messages as bytes: for what a generated client can't say, and to see what really came.

use std::path::Path;

use bytes::{Buf, BufMut};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

use crate::Client;

/// One call with these bytes as its request: the bytes of its answer. `path` is "/package.Service/Method".
///
/// # Errors
/// The daemon's, or UNAVAILABLE when nobody listens.
pub async fn call(socket: &Path, path: &'static str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let channel = Client::channel(socket)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(Request::new(message), path, Bytes).await?;
    Ok(answer.into_inner())
}

/// A field with a number.
pub fn number(field: u32, value: u64) -> Vec<u8> {
    let mut bytes = varint(u64::from(field) << 3);
    bytes.extend(varint(value));
    bytes
}

/// A field with text, bytes, a message or packed numbers.
pub fn bytes(field: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = varint((u64::from(field) << 3) | 2);
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

/// A number alone, as in a packed field.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// Text, bytes or a message.
    Bytes(Vec<u8>),
}

/// The fields of a message, in order.
///
/// # Panics
/// It is no message of numbers and bytes.
pub fn fields(mut message: &[u8]) -> Vec<(u32, Value)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message);
        let field = u32::try_from(key >> 3).unwrap_or(0);
        let value = match key & 7 {
            0 => Value::Number(take_varint(&mut message)),
            2 => {
                let length = usize::try_from(take_varint(&mut message)).unwrap_or(usize::MAX);
                let (content, rest) = message.split_at(length);
                message = rest;
                Value::Bytes(content.to_vec())
            }
            other => panic!("field {field} has wire type {other}"),
        };
        fields.push((field, value));
    }
    fields
}

/// The one field with this number; `None` if it is absent.
///
/// # Panics
/// There are several.
pub fn field(message: &[u8], number: u32) -> Option<Value> {
    let all = fields(message);
    let mut found = all.into_iter().filter(|(field, _)| *field == number);
    let value = found.next().map(|(_, value)| value);
    assert!(found.next().is_none(), "field {number} is there twice");
    value
}

/// The message in this field.
///
/// # Panics
/// It is not there.
pub fn message(message: &[u8], number: u32) -> Vec<u8> {
    match field(message, number) {
        Some(Value::Bytes(bytes)) => bytes,
        other => panic!("field {number} is {other:?}"),
    }
}

fn take_varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message
            .split_first()
            .unwrap_or_else(|| panic!("a number is cut off"));
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

#[derive(Debug, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Bytes;
    type Decoder = Bytes;

    fn encoder(&mut self) -> Bytes {
        Bytes
    }

    fn decoder(&mut self) -> Bytes {
        Bytes
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

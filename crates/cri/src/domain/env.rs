//! Environment variables: values are bytes on the wire, text almost always.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name.
    pub key: String,
    /// Value.
    pub value: EnvValue,
}

/// A value. In JSON a string where it is UTF-8, else `{"hex": "…"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvValue(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Hex { hex: String },
}

impl EnvValue {
    /// The value as text, where it is.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for EnvValue {
    fn from(text: &str) -> EnvValue {
        EnvValue(text.as_bytes().to_vec())
    }
}

impl Serialize for EnvValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(text) => serializer.serialize_str(text),
            None => Form::Hex {
                hex: hex::encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EnvValue, D::Error> {
        Ok(EnvValue(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_bytes(),
            Form::Hex { hex } => hex::decode(hex).map_err(serde::de::Error::custom)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_survive_json() {
        for value in [
            EnvValue::from(""),
            EnvValue::from("a=b\n"),
            EnvValue(vec![0xff, 0, 1]),
        ] {
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(
                serde_json::from_str::<EnvValue>(&json).unwrap(),
                value,
                "{json}"
            );
        }
    }
}

//! What every structure of the documents has in common, said once.
//!
//! * an absent key and a `null` (what Go writes for an empty slice or pointer) are the same: the
//!   default value of the field;
//! * a field with its default value is not printed;
//! * an unknown key is ignored, as the specification demands of runtimes; an unknown *value* of a
//!   known key is an error (see [`words!`]).

use serde::{Deserialize, Deserializer};

/// Reads a value, or its default where Go wrote `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// True when a field holds its default and need not be printed.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares structures whose fields are optional, `null`-tolerant and printed only when set; those
/// of an `always` block are printed even with their default value, those of a `required` block must
/// be there, those of a `custom` block say themselves how they are read.
macro_rules! document {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $(required {
            $($(#[$required_meta:meta])* pub $required:ident: $required_type:ty,)*
        })?
        $(always {
            $($(#[$always_meta:meta])* pub $always:ident: $always_type:ty,)*
        })?
        $(custom {
            $($(#[$custom_meta:meta])* pub $custom:ident: $custom_type:ty,)*
        })?
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
    })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($($(#[$required_meta])* pub $required: $required_type,)*)?
            $($(
                $(#[$always_meta])*
                #[serde(default, deserialize_with = "crate::runtime::document::nullable")]
                pub $always: $always_type,
            )*)?
            $($($(#[$custom_meta])* pub $custom: $custom_type,)*)?
            $(
                $(#[$field_meta])*
                #[serde(
                    default,
                    deserialize_with = "crate::runtime::document::nullable",
                    skip_serializing_if = "crate::runtime::document::is_default"
                )]
                pub $field: $type,
            )*
        }
    )* };
}

/// Declares an enumeration of the words that a field may hold.
///
/// The value of a variant is the word of the document; an unknown word is an error that names it
/// and lists those that are known.
macro_rules! words {
    ($($(#[$meta:meta])* pub enum $name:ident ($what:literal) {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)*
    })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $name {
            /// All words, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it stands in the document.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::runtime::document::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| {
                    crate::runtime::document::UnknownWord {
                        what: $what,
                        word: word.to_owned(),
                        known: &[$($word,)*],
                    }
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    )* };
}

pub(crate) use {document, words};

/// A word that a field may not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {word:?}; known: {}", known.join(", "))]
pub struct UnknownWord {
    /// What the field names, for example "namespace type".
    pub what: &'static str,
    /// The word that was found.
    pub word: String,
    /// The words that are known.
    pub known: &'static [&'static str],
}

//! An image's documents as a fuzzer gives them: any bytes for any digest.

use std::collections::VecDeque;

use oci::image::Descriptor;

use super::{
    From, choose,
    pick::{Contents, Wanted, check_digest},
};
use crate::{Error, Limits, Platform};

/// Pieces of one input.
pub(crate) struct Parts(VecDeque<Vec<u8>>);

impl Parts {
    pub(crate) fn new(data: &[u8]) -> Self {
        let mut parts = VecDeque::from([Vec::new()]);
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            match parts.back_mut() {
                Some(part) if line != b"---\n" => part.extend_from_slice(line),
                _ => parts.push_back(Vec::new()),
            }
        }
        Self(parts)
    }

    pub(crate) fn next_part(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front()
    }

    pub(crate) fn again(&mut self, part: Vec<u8>) {
        self.0.push_front(part);
    }

    fn document(&mut self) -> Result<Vec<u8>, Error> {
        let none = || Error::Invalid("there is no more".to_owned());
        self.next_part().ok_or_else(none)
    }
}

impl Contents for Parts {
    fn manifest(&mut self, _: &Descriptor, _: &str, _: &Limits) -> Result<Vec<u8>, Error> {
        self.document()
    }

    fn config(&mut self, _: &Descriptor, _: &Limits) -> Result<Vec<u8>, Error> {
        self.document()
    }

    fn layer(&mut self, descriptor: &Descriptor) -> Result<From, Error> {
        check_digest(descriptor, "layer")?;
        Ok(From::Source)
    }
}

/// What the first document is, as a pull sees it.
pub(crate) fn media_type(data: &[u8]) -> Result<String, Error> {
    super::pull::media_type(data, "")
}

/// Layers of the image that the documents describe.
pub(crate) fn layers(parts: &mut Parts, top: &Descriptor, limits: &Limits) -> Result<usize, Error> {
    let platform = Platform::host();
    let wanted = Wanted {
        platform: &platform,
        limits,
    };
    let chosen = choose::image(parts, std::slice::from_ref(top), &wanted)?;
    Ok(chosen.layers.len())
}

//! As much of HTTP/1.1 as clients of registries speak.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read},
};

use super::Seen;

/// Bodies longer than this are not kept for a look.
const KEPT: usize = 64 << 10;

/// The next request with its body; `None` when the client has ended.
pub(super) fn request(stream: &mut impl BufRead) -> io::Result<Option<(Seen, Vec<u8>)>> {
    let Some(first) = line(stream)? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut headers = BTreeMap::new();
    while let Some(text) = line(stream)?.filter(|text| !text.is_empty()) {
        if let Some((name, value)) = text.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let body = body(stream, &headers)?;
    let seen = Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: if body.len() <= KEPT {
            body.clone()
        } else {
            Vec::new()
        },
    };
    Ok(Some((seen, body)))
}

fn body(stream: &mut impl BufRead, headers: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding.contains("chunked"))
    {
        loop {
            let size = line(stream)?.unwrap_or_default();
            let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            stream.take(size).read_to_end(&mut body)?;
            line(stream)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = headers.get("content-length");
    let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    stream.take(length).read_to_end(&mut body)?;
    Ok(body)
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Ok(None);
    }
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

use proptest::prelude::*;

use super::*;

/// Runs bytes through a filter, `step` at a time, as a connection would.
fn filtered(bytes: &[u8], step: usize) -> Vec<u8> {
    let (mut filter, mut at, mut result) = (Filter::default(), 0, Vec::new());
    let mut space = [0; 4096];
    loop {
        let mut out = ReadBuf::new(&mut space[..step.clamp(1, 4096)]);
        if filter.take(&mut out) {
            result.extend_from_slice(out.filled());
            continue;
        }
        let left = bytes.len() - at;
        let direct = filter.passes().min(step.max(1)).min(left);
        if direct > 0 {
            result.extend_from_slice(&bytes[at..at + direct]);
            filter.passed(direct);
            at += direct;
        } else if left > 0 {
            let length = filter.wants().min(step.max(1)).min(left);
            filter.feed(&bytes[at..at + length]);
            at += length;
        } else if !filter.finish() {
            return result;
        }
    }
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    frame.extend_from_slice(payload);
    frame
}

fn with_preface(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frames.iter().flatten());
    bytes
}

/// `:method POST`, `:scheme http`, `:path` literal, then what is given.
fn block(authority: &[u8]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x44, 2, b'/', b'x'];
    block.extend_from_slice(authority);
    block.extend_from_slice(&[0x40, 1, b'k', 1, b'v']);
    block
}

fn literal(first: &[u8], value: &str) -> Vec<u8> {
    let mut bytes = first.to_vec();
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

const PATH: &str = "/run/coffer/coffer.sock";

#[test]
fn a_path_as_authority_is_replaced_in_every_form() {
    let named: Vec<u8> = [&[0x40, 10], AUTHORITY_NAME].concat();
    let huffman: Vec<u8> = [&[0x00, 0x88], AUTHORITY_HUFFMAN].concat();
    for first in [vec![0x41], vec![0x01], vec![0x11], named, huffman] {
        let old = frame(HEADERS, 4, &block(&literal(&first, PATH)));
        let new = frame(HEADERS, 4, &block(&literal(&first, "u")));
        for step in [1, 7, 4096] {
            let result = filtered(&with_preface(std::slice::from_ref(&old)), step);
            assert_eq!(
                result,
                with_preface(std::slice::from_ref(&new)),
                "{first:x?} {step}"
            );
        }
    }
}

#[test]
fn padding_and_priority_stay() {
    let wrap = |value: &str| {
        let mut payload = vec![3, 0, 0, 0, 0, 16];
        payload.extend(block(&literal(&[0x41], value)));
        payload.extend([0, 0, 0]);
        frame(HEADERS, 4 | PADDED | PRIORITY, &payload)
    };
    assert_eq!(
        filtered(&with_preface(&[wrap(PATH)]), 5),
        with_preface(&[wrap("u")])
    );
}

#[test]
fn all_else_goes_on_as_it_is() {
    let frames = [
        frame(4, 0, &[]),
        frame(0, 0, &vec![0x41; 9000]),
        frame(HEADERS, 4, &block(&[])),
        frame(HEADERS, 4, &block(&literal(&[0x41], ""))),
        frame(HEADERS, 4, &[0x41, 0x7f]),
        frame(HEADERS, 4 | PADDED, &[255, 0x41, 1]),
        frame(
            HEADERS,
            4,
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        frame(8, 0, &[0, 0, 0, 1]),
    ];
    for step in [1, 9, 100, 4096] {
        assert_eq!(
            filtered(&with_preface(&frames), step),
            with_preface(&frames),
            "{step}"
        );
    }
}

#[test]
fn a_long_value_has_its_length_read() {
    let long = "/".repeat(300);
    let mut value = vec![0x41, 0x7f, 0xad, 0x01];
    value.extend_from_slice(long.as_bytes());
    let old = frame(HEADERS, 4, &block(&value));
    let new = frame(HEADERS, 4, &block(&literal(&[0x41], "u")));
    assert_eq!(filtered(&with_preface(&[old]), 64), with_preface(&[new]));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic_and_never_grow(bytes: Vec<u8>, step in 1_usize..50) {
        let result = filtered(&bytes, step);
        prop_assert!(result.len() <= bytes.len());
        let framed = with_preface(&[frame(HEADERS, bytes.first().copied().unwrap_or(0), &bytes)]);
        prop_assert!(filtered(&framed, step).len() <= framed.len());
    }
}

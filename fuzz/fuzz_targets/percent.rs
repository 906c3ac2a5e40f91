//! Targets and their percent-decoding on any bytes: what is let in as a target is clean ASCII, and each
//! of its components decodes to what a plain reading of RFC 3986 §2.1 says, or to an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use threadline_proto::percent::{self, DecodeError};
use threadline_proto::request::{self, HeaderSlots, Limits, Parsed};

/// The slow and obvious way.
fn decode_plainly(component: &str) -> Result<String, DecodeError> {
    let mut bytes = Vec::new();
    let mut rest = component.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(DecodeError::Escape) };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| DecodeError::Utf8)
}

fn check(component: &str) {
    let decoded = percent::decode(component).map(|text| text.into_owned());
    assert_eq!(decoded, decode_plainly(component), "{component:?}");
}

/// A path's normal form is its own, and says the same.
fn check_normal(path: &str) {
    let Ok(normal) = percent::normalize(path) else { return };
    assert_eq!(percent::normalize(&normal).as_deref(), Ok(&*normal), "{path:?}");
    let (mut sent, mut made) = (path.split('/'), normal.split('/'));
    loop {
        match (sent.next(), made.next()) {
            (None, None) => return,
            (Some(sent), Some(made)) => {
                assert_eq!(percent::decode(sent), percent::decode(made), "{path:?}");
            }
            _ => panic!("{path:?} has other segments than {normal:?}"),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(component) = std::str::from_utf8(input) {
        check(component);
    }

    let wire = [b"GET ", input, b" HTTP/1.0\r\n\r\n"].concat();
    let mut slots = HeaderSlots::new();
    let Ok(Parsed::Head(head)) = request::parse(&wire, &mut slots, &Limits::default()) else {
        return;
    };
    let (path, query) = (head.target.path(), head.target.query());
    let is_clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    assert!(path.starts_with('/') && is_clean(path) && !path.contains('?'), "{path:?}");
    assert!(query.is_none_or(is_clean), "{query:?}");
    check_normal(path);
    path.split('/').chain(query.unwrap_or_default().split('&')).for_each(check);
});

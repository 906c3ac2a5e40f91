//! Header fields: reading lists, adding to `Vary`, quoting, delays.
//!
//! Used by the middleware beside it. Takes what clients send; what is malformed is left out, as a
//! preference that cannot be read is none.

use std::time::Duration;

use threadline_proto::request::Headers;

use crate::response::Response;

/// The elements of all fields of that name, without whitespace around them and without empty ones
/// (RFC 9110 §5.6.1). Not for lists whose elements may be quoted strings.
pub(super) fn elements<'i>(headers: Headers<'_, 'i>, name: &str) -> impl Iterator<Item = &'i str> {
    headers
        .all(name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .filter_map(|element| str::from_utf8(element).ok())
        .map(|element| element.trim_matches([' ', '\t']))
        .filter(|element| !element.is_empty())
}

/// Says that the response depends on a field of the request (RFC 9110 §12.5.5), once.
pub(crate) fn add_vary(response: &mut Response, name: &'static str) {
    if let Some(pending) = response.pending() {
        return pending.then.push(Box::new(move |response| add_vary(response, name)));
    }
    let known = response
        .headers()
        .filter(|(known, _)| known.eq_ignore_ascii_case("vary"))
        .flat_map(|(_, value)| list(value.as_bytes()))
        .any(|element| element == b"*" || element.eq_ignore_ascii_case(name.as_bytes()));
    if !known {
        response.append_header("vary", name);
    }
}

/// Whether a field of the response that is a list has this element, in any case.
pub(crate) fn has_element(response: &Response, name: &str, element: &str) -> bool {
    response
        .headers()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .flat_map(|(_, value)| list(value.as_bytes()))
        .any(|known| known.eq_ignore_ascii_case(element.as_bytes()))
}

/// The elements of a list in a response, without whitespace around them. One that is not UTF-8 does not hide
/// the others.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A quoted string (RFC 9110 §5.6.4).
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Whole seconds, rounded up: what `Retry-After` can say. At least one, as zero means "again, now".
pub(super) fn delay_seconds(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn rfc9110_12_5_5_vary_names_a_field_once() {
        let mut response = Response::new(Status::OK).with_header("Vary", "accept, Origin");
        add_vary(&mut response, "origin");
        add_vary(&mut response, "accept-encoding");
        add_vary(&mut response, "accept-encoding");
        let all: Vec<_> = response.headers().map(|(_, value)| value).collect();
        assert_eq!(all, ["accept, Origin", "accept-encoding"]);
        let mut anything = Response::new(Status::OK).with_header("vary", "*");
        add_vary(&mut anything, "origin");
        assert_eq!(anything.headers().count(), 1);
    }

    #[test]
    fn an_element_that_is_not_utf8_hides_no_other() {
        let mut response = Response::new(Status::OK).with_header("vary", b"\xff , Origin");
        add_vary(&mut response, "origin");
        add_vary(&mut response, "accept");
        let all: Vec<_> = response.headers().map(|(_, value)| value.as_bytes()).collect();
        assert_eq!(all, [&b"\xff , Origin"[..], b"accept"]);
        assert!(has_element(&response, "vary", "ORIGIN") && !has_element(&response, "vary", "x"));
    }

    #[test]
    fn delays_are_rounded_up_and_never_nothing() {
        assert_eq!(delay_seconds(Duration::ZERO), 1);
        assert_eq!(delay_seconds(Duration::from_millis(2001)), 3);
        assert_eq!(delay_seconds(Duration::from_secs(2)), 2);
    }

    #[test]
    fn quotes_in_quoted_strings_are_escaped() {
        assert_eq!(quoted(r#"a "b" \"#), r#""a \"b\" \\""#);
    }
}

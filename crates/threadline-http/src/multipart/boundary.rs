//! The boundary between parts (RFC 2046 §5.1.1), as the request's `Content-Type` names it.
//!
//! Made once per request, before a byte of the body is read. Holds only what the grammar allows: a
//! boundary that begins elsewhere for another reader would let parts through unseen.

use std::fmt;

use threadline_proto::request::Headers;

use super::MultipartError;
use super::parameters;

/// What separates the parts of a body: 1 to 70 characters that a client has chosen.
///
/// ```
/// use threadline_http::multipart::Boundary;
///
/// let boundary = Boundary::from_content_type("multipart/form-data; boundary=\"a b:c\"")?;
/// assert_eq!(boundary.as_str(), "a b:c");
/// assert!(Boundary::from_content_type("multipart/form-data; boundary=a:c").is_err());
/// # Ok::<(), threadline_http::multipart::MultipartError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Boundary {
    /// The line end that belongs to the delimiter, two dashes, and the boundary.
    delimiter: String,
}

/// What stands before the boundary itself in a delimiter.
const BEFORE: &str = "\r\n--";

/// How long a boundary may be (RFC 2046 §5.1.1).
const LEN_MAX: usize = 70;

impl Boundary {
    /// Takes a boundary as it is.
    ///
    /// # Errors
    /// [`MultipartError::Boundary`] if it is none.
    pub fn new(text: &str) -> Result<Self, MultipartError> {
        let is_one = (1..=LEN_MAX).contains(&text.len())
            && text.bytes().all(is_boundary_byte)
            && !text.ends_with(' ');
        if !is_one {
            return Err(MultipartError::Boundary);
        }
        Ok(Boundary { delimiter: [BEFORE, text].concat() })
    }

    /// Takes it out of the value of a `Content-Type`.
    ///
    /// # Errors
    /// [`MultipartError::MediaType`] if that is not `multipart/form-data`, and
    /// [`MultipartError::Boundary`] if it names no boundary, two, or what is none.
    pub fn from_content_type(value: &str) -> Result<Self, MultipartError> {
        let (media_type, rest) = parameters::split(value);
        if !media_type.eq_ignore_ascii_case("multipart/form-data") {
            return Err(MultipartError::MediaType);
        }
        match parameters::find(rest, ["boundary"]) {
            Ok([Some(boundary)]) => Boundary::new(&boundary),
            _ => Err(MultipartError::Boundary),
        }
    }

    /// Takes it out of a request's fields, of which exactly one must be a `Content-Type`.
    pub(super) fn of(headers: Headers<'_, '_>) -> Result<Self, MultipartError> {
        let mut values = headers.all("content-type");
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(MultipartError::MediaType);
        };
        let value = std::str::from_utf8(value).map_err(|_| MultipartError::MediaType)?;
        Boundary::from_content_type(value)
    }

    /// The characters that the client has chosen.
    pub fn as_str(&self) -> &str {
        &self.delimiter[BEFORE.len()..]
    }

    /// What ends a part: the line end, the dashes, the boundary. The only CR in it is the first byte.
    pub(super) fn delimiter(&self) -> &[u8] {
        self.delimiter.as_bytes()
    }

    /// What begins a line between parts: the delimiter without the line end before it.
    pub(super) fn line_start(&self) -> &[u8] {
        &self.delimiter.as_bytes()[2..]
    }
}

impl fmt::Debug for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Boundary").field(&self.as_str()).finish()
    }
}

/// `bchars` (RFC 2046 §5.1.1).
const fn is_boundary_byte(byte: u8) -> bool {
    matches!(byte,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
        | b'\'' | b'(' | b')' | b'+' | b'_' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?' | b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary_in(value: &str) -> Option<String> {
        Boundary::from_content_type(value).ok().map(|boundary| boundary.as_str().to_owned())
    }

    #[test]
    fn rfc2046_5_1_1_one_to_seventy_characters_of_its_grammar() {
        let longest = "0'()+_,-./:=? Zz".repeat(5)[..70].to_owned();
        assert!(Boundary::new(&longest).is_ok());
        for text in
            ["", "a ", " ", "a\"b", "a\\b", "a;b", "a\tb", "ä", "a*b", &format!("{longest}x")]
        {
            assert!(matches!(Boundary::new(text), Err(MultipartError::Boundary)), "{text:?}");
        }
    }

    #[test]
    fn a_boundary_is_a_token_or_quoted() {
        for (value, boundary) in [
            (
                "multipart/form-data; boundary=----WebKitFormBoundary7MA4",
                "----WebKitFormBoundary7MA4",
            ),
            ("Multipart/Form-Data ;charset=utf-8; BOUNDARY=\"a=_b?\"", "a=_b?"),
        ] {
            assert_eq!(boundary_in(value).as_deref(), Some(boundary), "{value}");
        }
        for parameters in [
            "",
            ";",
            "; boundary",
            "; boundary=",
            "; boundary=\"\"",
            "; boundary=a:b",
            "; boundary=a; boundary=a",
            "; boundary*=utf-8''a",
            "; boundary=\"a",
            ", boundary=a",
        ] {
            let value = format!("multipart/form-data{parameters}");
            let refused = Boundary::from_content_type(&value);
            let expected = if parameters.starts_with(',') {
                matches!(refused, Err(MultipartError::MediaType))
            } else {
                matches!(refused, Err(MultipartError::Boundary))
            };
            assert!(expected, "{value}: {refused:?}");
        }
    }

    #[test]
    fn other_types_are_not_taken() {
        for value in
            ["", "multipart/mixed; boundary=a", "application/json", "multipart; boundary=a"]
        {
            let refused = Boundary::from_content_type(value);
            assert!(matches!(refused, Err(MultipartError::MediaType)), "{value}: {refused:?}");
        }
    }
}

//! What a part says of itself: its name, the name of its file, its type (RFC 7578 §4).
//!
//! Made from the part's header fields, before its content is read. Names are given as they were sent:
//! what a client calls its file is never a path here.

use super::file_name;
use super::parameters::{self, ParameterError};
use super::{MultipartLimits, PartError, PartHeaders};

/// The head of a part.
#[derive(Debug, Clone, Default)]
pub(super) struct PartHead {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) headers: PartHeaders,
}

impl PartHead {
    /// Reads field lines, each with its line end.
    pub(super) fn parse(lines: &[u8], limits: &MultipartLimits) -> Result<Self, PartError> {
        let headers = PartHeaders::parse(lines, limits.headers_max)?;
        let is_plain = |coding: &str| {
            ["binary", "8bit", "7bit"].iter().any(|known| coding.eq_ignore_ascii_case(known))
        };
        if !headers.get("content-transfer-encoding").is_none_or(is_plain) {
            return Err(PartError::TransferEncoding);
        }
        let value = headers.get("content-disposition").ok_or(PartError::NoDisposition)?;
        let (disposition, rest) = parameters::split(value);
        if !disposition.eq_ignore_ascii_case("form-data") {
            return Err(PartError::Disposition);
        }
        let [name, plain, extended] = parameters::find(rest, ["name", "filename", "filename*"])?;
        let name = name.ok_or(PartError::NoName)?.into_owned();
        let file_name = file_name::of(plain, extended)?;
        Ok(PartHead { name, file_name, headers })
    }
}

impl From<ParameterError> for PartError {
    fn from(error: ParameterError) -> Self {
        match error {
            ParameterError::Malformed | ParameterError::Duplicate => PartError::Disposition,
            ParameterError::Extended => PartError::ExtendedParameter,
        }
    }
}

/// The last component of what a client calls its file, as a name that a file can safely have: without
/// directories in the manner of any system, without dots that would hide it, without control
/// characters. None if nothing is left, or more than file systems take.
pub(super) fn safe_file_name(sent: &str) -> Option<&str> {
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = last.trim().trim_start_matches(|char: char| char == '.' || char.is_whitespace());
    let is_safe =
        !name.is_empty() && name.len() <= FILE_NAME_LEN_MAX && !name.contains(char::is_control);
    is_safe.then_some(name)
}

/// `NAME_MAX` of Linux's file systems, in bytes.
const FILE_NAME_LEN_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Result<(String, Option<String>), PartError> {
        let head = PartHead::parse(lines.as_bytes(), &MultipartLimits::default())?;
        Ok((head.name, head.file_name))
    }

    #[test]
    fn rfc7578_4_2_names_are_taken_as_they_were_sent() {
        let head = "content-disposition: Form-Data; filename=\"../a%22ü.txt\"; name=photo\r\n";
        let (name, file_name) = parse(head).expect("a good head");
        assert_eq!((&*name, file_name.as_deref()), ("photo", Some("../a%22ü.txt")));
        let head = "Content-Disposition: form-data; name=\"\"; size=3\r\nX-Other: 1\r\n";
        assert_eq!(parse(head), Ok((String::new(), None)));
        // .NET's HttpClient, which sends both, and quotes what is not a token.
        for head in [
            "Content-Disposition: form-data; name=file; filename=x.txt; filename*=utf-8''x.txt\r\n",
            "Content-Disposition: form-data; name=\"file\"; filename=\"x.txt\"; filename*=utf-8''x.txt\r\n",
        ] {
            assert_eq!(parse(head), Ok(("file".to_owned(), Some("x.txt".to_owned()))));
        }
    }

    #[test]
    fn rfc7578_4_2_a_part_has_a_disposition_of_form_data_with_a_name() {
        for (head, error) in [
            ("", PartError::NoDisposition),
            ("Content-Type: text/plain\r\n", PartError::NoDisposition),
            ("Content-Disposition: attachment; name=a\r\n", PartError::Disposition),
            ("Content-Disposition: form-data name=a\r\n", PartError::Disposition),
            ("Content-Disposition: form-data; name=\"a\r\n", PartError::Disposition),
            ("Content-Disposition: form-data; name=a; name=b\r\n", PartError::Disposition),
            ("Content-Disposition: form-data\r\n", PartError::NoName),
            ("Content-Disposition: form-data; filename=a\r\n", PartError::NoName),
            (
                "Content-Disposition: form-data; name=a; filename=b; filename*=utf-8''c\r\n",
                PartError::FileNames,
            ),
            (
                "Content-Disposition: form-data; name=a; name*=utf-8''a\r\n",
                PartError::ExtendedParameter,
            ),
        ] {
            assert_eq!(parse(head), Err(error), "{head}");
        }
    }

    #[test]
    fn rfc7578_4_7_content_that_would_have_to_be_decoded_is_refused() {
        let head = |coding: &str| {
            format!(
                "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: {coding}\r\n"
            )
        };
        for coding in ["binary", "8BIT", "7bit"] {
            assert!(parse(&head(coding)).is_ok(), "{coding}");
        }
        for coding in ["base64", "quoted-printable", ""] {
            assert_eq!(parse(&head(coding)), Err(PartError::TransferEncoding), "{coding}");
        }
    }

    #[test]
    fn a_safe_file_name_is_one_component() {
        for (sent, safe) in [
            ("photo.jpg", Some("photo.jpg")),
            ("/etc/passwd", Some("passwd")),
            ("C:\\Users\\ada\\a b.txt", Some("a b.txt")),
            ("..\\/../x", Some("x")),
            (" .htaccess ", Some("htaccess")),
            (". .x", Some("x")),
            ("日本.txt", Some("日本.txt")),
            ("", None),
            ("..", None),
            ("a/", None),
            ("a/..", None),
            ("a\0b", None),
            ("a\u{85}b", None),
        ] {
            assert_eq!(safe_file_name(sent), safe, "{sent:?}");
        }
        assert!(safe_file_name(&"x".repeat(255)).is_some());
        assert_eq!(safe_file_name(&"x".repeat(256)), None);
    }
}

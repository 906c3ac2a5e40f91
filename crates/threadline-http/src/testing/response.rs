//! What came back to a test.

use threadline_proto::response::Status;

use crate::header_value::HeaderValue;

/// A response, whole. Where a test looks for what is not there it fails, with a message that shows
/// the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResponse {
    status: Status,
    headers: Vec<(String, HeaderValue)>,
    body: Vec<u8>,
}

impl TestResponse {
    pub(super) fn parse(bytes: &[u8], head_only: bool) -> Self {
        let mut bytes = bytes;
        loop {
            let (response, rest) = split_head(bytes);
            // 100 Continue and the like come before the response; a 101 is one.
            if response.status.is_interim() && response.status != Status::SWITCHING_PROTOCOLS {
                bytes = rest;
                continue;
            }
            let body = if head_only || response.status.forbids_content() {
                assert!(rest.is_empty(), "content behind a response that may have none");
                Vec::new()
            } else if response.header("transfer-encoding") == Some("chunked") {
                join_chunks(rest)
            } else {
                response.check_length(rest);
                rest.to_vec()
            };
            return TestResponse { body, ..response };
        }
    }

    fn check_length(&self, body: &[u8]) {
        if let Some(length) = self.header("content-length") {
            assert_eq!(length, body.len().to_string(), "content-length of {self:?}");
        }
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The value of the first header field of that name, in any case.
    ///
    /// # Panics
    /// If the value is not UTF-8: use [`TestResponse::header_bytes`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all_headers(name).next()
    }

    /// The same value as bytes.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.named(name).next().map(HeaderValue::as_bytes)
    }

    /// The values of all header fields of that name, in order.
    ///
    /// # Panics
    /// If a value is not UTF-8: use [`TestResponse::headers`].
    pub fn all_headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.named(name).map(move |value| match value.to_str() {
            Some(text) => text,
            None => panic!("the value of {name} is not UTF-8: {value:?}"),
        })
    }

    /// All header fields as name and value, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (&**name, value))
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &HeaderValue> {
        let named = self.headers().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value)
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The content as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => panic!("the content is not UTF-8 ({error}): {self:?}"),
        }
    }
}

/// The head at the start, as a response without content, and what follows.
fn split_head(bytes: &[u8]) -> (TestResponse, &[u8]) {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("not a whole response: {:?}", shown()));
    let (line, mut fields) = split_line(&bytes[..end]);
    let status = str::from_utf8(line).ok().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let code = status.and_then(|line| line.get(..3)?.parse().ok());
    let status = code.and_then(Status::from_code);
    let status = status.unwrap_or_else(|| panic!("not a status line: {:?}", shown()));
    let mut headers = Vec::new();
    while !fields.is_empty() {
        let (line, rest) = split_line(fields);
        let colon = line.windows(2).position(|window| window == b": ");
        let colon = colon.unwrap_or_else(|| panic!("no field: {}", line.escape_ascii()));
        let name = str::from_utf8(&line[..colon]).expect("a name in ASCII");
        headers.push((name.to_owned(), line[colon + 2..].to_vec().into()));
        fields = rest;
    }
    (TestResponse { status, headers, body: Vec::new() }, &bytes[end + 4..])
}

/// The first line, and what follows its end.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.windows(2).position(|window| window == b"\r\n").unwrap_or(text.len());
    (&text[..end], text.get(end + 2..).unwrap_or_default())
}

/// The content of a chunked body that our own service has written.
fn join_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n").expect("a chunk");
        let length = std::str::from_utf8(&bytes[..line_end]).expect("ASCII");
        let length = usize::from_str_radix(length, 16).expect("a chunk's length");
        let data = &bytes[line_end + 2..];
        if length == 0 {
            return content;
        }
        content.extend_from_slice(data.get(..length).expect("a whole chunk"));
        bytes = data.get(length + 2..).expect("the end of a chunk");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_responses_and_chunks_are_seen_through() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx: 1\r\n\
            transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let response = TestResponse::parse(bytes, false);
        assert_eq!((response.status(), response.text()), (Status::OK, "abcd"));
        assert_eq!((response.header("X"), response.header("y")), (Some("1"), None));
    }

    #[test]
    fn values_are_bytes() {
        let bytes = b"HTTP/1.1 200 OK\r\nx: \xff\r\nX: b\r\ny:  c\r\n\r\n";
        let response = TestResponse::parse(bytes, false);
        assert_eq!(response.header_bytes("X"), Some(&b"\xff"[..]));
        let fields: Vec<_> = response.headers().map(|(_, value)| value.as_bytes()).collect();
        assert_eq!(fields, [&b"\xff"[..], b"b", b" c"]);
        let empty = TestResponse::parse(b"HTTP/1.1 200 OK\r\n\r\n", false);
        assert_eq!(empty.headers().count(), 0);
    }

    #[test]
    #[should_panic(expected = "the value of x is not UTF-8: \"\\xff\"")]
    fn a_value_that_is_not_text_fails_a_test_that_wants_text() {
        let response = TestResponse::parse(b"HTTP/1.1 200 OK\r\nx: \xff\r\n\r\n", false);
        response.header("x");
    }

    #[test]
    fn a_101_is_the_response() {
        let response = TestResponse::parse(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", false);
        assert_eq!(response.status(), Status::SWITCHING_PROTOCOLS);
    }

    #[test]
    #[should_panic(expected = "content-length")]
    fn a_wrong_length_fails_the_test() {
        TestResponse::parse(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", false);
    }
}

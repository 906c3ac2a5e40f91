//! A test's request under construction.

use std::sync::Arc;

use threadline_proto::Method;

use super::{TestResponse, Transport};

/// A request that is sent by [`TestRequest::send`]. It has a `Host` of `test`, if it sets no other,
/// and asks for its connection to be closed.
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct TestRequest {
    transport: Arc<dyn Transport>,
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl TestRequest {
    pub(super) fn new(transport: Arc<dyn Transport>, method: Method<'_>, target: &str) -> Self {
        let (method, target) = (method.as_str().to_owned(), target.to_owned());
        TestRequest { transport, method, target, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header field, as it is: text, or bytes.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body, sent with `Content-Length`.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and waits for the response.
    ///
    /// # Panics
    /// If what comes back is not one HTTP response.
    pub fn send(self) -> TestResponse {
        let answer = self.transport.exchange(&self.to_bytes());
        TestResponse::parse(&answer, self.method == "HEAD")
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has =
            |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            head.push_str("host: test\r\n");
        }
        if !has("connection") {
            head.push_str("connection: close\r\n");
        }
        let is_framed = has("content-length") || has("transfer-encoding");
        if !is_framed
            && (!self.body.is_empty() || matches!(&*self.method, "POST" | "PUT" | "PATCH"))
        {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        let mut bytes = head.into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

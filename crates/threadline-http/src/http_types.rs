//! To and from the types of the `http` crate, for libraries that speak them.
//!
//! Copies, since those types own what they hold; handlers that do not ask for them pay nothing.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use threadline_proto::request::Version;
use threadline_proto::response::Status;

use crate::body::Body;
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

/// The head of a request as [`http::request::Parts`].
///
/// # Errors
/// 400, for what that crate refuses and RFC 9112 does not.
impl TryFrom<&Request<'_>> for Parts {
    type Error = http::Error;

    fn try_from(request: &Request<'_>) -> Result<Self, http::Error> {
        let version = match request.version() {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        };
        let target = request.query().map_or_else(
            || request.path().to_owned(),
            |query| format!("{}?{query}", request.path()),
        );
        let builder =
            http::Request::builder().method(request.method().as_str()).uri(target).version(version);
        let fields = request.headers();
        let builder =
            fields.iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        Ok(builder.body(())?.into_parts().0)
    }
}

/// ```
/// use threadline_http::Router;
/// use threadline_http::testing::TestClient;
///
/// fn agent(head: http::request::Parts) -> String {
///     format!("{} by {:?}", head.uri, head.headers[http::header::USER_AGENT])
/// }
///
/// let client = TestClient::new(Router::new().get("/{*path}", agent))?;
/// assert_eq!(client.get("/a?b").header("user-agent", "x").send().text(), r#"/a?b by "x""#);
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
impl FromRequest for Parts {
    type Rejection = Response;

    fn from_request(request: &Request<'_>) -> Result<Self, Response> {
        Parts::try_from(request).map_err(|error| {
            Response::error_of(ErrorKind::MalformedRequest, Status::BAD_REQUEST, error)
        })
    }
}

impl FromRequest for HeaderMap {
    type Rejection = Response;

    fn from_request(request: &Request<'_>) -> Result<Self, Response> {
        Parts::from_request(request).map(|parts| parts.headers)
    }
}

/// Both are 100 to 999.
fn status(code: StatusCode) -> Status {
    Status::from_code(code.as_u16()).unwrap_or(Status::INTERNAL_SERVER_ERROR)
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        status(self).into_response()
    }
}

/// What the server writes itself is left out, and so is what was said of the connection that the response
/// came over: another service's answer can be passed on as it is.
impl<B: Into<Body>> From<http::Response<B>> for Response {
    fn from(response: http::Response<B>) -> Self {
        let (head, body) = response.into_parts();
        let mut response = Response::new(status(head.status)).with_body(body);
        for (name, value) in &head.headers {
            if is_left_out(name, &head.headers) {
                continue;
            }
            response = response.with_header(name.as_str().to_owned(), value);
        }
        response
    }
}

impl From<&HeaderValue> for crate::HeaderValue {
    fn from(value: &HeaderValue) -> Self {
        value.as_bytes().to_vec().into()
    }
}

impl From<HeaderValue> for crate::HeaderValue {
    fn from(value: HeaderValue) -> Self {
        (&value).into()
    }
}

/// Fields about one connection (RFC 9110 §7.6.1), and those that only the server can know.
const LEFT_OUT: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a field is one of those, or is named by `Connection` and so is one too.
fn is_left_out(name: &HeaderName, fields: &HeaderMap) -> bool {
    let named = fields.get_all(header::CONNECTION);
    let mut named =
        named.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    LEFT_OUT.contains(&name.as_str())
        || named.any(|element| element.trim().eq_ignore_ascii_case(name.as_str()))
}

impl<B: Into<Body>> IntoResponse for http::Response<B> {
    fn into_response(self) -> Response {
        self.into()
    }
}

/// # Errors
/// If a field of the response is malformed; it would be a 500 when it is sent.
impl TryFrom<Response> for http::Response<Body> {
    type Error = http::Error;

    fn try_from(mut response: Response) -> Result<Self, http::Error> {
        let body = response.take_body();
        let mut converted = http::Response::new(body);
        *converted.status_mut() = StatusCode::from_u16(response.status().code())?;
        let content_type = response.content_type.as_ref().map(|value| ("content-type", value));
        for (name, value) in content_type.into_iter().chain(response.headers()) {
            let value = HeaderValue::from_bytes(value.as_bytes())?;
            let name = HeaderName::try_from(name)?;
            converted.headers_mut().append(name, value);
        }
        Ok(converted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Router;
    use crate::testing::TestClient;

    #[test]
    fn responses_go_there_and_back() {
        let response = Response::text("hello")
            .with_status(Status::CREATED)
            .with_header("x-a", "1")
            .with_header("x-a", "2");
        let there = http::Response::<Body>::try_from(response).expect("in order");
        assert_eq!(there.status(), StatusCode::CREATED);
        assert_eq!(there.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(there.headers().get_all("x-a").iter().count(), 2);
        let back = Response::from(there);
        assert_eq!(back.status(), Status::CREATED);
        assert_eq!(back.content_type(), Some("text/plain; charset=utf-8"));
        assert_eq!(back.headers().count(), 2);
        assert_eq!(back.body().as_bytes(), Some(&b"hello"[..]));
    }

    #[test]
    fn rfc9110_7_6_1_what_was_said_of_another_connection_is_left_out() {
        let relayed = || {
            http::Response::builder()
                .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
                .header("Content-Length", "5")
                .header("transfer-encoding", "chunked")
                .header("connection", "close, X-Hop")
                .header("keep-alive", "timeout=5")
                .header("x-hop", "1")
                .header("etag", "\"1\"")
                .header("content-type", "text/csv")
                .body("a,b\nc")
                .expect("in order")
        };
        let response = Response::from(relayed());
        assert_eq!(response.headers().collect::<Vec<_>>(), [("etag", &"\"1\"".into())]);
        assert_eq!(response.content_type(), Some("text/csv"));
        let client = TestClient::new(Router::new().get("/", relayed)).expect("a router");
        let answer = client.get("/").send();
        assert_eq!((answer.status(), answer.text()), (Status::OK, "a,b\nc"));
    }

    #[test]
    fn values_that_are_not_utf8_go_there_and_back() {
        let response = Response::text("").with_header("x-a", b"na\xefve");
        let there = http::Response::<Body>::try_from(response).expect("in order");
        assert_eq!(there.headers()["x-a"].as_bytes(), b"na\xefve");
        let back = Response::from(there);
        assert_eq!(back.header_bytes("x-a"), Some(&b"na\xefve"[..]));
        let passed_on = |parts: Parts| {
            http::Response::builder()
                .header("x-a", &parts.headers["x-a"])
                .body("")
                .expect("in order")
        };
        let client = TestClient::new(Router::new().get("/", passed_on)).expect("a router");
        let answer = client.get("/").header("x-a", b"na\xefve").send();
        assert_eq!(answer.header_bytes("x-a"), Some(&b"na\xefve"[..]));
    }

    #[test]
    fn what_is_malformed_does_not_get_through() {
        let broken = Response::text("").with_header("x-a", "1\r\nx-b: 2");
        assert!(http::Response::<Body>::try_from(broken).is_err());
    }
}

//! [`Redirect`]: what the client wants is somewhere else (RFC 9110 §15.4).

use std::fmt;

use threadline_engine::log::limited;
use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::handler::IntoResponse;
use crate::response::Response;

/// Sends the client somewhere else: a path on this host, or a whole URL.
///
/// | | status | the client asks there |
/// | --- | --- | --- |
/// | [`see_other`](Redirect::see_other) | 303 | with `GET`: the usual answer to a form |
/// | [`temporary`](Redirect::temporary) | 307 | the same once more |
/// | [`permanent`](Redirect::permanent) | 308 | the same, and from now on directly |
/// | [`found`](Redirect::found), [`moved`](Redirect::moved) | 302, 301 | the older ones: a `POST` may become a `GET` |
///
/// A target that is no URL makes the response a 500 and a line in the log. Where users say where to go,
/// ask [`Redirect::is_local`] first, or your service sends people wherever a stranger's link says.
///
/// ```
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Path, Redirect, Router, Status};
///
/// let router = Router::new()
///     .get("/notes/{id}/edit", |Path(id): Path<u32>| Redirect::see_other(format!("/notes/{id}")));
/// let response = TestClient::new(router)?.get("/notes/7/edit").send();
/// assert_eq!(response.status(), Status::SEE_OTHER);
/// assert_eq!(response.header("location"), Some("/notes/7"));
///
/// assert!(Redirect::is_local("/welcome?back=1") && !Redirect::is_local("//evil.example/"));
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a redirect does nothing until it is returned from a handler"]
pub struct Redirect {
    status: Status,
    target: Result<String, NotAUrl>,
}

/// A target that is no URL: it has whitespace, control characters, or characters beyond ASCII, which
/// must be percent-encoded (RFC 3986 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NotAUrl;

impl Redirect {
    /// 303: the client gets the target.
    pub fn see_other(target: impl Into<String>) -> Self {
        Redirect::new(Status::SEE_OTHER, target.into())
    }

    /// 307: the client repeats the request there.
    pub fn temporary(target: impl Into<String>) -> Self {
        Redirect::new(Status::TEMPORARY_REDIRECT, target.into())
    }

    /// 308: the client repeats the request there, now and always.
    pub fn permanent(target: impl Into<String>) -> Self {
        Redirect::new(Status::PERMANENT_REDIRECT, target.into())
    }

    /// 302: the client gets the target, or repeats the request there.
    pub fn found(target: impl Into<String>) -> Self {
        Redirect::new(Status::FOUND, target.into())
    }

    /// 301: the same, now and always.
    pub fn moved(target: impl Into<String>) -> Self {
        Redirect::new(Status::MOVED_PERMANENTLY, target.into())
    }

    /// Whether a target stays on this host: a path that browsers cannot take for another host.
    pub fn is_local(target: &str) -> bool {
        let mut start = target.bytes();
        // Browsers take `/\` for `//`, which begins a host.
        is_url(target) && start.next() == Some(b'/') && !matches!(start.next(), Some(b'/' | b'\\'))
    }

    fn new(status: Status, target: String) -> Self {
        let target = if is_url(&target) { Ok(target) } else { Err(NotAUrl) };
        Redirect { status, target }
    }
}

/// As far as it can end up in a header field: printable ASCII.
fn is_url(target: &str) -> bool {
    !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Display for NotAUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the target of a redirect must be a URL, percent-encoded")
    }
}

impl std::error::Error for NotAUrl {}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        match self.target {
            Ok(target) => Response::new(self.status).with_header("location", target),
            Err(error) => {
                limited!(error, "a redirect is not sent", %error);
                let hint = "the service's log says why";
                Response::error_of(ErrorKind::Internal, Status::INTERNAL_SERVER_ERROR, hint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_cannot_break_out_of_their_field() {
        for target in ["", "/a\r\nset-cookie: x=1", "/a b", "/ü", "/\0"] {
            let response = Redirect::found(target).into_response();
            assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR, "{target:?}");
            assert_eq!(response.header("location"), None);
        }
    }

    #[test]
    fn other_hosts_are_not_local() {
        for target in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "javascript:1",
            "a",
            "",
            "/\t/evil",
        ] {
            assert!(!Redirect::is_local(target), "{target:?}");
        }
        for target in ["/", "/a/b?c=//d", "/a//b"] {
            assert!(Redirect::is_local(target), "{target:?}");
        }
    }
}

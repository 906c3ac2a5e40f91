//! What a handler's response must not be: faults for which it becomes a 500 and a line in the log.
//!
//! The status is looked at where a response leaves the handler and each layer (`middleware/layer.rs`), so
//! that the layers around see the 500 that the client gets. Everything is looked at where the response is
//! written (`write.rs`), which is the last place and the only one that is always passed. Nothing here
//! depends on the concurrency model or on the kind of body.

use std::fmt;

use threadline_engine::log::{Escaped, limited};
use threadline_proto::response::{HeaderError, Status};

use crate::framework_error::ErrorKind;
use crate::response::Response;

/// Why a response is not sent. Always the fault of a handler or a layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A header field that the writer refuses.
    Field { name: String, error: HeaderError },
    /// A status that cannot end an exchange: the client would take the next response for this one's
    /// (RFC 9110 §15.2).
    Status(Status),
    /// An upgrade whose status was changed: client and server would speak different protocols.
    Upgrade(Status),
    /// A success in answer to `CONNECT`: the client would take what follows for a tunnel (RFC 9110 §9.3.6).
    Tunnel(Status),
    /// The declared length of an answer to `HEAD` is not one number, or not that of the body beside it.
    Length,
}

impl Fault {
    pub(crate) fn field((name, error): (&str, HeaderError)) -> Self {
        Fault::Field { name: name.to_owned(), error }
    }

    /// Logs why the response of a route is not sent.
    #[cold]
    pub(crate) fn report(&self, route: &str) {
        // The name of a field may be a client's text.
        let fault = Escaped(self);
        limited!(error, route: route, "the response is not sent", %fault);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Field { name, error } => write!(f, "header `{name}`: {error}"),
            Fault::Status(status) => write!(
                f,
                "status {status} cannot end a request: expected 200 to 599, or `Response::upgrade` for 101"
            ),
            Fault::Upgrade(status) => {
                write!(f, "status {status} on a response of `Response::upgrade`: expected 101")
            }
            Fault::Tunnel(status) => write!(
                f,
                "status {status} in answer to CONNECT would open a tunnel: expected 300 or more"
            ),
            Fault::Length => f.write_str(
                "header `content-length` in answer to HEAD: expected one number, the length of the body \
                 where there is one",
            ),
        }
    }
}

impl Response {
    /// Whether its status can be sent. One comparison, for nearly every response.
    #[inline]
    pub(crate) fn has_sound_status(&self) -> bool {
        (self.status.is_final() && self.aside.is_none()) || self.status_fault().is_none()
    }

    /// What is wrong with its status.
    #[cold]
    pub(crate) fn status_fault(&self) -> Option<Fault> {
        let status = self.status;
        match self.other_protocol() {
            Some(_) if status == Status::SWITCHING_PROTOCOLS => None,
            Some(upgrade) if upgrade.is_offered() => Some(Fault::Upgrade(status)),
            // The protocol is only named, as by a 426.
            _ => (!status.is_final()).then_some(Fault::Status(status)),
        }
    }

    /// A response that is sent instead of this one. It keeps what lets a browser show it to the script that
    /// has asked: layers that have added this do not run again.
    #[cold]
    pub(crate) fn replaced_by(&self, mut other: Response) -> Response {
        for (name, value) in &self.headers {
            let is_kept = name.eq_ignore_ascii_case("vary")
                || name.get(..CORS.len()).is_some_and(|start| start.eq_ignore_ascii_case(CORS));
            if is_kept {
                other.append_header(name.clone(), value.clone());
            }
        }
        other
    }
}

/// How the names of the fields of the CORS protocol begin.
const CORS: &str = "access-control-";

/// What the client is told of a fault.
pub(crate) fn internal_error() -> Response {
    Response::error_of(
        ErrorKind::Internal,
        Status::INTERNAL_SERVER_ERROR,
        "the service's log says why",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Status {
        Status::from_code(code).expect("three digits")
    }

    #[test]
    fn only_200_to_599_and_the_101_of_an_upgrade_are_sound() {
        for (code, expected) in
            [(100, false), (101, false), (103, false), (199, false), (600, false), (999, false)]
                .into_iter()
                .chain([200, 204, 205, 304, 404, 599].map(|code| (code, true)))
        {
            let response = Response::new(status(code));
            assert_eq!(response.has_sound_status(), expected, "{code}");
            let fault = (!expected).then_some(Fault::Status(status(code)));
            assert_eq!(response.status_fault(), fault, "{code}");
        }
        let upgrade = || Response::upgrade("echo", |_| Ok(()));
        assert!(upgrade().has_sound_status());
        for code in [100, 200, 426] {
            let changed = upgrade().with_status(status(code));
            assert!(!changed.has_sound_status());
            assert_eq!(changed.status_fault(), Some(Fault::Upgrade(status(code))));
        }
    }

    #[test]
    fn messages_say_what_is_expected() {
        for (fault, part) in [
            (
                Fault::Field { name: "x".into(), error: HeaderError::Value },
                "header `x`: a header value",
            ),
            (
                Fault::Status(status(103)),
                "103 Early Hints cannot end a request: expected 200 to 599",
            ),
            (Fault::Upgrade(status(200)), "expected 101"),
            (Fault::Tunnel(status(200)), "expected 300 or more"),
            (Fault::Length, "expected one number"),
        ] {
            assert!(fault.to_string().contains(part), "{fault}");
        }
    }

    #[test]
    fn what_a_browser_needs_is_kept() {
        let response = Response::text("a")
            .with_header("Access-Control-Allow-Origin", "*")
            .with_header("Vary", "origin")
            .with_header("etag", "\"1\"")
            .with_header("access", "x")
            .replaced_by(internal_error());
        assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
        let fields: Vec<_> = response.headers().collect();
        assert_eq!(
            fields,
            [("Access-Control-Allow-Origin", &"*".into()), ("Vary", &"origin".into())]
        );
    }
}

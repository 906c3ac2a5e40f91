//! [`CatchPanic`]: a handler's panic becomes a response of your own.
//!
//! Without it the engine contains a panic too: the client gets a plain 500 and the connection ends.
//! With it the other layers go on (the access log writes its line, CORS its fields), the connection
//! stays, and the response can be yours. Panics of content that is made while it is sent are not
//! seen here: they stay the engine's.

use std::fmt;

use threadline_engine::log::{Escaped, limited};
use threadline_pool::contained::catch;
use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::handler::IntoResponse;
use crate::middleware::layer::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

type Answer = dyn Fn(&Request<'_>, &str) -> Response + Send + Sync;

/// Middleware that answers 500 when what it is around panics. The panic's message and the route are
/// logged, and told to nobody else unless [`CatchPanic::answer`] does so.
///
/// ```
/// use threadline_http::middleware::CatchPanic;
/// use threadline_http::{Response, Router, Status};
///
/// let apology = CatchPanic::new().answer(|_request, _message| {
///     Response::new(Status::INTERNAL_SERVER_ERROR)
///         .with_content_type("application/json")
///         .with_body(r#"{"error": "our fault"}"#)
/// });
/// let router = Router::new().get("/", || -> &'static str { panic!("oops") }).layer(apology);
/// # router.build().unwrap();
/// ```
pub struct CatchPanic {
    answer: Box<Answer>,
}

impl Default for CatchPanic {
    fn default() -> Self {
        CatchPanic::new()
    }
}

impl CatchPanic {
    /// Answers a plain 500.
    pub fn new() -> Self {
        let hint = "the service's log says why";
        CatchPanic {
            answer: Box::new(move |_, _| {
                Response::error_of(ErrorKind::Internal, Status::INTERNAL_SERVER_ERROR, hint)
            }),
        }
    }

    /// Sets the answer. It is given the panic's message, which is meant for logs: it may say what a
    /// client should not know.
    pub fn answer<R: IntoResponse>(
        mut self,
        answer: impl Fn(&Request<'_>, &str) -> R + Send + Sync + 'static,
    ) -> Self {
        self.answer = Box::new(move |request, message| answer(request, message).into_response());
        self
    }
}

impl Middleware for CatchPanic {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        // What the handler leaves half-done is behind its own locks, which know of the panic.
        match catch(|| next.run(request)) {
            Ok(response) => response,
            Err(panic) => {
                let message = panic.message().unwrap_or("a value that is no text");
                let (route, reason) = (request.route(), Escaped(message));
                limited!(error, route: route, "the handler panicked", %reason);
                (self.answer)(request, message)
            }
        }
    }
}

impl fmt::Debug for CatchPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatchPanic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{Stack, request};

    #[test]
    fn a_panic_is_a_500_that_says_nothing_of_it() {
        let handler = |_: &Request<'_>| -> Response { panic!("the password is 1234") };
        let response = Stack::of(CatchPanic::new()).run(request("GET /", ""), handler);
        assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
        let text = response.into_body().into_bytes().expect("read");
        assert!(!String::from_utf8_lossy(&text).contains("1234"));
    }

    #[test]
    fn the_answer_knows_request_and_message() {
        let stack = Stack::of(CatchPanic::new().answer(|request, message| {
            (Status::BAD_GATEWAY, format!("{} {message}", request.path()))
        }));
        let body = |handler: fn(&Request<'_>) -> Response| {
            let response = stack.run(request("GET /a", ""), handler);
            assert_eq!(response.status(), Status::BAD_GATEWAY);
            response.into_body().into_bytes().expect("read")
        };
        assert_eq!(body(|_| panic!("static")), b"/a static");
        assert_eq!(body(|request| panic!("made {}", request.path())), b"/a made /a");
        assert_eq!(body(|_| std::panic::panic_any(7)), b"/a a value that is no text");
    }

    /// Panics when it is dropped, and throws another one of its kind.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn what_was_thrown_may_panic_when_it_is_dropped() {
        let throw = |_: &Request<'_>| -> Response { std::panic::panic_any(Bomb) };
        let response = Stack::of(CatchPanic::new()).run(request("GET /", ""), throw);
        assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
        // Also while the answer's own panic unwinds, which goes on.
        let fails = |_: &Request<'_>, _: &str| -> Response { panic!("the answer") };
        let stack = Stack::of(CatchPanic::new().answer(fails));
        let panic = catch(|| stack.run(request("GET /", ""), throw)).expect_err("it panics");
        assert_eq!(panic.message(), Some("the answer"));
    }

    #[test]
    fn what_does_not_panic_is_left_alone() {
        let response = Stack::of(CatchPanic::new()).run(request("GET /", ""), |_| "fine");
        assert_eq!(response.body().as_bytes(), Some(&b"fine"[..]));
    }
}

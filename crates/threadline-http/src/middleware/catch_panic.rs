//! [`CatchPanic`]: a handler's panic becomes a response of your own.
//!
//! Without it a panic is a 500 for the layers around, too ([`Next::run`]), and the connection ends. With it the
//! connection stays, and the response can be yours. Panics of content that is made while it is sent are not
//! seen here: they stay the engine's.

use std::fmt;

use crate::handler::IntoResponse;
use crate::middleware::layer::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

type Answer = dyn Fn(&Request<'_>, &str) -> Response + Send + Sync;

/// Middleware that decides what is answered when what it is around panics.
///
/// A panic is a 500 without it, too, which passes through the layers further out, in the form of
/// [`Router::errors`](crate::Router::errors); it is logged with the route and counted. This layer is for two
/// things: the connection stays open after it, and [`CatchPanic::answer`] may answer by the panic's message,
/// which nobody else is told. It is not asked where a layer further in has answered with a response of its own.
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
#[derive(Default)]
pub struct CatchPanic {
    answer: Option<Box<Answer>>,
}

impl CatchPanic {
    /// Answers the 500 of every panic, and keeps the connection.
    pub fn new() -> Self {
        CatchPanic::default()
    }

    /// Sets the answer. It is given the panic's message, which is meant for logs: it may say what a
    /// client should not know.
    pub fn answer<R: IntoResponse>(
        mut self,
        answer: impl Fn(&Request<'_>, &str) -> R + Send + Sync + 'static,
    ) -> Self {
        let answer =
            move |request: &Request<'_>, message: &str| answer(request, message).into_response();
        self.answer = Some(Box::new(answer));
        self
    }
}

impl Middleware for CatchPanic {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let mut response = next.run(request);
        let Some(message) = response.panic_message() else { return response };
        // What the handler leaves half-done is behind its own locks, which know of the panic.
        let Some(answer) = &self.answer else {
            response.close = false;
            return response;
        };
        let answer = answer(request, message);
        response.replaced_by(answer)
    }
}

impl fmt::Debug for CatchPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatchPanic")
    }
}

#[cfg(test)]
mod tests {
    use threadline_pool::contained::catch;
    use threadline_proto::response::Status;

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

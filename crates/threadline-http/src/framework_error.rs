//! [`FrameworkError`]: an error that the framework answers with, as data, and the one place where such errors
//! get their form.
//!
//! Extractors, ready-made layers and the service itself make them by [`Response::error_of`]. Such a response
//! has the default form, a line of text, and the error beside it. Before the layers around see it,
//! [`settle`] lets the hook of [`Router::errors`](crate::Router::errors) give it another form. A handler that
//! replaces the body has decided on a form of its own, and the hook is not asked.

use std::fmt;
use std::sync::Arc;

use threadline_engine::Contained;
use threadline_engine::log::limited;
use threadline_pool::contained::catch;
use threadline_proto::request::ParseError;
use threadline_proto::response::Status;

use crate::extensions::States;
use crate::response::{Aside, Response};

/// An error that the framework answers a request with: a refusal of the server, of an extractor or of a
/// ready-made layer. What the hook of [`Router::errors`](crate::Router::errors) gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameworkError {
    status: Status,
    kind: ErrorKind,
    field: Option<String>,
    reason: String,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal,)*) => {
        /// What an error of the framework is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// A name for programs, such as `body-too-large`: it does not change with the wording of reasons.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorKind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// The request's head or path breaks a rule of HTTP, or the request is cut off: 400.
    MalformedRequest "malformed-request",
    /// The request target is too long: 414.
    TargetTooLong "target-too-long",
    /// The request head is too large, or has too many fields: 431.
    HeadTooLarge "head-too-large",
    /// The version of HTTP is not known: 505.
    Version "unsupported-version",
    /// The transfer coding is not known: 501.
    TransferCoding "unsupported-transfer-coding",
    /// No route has the method: 501.
    UnknownMethod "unknown-method",
    /// Nothing is at the path: 404.
    NotFound "not-found",
    /// The path does not have the method: 405.
    MethodNotAllowed "method-not-allowed",
    /// `Expect` asks for something that is not known: 417.
    Expectation "expectation-failed",
    /// The body is longer than allowed, or expands too much: 413.
    BodyTooLarge "body-too-large",
    /// The body's framing or coding is broken, or it ended early: 400, or 431 for trailers.
    MalformedBody "malformed-body",
    /// The request did not arrive in time: 408.
    RequestTimedOut "request-timed-out",
    /// The service is overloaded: 503.
    Overloaded "overloaded",
    /// The client has too many connections: 503.
    TooManyConnections "too-many-connections",
    /// The reply was not made in time: 503.
    ReplyTimedOut "reply-timed-out",
    /// A parameter of the path does not fit: 400.
    Path "path",
    /// The query does not fit: 400.
    Query "query",
    /// A header field is missing or wrong: 400.
    Header "header",
    /// The body is of another media type or content coding: 415.
    MediaType "media-type",
    /// The body is not the expected JSON: 400 or 422.
    Json "json",
    /// The body is not the expected form: 400 or 422.
    Form "form",
    /// The body is not text in UTF-8: 400.
    Text "text",
    /// The multipart body is not the expected one.
    Multipart "multipart",
    /// A ready-made layer, or a directory of files, has refused the request; the status says why.
    Refused "refused",
    /// A handler has answered with a status of an error, and no text.
    Status "status",
    /// The body could not be stored: its directory is missing or full, and the log says more. 503.
    Storage "storage",
    /// The service's own fault; its log says more: 500.
    Internal "internal",
}

impl FrameworkError {
    pub(crate) fn new(kind: ErrorKind, status: Status, reason: impl fmt::Display) -> Self {
        FrameworkError { status, kind, field: None, reason: reason.to_string() }
    }

    /// The status that it is answered with.
    pub fn status(&self) -> Status {
        self.status
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The part of the request that is wrong, where it is one: the path of a field, like `items[2].price`, or
    /// the name of a parameter or header field. Of JSON and forms it may be text of the client's.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What is wrong and what is expected, for people. May repeat text of the client's, up to a bound.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// It as the text that is sent by default: `404 Not Found: {reason}`.
    pub fn to_text(&self) -> Response {
        Response::error(self.status, &self.reason)
    }

    /// It as `application/problem+json` (RFC 9457), with the members `kind` and, where there is one, `field`.
    /// To be given to [`Router::errors`](crate::Router::errors):
    ///
    /// ```
    /// use threadline_http::testing::TestClient;
    /// use threadline_http::{FrameworkError, Path, Router};
    ///
    /// let router = Router::new().get("/{id}", |Path(id): Path<u32>| id.to_string());
    /// let client = TestClient::new(router.errors(FrameworkError::to_problem))?;
    /// let refused = client.get("/x").send();
    /// assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    /// assert!(refused.text().contains(r#""field":"id""#));
    /// assert!(refused.text().contains(r#""kind":"path""#));
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn to_problem(&self) -> Response {
        use crate::handler::IntoResponse;
        let problem = crate::reply::Problem::new(self.status)
            .detail(&*self.reason)
            .member("kind", self.kind.name());
        match &self.field {
            Some(field) => problem.member("field", &**field).into_response(),
            None => problem.into_response(),
        }
    }
}

impl fmt::Display for FrameworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}

impl std::error::Error for FrameworkError {}

/// What a head that is refused is about.
pub(crate) fn kind_of(error: ParseError) -> ErrorKind {
    match error.status() {
        Status::URI_TOO_LONG => ErrorKind::TargetTooLong,
        Status::REQUEST_HEADER_FIELDS_TOO_LARGE => ErrorKind::HeadTooLarge,
        Status::HTTP_VERSION_NOT_SUPPORTED => ErrorKind::Version,
        Status::NOT_IMPLEMENTED => ErrorKind::TransferCoding,
        Status::EXPECTATION_FAILED => ErrorKind::Expectation,
        _ => ErrorKind::MalformedRequest,
    }
}

impl Response {
    /// An error of the framework: a text as of [`Response::error`], until the hook gives it another form.
    pub(crate) fn error_of(kind: ErrorKind, status: Status, reason: impl fmt::Display) -> Self {
        let error = FrameworkError::new(kind, status, reason);
        let response = error.to_text();
        Response { aside: Some(Box::new(Aside::Error(error))), ..response }
    }

    /// A status without a text of the program's: it says its name.
    pub(crate) fn of_status(status: Status) -> Self {
        let kind =
            if status == Status::NOT_FOUND { ErrorKind::NotFound } else { ErrorKind::Status };
        let error = FrameworkError::new(kind, status, status.reason());
        let response = Response::text(format!("{status}\n")).with_status(status);
        Response { aside: Some(Box::new(Aside::Error(error))), ..response }
    }

    /// The same, of a part of the request; an empty one is the whole.
    pub(crate) fn error_in(
        kind: ErrorKind,
        status: Status,
        field: &str,
        reason: impl fmt::Display,
    ) -> Self {
        let mut response = Response::error_of(kind, status, reason);
        if let Some(Aside::Error(error)) = response.aside.as_deref_mut() {
            error.field = (!field.is_empty()).then(|| field.to_owned());
        }
        response
    }
}

impl Response {
    /// The error of the framework that it tells of.
    pub(crate) fn framework_error(&self) -> Option<&FrameworkError> {
        match self.aside.as_deref()? {
            Aside::Error(error) => Some(error),
            Aside::Upgrade(_) | Aside::Selected(_) | Aside::Pending(_) | Aside::Panicked(_) => None,
        }
    }

    /// Leaves it as a response like others.
    #[inline]
    pub(crate) fn take_error(&mut self) -> Option<FrameworkError> {
        match *self.aside.take_if(|aside| matches!(**aside, Aside::Error(_)))? {
            Aside::Error(error) => Some(error),
            Aside::Upgrade(_) | Aside::Selected(_) | Aside::Pending(_) | Aside::Panicked(_) => None,
        }
    }
}

/// The hook of a router.
#[derive(Clone)]
pub(crate) struct ErrorForm(Contained<Arc<Form>>);

type Form = dyn Fn(&FrameworkError) -> Response + Send + Sync;

impl ErrorForm {
    pub(crate) fn new(form: impl Fn(&FrameworkError) -> Response + Send + Sync + 'static) -> Self {
        ErrorForm(Contained::new(Arc::new(form)))
    }
}

impl fmt::Debug for ErrorForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorForm")
    }
}

/// Gives an error of the framework its form. All else stays as it is.
#[inline]
pub(crate) fn settle(response: Response, states: &States) -> Response {
    if response.aside.is_none() { response } else { formed(response, states) }
}

#[cold]
fn formed(mut response: Response, states: &States) -> Response {
    let Some(mut error) = response.take_error() else { return response };
    // A handler or a layer may have changed it.
    error.status = response.status;
    let Some(ErrorForm(form)) = states.get::<ErrorForm>() else { return response };
    let mut formed = match catch(|| form(&error)) {
        Ok(formed) => formed,
        Err(_panic) => {
            limited!(error, key: "", "the hook for errors panicked: the error is sent as text");
            return response;
        }
    };
    if formed.body.as_bytes().is_none() || formed.is_deferred() || formed.other_protocol().is_some()
    {
        let hint = "expected a body in memory";
        limited!(error, key: "", "the hook's form of an error is not sent", hint);
        return response;
    }
    drop(formed.take_error());
    if !formed.status.is_error() {
        formed.status = response.status;
    }
    formed.close |= response.close;
    for (name, value) in response.headers {
        if formed.header_bytes(&name).is_none() {
            formed.headers.push((name, value));
        }
    }
    formed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(form: fn(&FrameworkError) -> Response) -> States {
        let mut states = States::default();
        states.insert(ErrorForm::new(form));
        states
    }

    fn refused() -> Response {
        Response::error_in(ErrorKind::Query, Status::BAD_REQUEST, "page", "not a number")
            .with_header("allow", "GET")
            .with_header("x-kept", "1")
            .with_close()
    }

    #[test]
    fn the_hook_gets_the_error_as_data_and_keeps_its_status_fields_and_close() {
        let form = |error: &FrameworkError| {
            let (kind, field) = (error.kind().name(), error.field().expect("a field"));
            Response::text(format!("{kind} {field} {} {}", error.status().code(), error.reason()))
                .with_header("allow", "PUT")
        };
        let response = settle(refused(), &states(form));
        assert_eq!(response.body().as_bytes(), Some(&b"query page 400 not a number"[..]));
        assert_eq!(response.status(), Status::BAD_REQUEST);
        assert_eq!((response.header("allow"), response.header("x-kept")), (Some("PUT"), Some("1")));
        assert!(response.close && response.framework_error().is_none());
    }

    #[test]
    fn the_hook_may_choose_another_status_of_an_error_and_sees_one_that_was_changed() {
        let form = |_: &FrameworkError| Response::new(Status::NOT_FOUND);
        assert_eq!(settle(refused(), &states(form)).status(), Status::NOT_FOUND);
        let form = |error: &FrameworkError| Response::text(error.status().code().to_string());
        let response = settle(refused().with_status(Status::CONFLICT), &states(form));
        assert_eq!(response.body().as_bytes(), Some(&b"409"[..]));
        assert_eq!(response.status(), Status::CONFLICT);
    }

    #[test]
    fn an_error_stays_text_without_a_hook_or_where_it_fails() {
        let text = Some(&b"400 Bad Request: not a number\n"[..]);
        assert_eq!(settle(refused(), &States::default()).body().as_bytes(), text);
        let panics = states(|_| panic!("as the test wants"));
        assert_eq!(settle(refused(), &panics).body().as_bytes(), text);
        let streams = states(|_| Response::text("").with_body(crate::Body::reader(&b"x"[..])));
        assert_eq!(settle(refused(), &streams).body().as_bytes(), text);
    }

    #[test]
    fn what_is_no_error_of_the_framework_or_has_another_body_is_left_alone() {
        let hook = states(|_| Response::text("changed"));
        let own = settle(Response::error(Status::BAD_REQUEST, "own"), &hook);
        assert_eq!(own.body().as_bytes(), Some(&b"400 Bad Request: own\n"[..]));
        let replaced = settle(refused().with_body("own"), &hook);
        assert_eq!(replaced.body().as_bytes(), Some(&b"own"[..]));
    }
}

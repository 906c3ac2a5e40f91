//! What can be a parameter of a handler.

use std::any::{TypeId, type_name};

use crate::body::BodyError;
use crate::handler::IntoResponse;
use crate::request::Request;

/// A type that can be taken out of a request, and so be a parameter of a handler.
///
/// ```
/// use threadline_http::{FromRequest, Request, Response, Status};
///
/// struct ApiKey(String);
///
/// impl FromRequest for ApiKey {
///     type Rejection = Response;
///
///     fn from_request(request: &Request<'_>) -> Result<Self, Response> {
///         match request.header("x-api-key") {
///             Some(key) => Ok(ApiKey(key.to_owned())),
///             None => Err(Response::error(Status::UNAUTHORIZED, "x-api-key is missing")),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken out of a request",
    label = "not a parameter that a handler can have",
    note = "use `Path`, `Query`, `Json`, `Form`, `Header`, `State`, `String`, `Vec<u8>`, or an `Option` or \
            `Result` of what may be missing or wrong; or implement `FromRequest` for it",
    note = "`&Request<'_>` must come last"
)]
pub trait FromRequest: Sized {
    /// What answers a request that it cannot be taken out of.
    type Rejection: IntoResponse;

    /// How many path parameters it needs, where that is known: checked when the router is built.
    const PARAMS: Option<usize> = None;

    /// Says what it needs of the service: checked when the router is built.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }

    /// Takes it out of the request.
    ///
    /// # Errors
    /// The response that the client gets instead of the handler's.
    fn from_request(request: &Request<'_>) -> Result<Self, Self::Rejection>;
}

/// What a handler's parameters need of the service.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    pub(crate) states: Vec<(TypeId, &'static str)>,
}

impl Needs {
    /// A value of this type must have been given to [`Router::state`](crate::Router::state).
    pub fn state<T: 'static>(&mut self) {
        self.states.push((TypeId::of::<T>(), type_name::<T>()));
    }
}

impl FromRequest for Vec<u8> {
    type Rejection = BodyError;

    fn from_request(request: &Request<'_>) -> Result<Self, BodyError> {
        Ok(request.bytes()?.into_owned())
    }
}

//! `State<T>` and `Extension<T>`: what the service shares, and what middleware has left.

use std::convert::Infallible;
use std::fmt;

use threadline_engine::log::limited;
use threadline_proto::response::Status;

use crate::extract::OptionalFromRequest;
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse, Needs};
use crate::request::Request;
use crate::response::Response;

/// A clone of what the service shares under the type `T`. That it is there is checked when the
/// router is built. Shared values are usually an `Arc`, or a handle that is cheap to clone.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use threadline_http::{Router, State};
///
/// fn count(State(visits): State<Arc<AtomicU64>>) -> String {
///     format!("visit {}", visits.fetch_add(1, Ordering::Relaxed) + 1)
/// }
///
/// let router = Router::new().state(Arc::new(AtomicU64::new(0))).get("/", count);
/// # router.build().unwrap();
/// assert!(Router::new().get("/", count).build().is_err(), "nothing to count in");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State<T>(pub T);

/// A clone of what middleware has left with the request under the type `T`; `Option<Extension<T>>`
/// where there may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<T>(pub T);

/// What a handler asks for is not there: the service's fault, 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotThere(&'static str);

impl fmt::Display for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing of type `{}` is there for the handler", self.0)
    }
}

impl std::error::Error for NotThere {}

impl IntoResponse for NotThere {
    fn into_response(self) -> Response {
        let hint = "add `Router::state`, or the middleware that leaves it";
        limited!(error, "a handler cannot be called", error = %self, hint);
        Response::error_of(
            ErrorKind::Internal,
            Status::INTERNAL_SERVER_ERROR,
            "the service's log says why",
        )
    }
}

impl<T: Clone + Send + Sync + 'static> FromRequest for State<T> {
    type Rejection = NotThere;

    fn needs(needs: &mut Needs) {
        needs.state::<T>();
    }

    fn from_request(request: &Request<'_>) -> Result<Self, NotThere> {
        let value = request.state::<T>().ok_or(NotThere(std::any::type_name::<T>()))?;
        Ok(State(value.clone()))
    }
}

impl<T: Clone + Send + Sync + 'static> FromRequest for Extension<T> {
    type Rejection = NotThere;

    fn from_request(request: &Request<'_>) -> Result<Self, NotThere> {
        let value = request.extensions().get::<T>().ok_or(NotThere(std::any::type_name::<T>()))?;
        Ok(Extension((*value).clone()))
    }
}

impl<T: Clone + Send + Sync + 'static> OptionalFromRequest for Extension<T> {
    type Rejection = Infallible;

    fn optional_from_request(request: &Request<'_>) -> Result<Option<Self>, Infallible> {
        Ok(Extension::from_request(request).ok())
    }
}

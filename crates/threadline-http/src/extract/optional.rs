//! Parameters that may be missing, or wrong: `Option<T>` and `Result<T, T::Rejection>`.
//!
//! The two are not the same. What is missing is `None`; what is there and wrong is refused, unless the
//! handler asks for the `Result`.

use std::convert::Infallible;

use crate::handler::{FromRequest, IntoResponse, Needs};
use crate::request::Request;

/// A type that a request may have or not, and so can be a parameter as an `Option`.
///
/// ```
/// use threadline_http::extract::header::UserAgent;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Header, Router};
///
/// fn greet(agent: Option<Header<UserAgent>>) -> String {
///     format!("hello, {}", agent.map_or("stranger".into(), |Header(agent)| agent.0))
/// }
///
/// let client = TestClient::new(Router::new().get("/", greet))?;
/// assert_eq!(client.get("/").send().text(), "hello, stranger");
/// assert_eq!(client.get("/").header("user-agent", "curl/8").send().text(), "hello, curl/8");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be taken out of a request",
    label = "not a parameter that may be missing",
    note = "`Result<{Self}, _>` can be, if `{Self}` can; or implement `OptionalFromRequest` for it"
)]
pub trait OptionalFromRequest: Sized {
    /// What answers a request that has it, but not in order.
    type Rejection: IntoResponse;

    /// Takes it out of the request, if it is there.
    ///
    /// # Errors
    /// The response that the client gets instead of the handler's.
    fn optional_from_request(request: &Request<'_>) -> Result<Option<Self>, Self::Rejection>;
}

impl<T: OptionalFromRequest> FromRequest for Option<T> {
    type Rejection = T::Rejection;

    fn from_request(request: &Request<'_>) -> Result<Self, T::Rejection> {
        T::optional_from_request(request)
    }
}

/// For handlers that answer by themselves what would be refused.
impl<T: FromRequest> FromRequest for Result<T, T::Rejection> {
    type Rejection = Infallible;

    const PARAMS: Option<usize> = T::PARAMS;

    fn needs(needs: &mut Needs) {
        T::needs(needs);
    }

    fn from_request(request: &Request<'_>) -> Result<Self, Infallible> {
        Ok(T::from_request(request))
    }
}

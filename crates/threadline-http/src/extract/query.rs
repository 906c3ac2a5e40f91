//! [`Query`]: the fields behind the `?` of the target.

use std::fmt;

use serde::de::DeserializeOwned;
use threadline_proto::response::Status;

use super::OptionalFromRequest;
use super::wrong::{WrongField, from_urlencoded};
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

/// The query as fields: `?page=2&tag=new&tag=red`, in the format of HTML forms.
///
/// `T` is usually a struct. Fields that may be missing are `Option`s or have `#[serde(default)]`; those
/// that may come several times are `Vec`s. Unknown fields are ignored, unless the type says
/// `#[serde(deny_unknown_fields)]`. As an `Option<Query<T>>` it is `None` where the target has no `?`.
///
/// ```
/// use serde::Deserialize;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Query, Router};
///
/// #[derive(Deserialize)]
/// struct Search {
///     text: String,
///     #[serde(default)]
///     page: u32,
///     #[serde(default)]
///     tag: Vec<String>,
/// }
///
/// fn search(Query(search): Query<Search>) -> String {
///     format!("{} on page {} with {:?}", search.text, search.page, search.tag)
/// }
///
/// let client = TestClient::new(Router::new().get("/search", search))?;
/// let found = client.get("/search?text=black%20tea&page=2&tag=new&tag=red").send();
/// assert_eq!(found.text(), r#"black tea on page 2 with ["new", "red"]"#);
/// let refused = client.get("/search?text=tea&page=two").send();
/// assert_eq!(refused.text(), "400 Bad Request: query field `page`: invalid digit found in string\n");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<T>(pub T);

/// The query does not fit: 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRejection(WrongField);

impl QueryRejection {
    /// Which field it is.
    pub fn wrong(&self) -> &WrongField {
        &self.0
    }
}

impl fmt::Display for QueryRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.path().is_empty() { "query: " } else { "query field " })?;
        self.0.fmt(f)
    }
}

impl std::error::Error for QueryRejection {}

impl IntoResponse for QueryRejection {
    fn into_response(self) -> Response {
        Response::error_in(ErrorKind::Query, Status::BAD_REQUEST, self.0.path(), &self)
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Rejection = QueryRejection;

    fn from_request(request: &Request<'_>) -> Result<Self, QueryRejection> {
        let query = request.query().unwrap_or_default();
        from_urlencoded(query.as_bytes()).map(Query).map_err(QueryRejection)
    }
}

impl<T: DeserializeOwned> OptionalFromRequest for Query<T> {
    type Rejection = QueryRejection;

    fn optional_from_request(request: &Request<'_>) -> Result<Option<Self>, QueryRejection> {
        request.query().map(|_| Self::from_request(request)).transpose()
    }
}

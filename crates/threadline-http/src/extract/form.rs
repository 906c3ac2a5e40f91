//! [`Form`]: the fields of an HTML form, from wherever its method puts them.

use std::fmt;

use serde::de::DeserializeOwned;
use threadline_proto::Method;
use threadline_proto::response::Status;

use super::header::MediaType;
use super::wrong::{WrongField, from_urlencoded};
use crate::body::BodyError;
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

/// The fields of an HTML form that was sent as `application/x-www-form-urlencoded`: from the body, or,
/// as browsers do it for `GET`, from the query. What `T` can be stands at [`Query`](crate::Query).
///
/// Forms with files are `multipart` ones, behind the feature of that name.
///
/// ```
/// use serde::Deserialize;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Form, Router};
///
/// #[derive(Deserialize)]
/// struct Login {
///     name: String,
///     #[serde(default)]
///     remember: bool,
/// }
///
/// let router = Router::new().post("/login", |Form(login): Form<Login>| {
///     format!("hello, {}{}", login.name, if login.remember { " again" } else { "" })
/// });
/// let client = TestClient::new(router)?;
/// let form = client.post("/login").header("content-type", "application/x-www-form-urlencoded");
/// assert_eq!(form.body("name=J%C3%BCrgen+K&remember=true").send().text(), "hello, Jürgen K again");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form<T>(pub T);

/// Why a request has no such form.
#[derive(Debug)]
#[non_exhaustive]
pub enum FormRejection {
    /// The body is of another media type, or of none: 415.
    MediaType,
    /// The body cannot be had: the status of the error.
    Body(BodyError),
    /// A field does not fit. 422; 400 if it is in the query.
    Field {
        /// What is wrong.
        wrong: WrongField,
        /// Where it stood.
        in_query: bool,
    },
}

impl fmt::Display for FormRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormRejection::MediaType => {
                write!(f, "send the form as `content-type: {URLENCODED}`")
            }
            FormRejection::Body(error) => error.fmt(f),
            FormRejection::Field { wrong, .. } => {
                f.write_str(if wrong.path().is_empty() { "form: " } else { "form field " })?;
                wrong.fmt(f)
            }
        }
    }
}

impl std::error::Error for FormRejection {}

impl IntoResponse for FormRejection {
    fn into_response(self) -> Response {
        let status = match &self {
            FormRejection::MediaType => Status::UNSUPPORTED_MEDIA_TYPE,
            FormRejection::Body(error) => return error.into_response(),
            FormRejection::Field { in_query: true, .. } => Status::BAD_REQUEST,
            FormRejection::Field { in_query: false, .. } => Status::UNPROCESSABLE_CONTENT,
        };
        match &self {
            FormRejection::MediaType => Response::error_of(ErrorKind::MediaType, status, &self),
            FormRejection::Field { wrong, .. } => {
                Response::error_in(ErrorKind::Form, status, wrong.path(), &self)
            }
            FormRejection::Body(_) => Response::error_of(ErrorKind::Form, status, &self),
        }
    }
}

const URLENCODED: &str = "application/x-www-form-urlencoded";

impl<T: DeserializeOwned> FromRequest for Form<T> {
    type Rejection = FormRejection;

    fn from_request(request: &Request<'_>) -> Result<Self, FormRejection> {
        if matches!(request.method(), Method::Get | Method::Head) {
            let query = request.query().unwrap_or_default();
            return fields(query.as_bytes(), true);
        }
        if MediaType::of(request).is_none_or(|media| media.essence() != URLENCODED) {
            return Err(FormRejection::MediaType);
        }
        fields(&request.bytes().map_err(FormRejection::Body)?, false)
    }
}

fn fields<T: DeserializeOwned>(text: &[u8], in_query: bool) -> Result<Form<T>, FormRejection> {
    from_urlencoded(text).map(Form).map_err(|wrong| FormRejection::Field { wrong, in_query })
}

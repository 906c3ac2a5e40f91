//! [`Json`]: a body as JSON, in both directions (RFC 8259).

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use threadline_engine::log::{Escaped, limited};
use threadline_proto::response::Status;

use super::OptionalFromRequest;
use super::header::MediaType;
use super::wrong::{WrongField, shortened};
use crate::body::BodyError;
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

/// A value as JSON: as a parameter it is the request's body, as a result the response's.
///
/// A request must say `content-type: application/json`, or a type that ends in `+json`; a `charset` is not
/// looked at, as JSON is UTF-8. A byte order mark is refused (RFC 8259 §8.1). Its length is
/// bounded by the route's limit on bodies, its depth by 128 levels. As an `Option<Json<T>>` it is `None`
/// where there is neither body nor content type.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Json, Router, Status};
///
/// #[derive(Deserialize)]
/// struct Order { item: String, pieces: Vec<u32> }
///
/// #[derive(Serialize)]
/// struct Receipt { item: String, total: u32 }
///
/// fn order(Json(order): Json<Order>) -> (Status, Json<Receipt>) {
///     let total = order.pieces.iter().sum();
///     (Status::CREATED, Json(Receipt { item: order.item, total }))
/// }
///
/// let client = TestClient::new(Router::new().post("/orders", order))?;
/// let post = |body: &str| client.post("/orders").header("content-type", "application/json").body(body).send();
/// assert_eq!(post(r#"{"item": "tea", "pieces": [1, 2]}"#).text(), r#"{"item":"tea","total":3}"#);
/// let refused = post(r#"{"item": "tea", "pieces": [1, "two"]}"#);
/// assert_eq!(refused.status(), Status::UNPROCESSABLE_CONTENT);
/// assert!(refused.text().contains("`pieces[1]`: invalid type: string \"two\", expected u32"));
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// Why a request has no such JSON.
#[derive(Debug)]
#[non_exhaustive]
pub enum JsonRejection {
    /// The body is of another media type, or of none: 415.
    MediaType,
    /// The body cannot be had: the status of the error.
    Body(BodyError),
    /// The body is no JSON, or more than one value: 400. The text says where it stops being so.
    Syntax(String),
    /// A value does not fit: 422.
    Field(WrongField),
}

impl fmt::Display for JsonRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonRejection::MediaType => f.write_str("send `content-type: application/json`"),
            JsonRejection::Body(error) => error.fmt(f),
            JsonRejection::Syntax(reason) => write!(f, "not JSON: {reason}"),
            JsonRejection::Field(wrong) if wrong.path().is_empty() => write!(f, "JSON: {wrong}"),
            JsonRejection::Field(wrong) => write!(f, "JSON field {wrong}"),
        }
    }
}

impl std::error::Error for JsonRejection {}

impl IntoResponse for JsonRejection {
    fn into_response(self) -> Response {
        let status = match &self {
            JsonRejection::MediaType => Status::UNSUPPORTED_MEDIA_TYPE,
            JsonRejection::Body(error) => return error.into_response(),
            JsonRejection::Syntax(_) => Status::BAD_REQUEST,
            JsonRejection::Field(_) => Status::UNPROCESSABLE_CONTENT,
        };
        match &self {
            JsonRejection::MediaType => Response::error_of(ErrorKind::MediaType, status, &self),
            JsonRejection::Field(wrong) => {
                Response::error_in(ErrorKind::Json, status, wrong.path(), &self)
            }
            _ => Response::error_of(ErrorKind::Json, status, &self),
        }
    }
}

impl<T: DeserializeOwned> FromRequest for Json<T> {
    type Rejection = JsonRejection;

    fn from_request(request: &Request<'_>) -> Result<Self, JsonRejection> {
        if MediaType::of(request).is_none_or(|media| !is_json(&media)) {
            return Err(JsonRejection::MediaType);
        }
        parse(&request.bytes().map_err(JsonRejection::Body)?).map(Json)
    }
}

impl<T: DeserializeOwned> OptionalFromRequest for Json<T> {
    type Rejection = JsonRejection;

    fn optional_from_request(request: &Request<'_>) -> Result<Option<Self>, JsonRejection> {
        let is_there =
            request.header_bytes("content-type").is_some() || request.content_length() != Some(0);
        is_there.then(|| Self::from_request(request)).transpose()
    }
}

fn is_json(media: &MediaType<'_>) -> bool {
    let essence = media.essence();
    essence == "application/json" || essence.ends_with("+json")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, JsonRejection> {
    // Keeping track of the path costs as much as the parsing: only what does not fit is parsed so.
    serde_json::from_slice(body).map_err(|error| match before_json(body) {
        Some(reason) => JsonRejection::Syntax(reason.to_owned()),
        None if error.is_data() => wrong_field::<T>(body, &error),
        None => syntax(&error),
    })
}

/// Why a body is not JSON, if its first bytes say it. Editors do not show such bytes, so "expected value at
/// line 1 column 1" would not help.
#[cold]
fn before_json(body: &[u8]) -> Option<&'static str> {
    match body {
        [0xef, 0xbb, 0xbf, ..] => {
            Some("it begins with a byte order mark: send it without (RFC 8259 §8.1)")
        }
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, b'{' | b'[', ..] | [b'{' | b'[', 0, ..] => {
            Some("it is in UTF-16 or UTF-32: send UTF-8, without a byte order mark (RFC 8259 §8.1)")
        }
        _ => None,
    }
}

#[cold]
fn wrong_field<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> JsonRejection {
    let mut json = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => JsonRejection::Field(WrongField::of(error)),
        // A type whose parsing depends on something else.
        Ok(_) => syntax(error),
    }
}

fn syntax(error: &serde_json::Error) -> JsonRejection {
    JsonRejection::Syntax(shortened(error.to_string()))
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => Response::bytes(text).with_content_type("application/json"),
            Err(error) => {
                let name = std::any::type_name::<T>();
                let error = Escaped(error);
                limited!(error, "a value cannot be written as JSON", r#type = name, %error);
                let hint = "the service's log says why";
                Response::error_of(ErrorKind::Internal, Status::INTERNAL_SERVER_ERROR, hint)
            }
        }
    }
}

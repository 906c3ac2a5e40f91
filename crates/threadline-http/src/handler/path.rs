//! `Path<T>`: the parameters of the route's pattern, percent-decoded and parsed.

use std::borrow::Cow;
use std::fmt;

use threadline_proto::percent;
use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

/// The parameters of the route's pattern, in its order.
///
/// `T` is one type that implements [`FromParam`], for a pattern with one parameter, or a tuple of
/// as many as the pattern has. How many is checked when the router is built.
///
/// ```
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Path, Router};
///
/// fn seat(Path((row, number)): Path<(char, u8)>) -> String {
///     format!("row {row}, seat {number}")
/// }
///
/// let client = TestClient::new(Router::new().get("/rows/{row}/{seat}", seat))?;
/// assert_eq!(client.get("/rows/C/7").send().text(), "row C, seat 7");
/// assert_eq!(client.get("/rows/C/700").send().status().code(), 400);
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path<T>(pub T);

/// A type that one path parameter can be: `String`, numbers, `bool`, `char`, addresses.
///
/// ```
/// use std::borrow::Cow;
/// use threadline_http::FromParam;
///
/// struct Slug(String);
///
/// impl FromParam for Slug {
///     type Error = &'static str;
///
///     fn from_param(text: Cow<'_, str>) -> Result<Self, Self::Error> {
///         if text.contains('/') { Err("a slug has no slashes") } else { Ok(Slug(text.into_owned())) }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be parsed from a path parameter",
    label = "not a type that a path parameter can be",
    note = "use `String`, a number, or a tuple of them; or implement `FromParam` for it"
)]
pub trait FromParam: Sized {
    /// Why a text is none. Sent to the client.
    type Error: fmt::Display;

    /// Parses the percent-decoded text.
    ///
    /// # Errors
    /// Says what the text should have been.
    fn from_param(text: Cow<'_, str>) -> Result<Self, Self::Error>;
}

/// What [`Path`] can hold: one [`FromParam`], or a tuple of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be parsed from path parameters",
    label = "not a type that `Path` can hold",
    note = "use `Path<String>`, `Path<u32>`, `Path<(u32, String)>`; or implement `FromParam` for it"
)]
pub trait FromParams: Sized {
    /// How many parameters it is parsed from.
    const COUNT: usize;

    /// Parses the request's path parameters.
    ///
    /// # Errors
    /// [`PathRejection`] says which one is wrong and why.
    fn from_params(request: &Request<'_>) -> Result<Self, PathRejection>;
}

/// Why a request's path does not fit the handler's [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRejection {
    /// A parameter cannot be decoded or parsed. The client's fault: 400.
    Param {
        /// The parameter's name in the pattern.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pattern has fewer parameters than `Path` takes. The service's fault: 500. The router
    /// refuses such routes, so this needs an extractor that hides its number.
    Count,
}

impl fmt::Display for PathRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathRejection::Param { name, reason } => {
                write!(f, "path parameter `{name}`: {reason}")
            }
            PathRejection::Count => f.write_str("the route has too few path parameters"),
        }
    }
}

impl std::error::Error for PathRejection {}

impl IntoResponse for PathRejection {
    fn into_response(self) -> Response {
        match &self {
            PathRejection::Param { name, .. } => {
                Response::error_in(ErrorKind::Path, Status::BAD_REQUEST, name, &self)
            }
            PathRejection::Count => {
                Response::error_of(ErrorKind::Internal, Status::INTERNAL_SERVER_ERROR, &self)
            }
        }
    }
}

impl<T: FromParams> FromRequest for Path<T> {
    type Rejection = PathRejection;

    const PARAMS: Option<usize> = Some(T::COUNT);

    fn from_request(request: &Request<'_>) -> Result<Self, PathRejection> {
        T::from_params(request).map(Path)
    }
}

impl<T: FromParam> FromParams for T {
    const COUNT: usize = 1;

    fn from_params(request: &Request<'_>) -> Result<Self, PathRejection> {
        parse(request.params().next())
    }
}

fn parse<T: FromParam>(param: Option<(&str, &str)>) -> Result<T, PathRejection> {
    let (name, raw) = param.ok_or(PathRejection::Count)?;
    let refuse = |reason: &dyn fmt::Display| PathRejection::Param {
        name: name.to_owned(),
        reason: reason.to_string(),
    };
    let text = percent::decode(raw).map_err(|error| refuse(&error))?;
    T::from_param(text).map_err(|error| refuse(&error))
}

macro_rules! tuples {
    ($($count:literal: $($item:ident)*;)*) => {$(
        impl<$($item: FromParam),*> FromParams for ($($item,)*) {
            const COUNT: usize = $count;

            fn from_params(request: &Request<'_>) -> Result<Self, PathRejection> {
                let mut params = request.params();
                Ok(($(parse::<$item>(params.next())?,)*))
            }
        }
    )*};
}

tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
}

impl FromParam for String {
    type Error = std::convert::Infallible;

    fn from_param(text: Cow<'_, str>) -> Result<Self, Self::Error> {
        Ok(text.into_owned())
    }
}

macro_rules! parsed {
    ($($type:ty)*) => {$(
        impl FromParam for $type {
            type Error = <$type as std::str::FromStr>::Err;

            fn from_param(text: Cow<'_, str>) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    )*};
}

parsed! {
    u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char
    std::num::NonZeroU32 std::num::NonZeroU64
    std::net::IpAddr std::net::Ipv4Addr std::net::Ipv6Addr std::net::SocketAddr
}

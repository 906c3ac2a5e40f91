//! What replies say of themselves.

use std::borrow::Cow;
use std::convert::Infallible;

use schemars::JsonSchema;
use serde_json::json;
use threadline_proto::response::Status;

use super::Operation;
use crate::body::BodyError;
use crate::cookies::SetCookie;
use crate::extract::Json;
use crate::reply::{Html, Problem, Redirect};
use crate::response::Response;

/// A reply that can say what it gives. Implement it for your own replies and errors to have them in
/// handlers of [`Router::operation`](crate::Router::operation).
///
/// ```
/// use threadline_http::Status;
/// use threadline_http::openapi::{Gives, Operation};
///
/// # struct OutOfTea;
/// impl Gives for OutOfTea {
///     fn describe(operation: Operation) -> Operation {
///         operation.response(Status::SERVICE_UNAVAILABLE, "No tea is left.")
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be described in OpenAPI",
    label = "not a reply that a handler of `Router::operation` can give",
    note = "derive `JsonSchema` for what is in it, implement `Gives` for a reply of your own, or use \
            `get(…)`, `post(…)` and say it by hand with `Methods::describe`"
)]
pub trait Gives {
    /// Says what it gives.
    fn describe(operation: Operation) -> Operation;
}

impl<T: JsonSchema> Gives for Json<T> {
    fn describe(operation: Operation) -> Operation {
        operation.content::<T>(Status::OK, "application/json")
    }
}

impl<T> Gives for Html<T> {
    fn describe(operation: Operation) -> Operation {
        operation.content::<String>(Status::OK, "text/html")
    }
}

impl Gives for Problem {
    fn describe(mut operation: Operation) -> Operation {
        let text = || json!({ "type": "string" });
        let schema = json!({
            "type": "object",
            "properties": {
                "type": text(), "title": text(), "detail": text(), "instance": text(),
                "status": { "type": "integer" },
            },
        });
        operation.add_content("default", "application/problem+json", schema);
        operation
    }
}

impl Gives for () {
    fn describe(mut operation: Operation) -> Operation {
        operation.add_response("204");
        operation
    }
}

impl<T: Gives> Gives for Option<T> {
    fn describe(operation: Operation) -> Operation {
        let mut operation = T::describe(operation);
        operation.add_response("404");
        operation
    }
}

impl<T: Gives, E: Gives> Gives for Result<T, E> {
    fn describe(operation: Operation) -> Operation {
        E::describe(T::describe(operation))
    }
}

/// The type does not say which status: [`Operation::success`] does.
impl<T: Gives> Gives for (Status, T) {
    fn describe(operation: Operation) -> Operation {
        T::describe(operation)
    }
}

impl<N, V, T: Gives, const COUNT: usize> Gives for ([(N, V); COUNT], T) {
    fn describe(operation: Operation) -> Operation {
        T::describe(operation)
    }
}

impl<N, V, T: Gives, const COUNT: usize> Gives for (Status, [(N, V); COUNT], T) {
    fn describe(operation: Operation) -> Operation {
        T::describe(operation)
    }
}

impl<T: Gives> Gives for (SetCookie, T) {
    fn describe(operation: Operation) -> Operation {
        T::describe(operation)
    }
}

macro_rules! contents {
    ($($type:ty: $media_type:literal;)*) => {$(
        impl Gives for $type {
            fn describe(operation: Operation) -> Operation {
                operation.content::<String>(Status::OK, $media_type)
            }
        }
    )*};
}

contents! {
    &'static str: "text/plain";
    String: "text/plain";
    Cow<'static, str>: "text/plain";
    Vec<u8>: "application/octet-stream";
    &'static [u8]: "application/octet-stream";
}

macro_rules! anything {
    ($($type:ty)*) => {$(
        /// It may be anything: [`Operation::response`] and [`Operation::content`] say what.
        impl Gives for $type {
            fn describe(mut operation: Operation) -> Operation {
                operation.add_response("default");
                operation
            }
        }
    )*};
}

anything! { Response Status Redirect BodyError std::io::Error }

impl Gives for Infallible {
    fn describe(operation: Operation) -> Operation {
        operation
    }
}

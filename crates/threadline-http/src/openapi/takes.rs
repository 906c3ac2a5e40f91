//! What extractors say of themselves.

use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::Operation;
use crate::cookies::Cookies;
#[cfg(feature = "form")]
use crate::extract::{Form, Query};
use crate::extract::{FromHeader, Header, Json, PeerAddr};
use crate::handler::{Extension, Path, State};

/// An extractor that can say what it takes. Implement it for your own extractors to have them in handlers
/// of [`Router::operation`](crate::Router::operation).
///
/// ```
/// use threadline_http::openapi::{Operation, Takes};
///
/// # struct ApiKey(String);
/// impl Takes for ApiKey {
///     fn describe(operation: Operation) -> Operation {
///         operation.security("api key")
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be described in OpenAPI",
    label = "not a parameter that a handler of `Router::operation` can have",
    note = "derive `JsonSchema` for what is in it, implement `Takes` for an extractor of your own, or use \
            `get(…)`, `post(…)` and say it by hand with `Methods::describe`"
)]
pub trait Takes {
    /// Says what it takes.
    fn describe(operation: Operation) -> Operation;

    /// Says what it takes where it may be missing.
    fn describe_optional(operation: Operation) -> Operation {
        Self::describe(operation)
    }
}

impl<T: JsonSchema> Takes for Path<T> {
    fn describe(mut operation: Operation) -> Operation {
        let schema = operation.schema_itself::<T>();
        // A tuple's schema lists its elements.
        let elements = schema.get("prefixItems").and_then(Value::as_array).cloned();
        operation.type_path_params(elements.unwrap_or_else(|| vec![schema.to_value()]));
        operation.add_response("400");
        operation
    }
}

#[cfg(feature = "form")]
impl<T: JsonSchema> Takes for Query<T> {
    fn describe(mut operation: Operation) -> Operation {
        let schema = operation.schema_itself::<T>();
        add_query(&mut operation, &schema, true);
        operation
    }

    fn describe_optional(mut operation: Operation) -> Operation {
        let schema = operation.schema_itself::<T>();
        add_query(&mut operation, &schema, false);
        operation
    }
}

/// A parameter for each field of a struct.
#[cfg(feature = "form")]
fn add_query(operation: &mut Operation, schema: &Schema, may_be_required: bool) {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
    for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        let is_required = may_be_required && is_required(name);
        operation.add_parameter("query", name, is_required, schema.clone());
    }
    operation.add_response("400");
}

impl<T: JsonSchema> Takes for Json<T> {
    fn describe(operation: Operation) -> Operation {
        refusable(operation.body::<T>("application/json", true))
    }

    fn describe_optional(operation: Operation) -> Operation {
        refusable(operation.body::<T>("application/json", false))
    }
}

#[cfg(feature = "form")]
impl<T: JsonSchema> Takes for Form<T> {
    fn describe(operation: Operation) -> Operation {
        refusable(operation.body::<T>("application/x-www-form-urlencoded", true))
    }
}

/// By its syntax, its media type or its content.
fn refusable(mut operation: Operation) -> Operation {
    ["400", "415", "422"].into_iter().for_each(|status| operation.add_response(status));
    operation
}

impl<T: FromHeader> Takes for Header<T> {
    fn describe(mut operation: Operation) -> Operation {
        operation.add_response("400");
        operation.header::<String>(T::NAME, true)
    }

    fn describe_optional(mut operation: Operation) -> Operation {
        operation.add_response("400");
        operation.header::<String>(T::NAME, false)
    }
}

impl Takes for String {
    fn describe(operation: Operation) -> Operation {
        operation.body::<String>("text/plain", true)
    }
}

impl Takes for Vec<u8> {
    fn describe(operation: Operation) -> Operation {
        // Any bytes: OpenAPI 3.1 has no schema for them.
        operation.body::<Value>("application/octet-stream", true)
    }
}

impl<T: Takes> Takes for Option<T> {
    fn describe(operation: Operation) -> Operation {
        T::describe_optional(operation)
    }
}

impl<T: Takes, E> Takes for Result<T, E> {
    fn describe(operation: Operation) -> Operation {
        T::describe(operation)
    }
}

macro_rules! silent {
    ($($type:ty)*) => {$(
        /// Nothing in particular.
        impl Takes for $type {
            fn describe(operation: Operation) -> Operation {
                operation
            }
        }
    )*};
}

silent! { Cookies PeerAddr }

#[cfg(feature = "cookies-secure")]
silent! { crate::cookies::SignedCookies crate::cookies::PrivateCookies }

/// Nothing that clients see.
impl<T> Takes for State<T> {
    fn describe(operation: Operation) -> Operation {
        operation
    }
}

/// Nothing that clients see.
impl<T> Takes for Extension<T> {
    fn describe(operation: Operation) -> Operation {
        operation
    }
}

//! Handlers all of whose types can be described.

use threadline_proto::Method;

use super::{Gives, Operation, Takes};
use crate::handler::{AndRequest, Extracted, Handler};
use crate::request::Request;
use crate::router::Methods;

/// A handler whose parameters and result say what they take and give. Implemented for functions, as
/// [`Handler`] is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler that can be described in OpenAPI",
    label = "not all of its types say what they are",
    note = "each parameter must implement `Takes`, the result `Gives`: derive `JsonSchema` for what is in \
            `Json`, `Query`, `Form` and `Path`",
    note = "`get(…)`, `post(…)` take any handler; say by hand what it does with `Methods::describe`"
)]
pub trait ApiHandler<Args>: Handler<Args> {
    /// Says what it takes and gives.
    fn describe(operation: Operation) -> Operation;
}

/// Answers a method with a handler whose types describe it. The beginning of a
/// [`Methods`](crate::Methods).
///
/// ```
/// use threadline_http::openapi::operation;
/// use threadline_http::{Method, Path, Router};
///
/// fn double(Path(number): Path<u32>) -> String {
///     (u64::from(number) * 2).to_string()
/// }
///
/// let double = operation(Method::Get, double).describe(|operation| operation.summary("Twice as much"));
/// let api = Router::new().route("/double/{number}", double).openapi("Numbers", "1.0");
/// let double = &api.document()["paths"]["/double/{number}"]["get"];
/// assert_eq!(double["parameters"][0]["schema"]["type"], "integer");
/// assert_eq!(double["summary"], "Twice as much");
/// ```
pub fn operation<Args>(method: Method<'static>, handler: impl ApiHandler<Args>) -> Methods {
    Methods::none().operation(method, handler)
}

macro_rules! handlers {
    ($($extractor:ident)*) => {
        impl<Fun, Out, $($extractor),*> ApiHandler<Extracted<($($extractor,)*)>> for Fun
        where
            Fun: Fn($($extractor),*) -> Out + Handler<Extracted<($($extractor,)*)>>,
            Out: Gives,
            $($extractor: Takes,)*
        {
            fn describe(operation: Operation) -> Operation {
                $(let operation = $extractor::describe(operation);)*
                Out::describe(operation)
            }
        }

        impl<Fun, Out, $($extractor),*> ApiHandler<AndRequest<($($extractor,)*)>> for Fun
        where
            Fun: for<'r> Fn($($extractor,)* &'r Request<'r>) -> Out
                + Handler<AndRequest<($($extractor,)*)>>,
            Out: Gives,
            $($extractor: Takes,)*
        {
            fn describe(operation: Operation) -> Operation {
                $(let operation = $extractor::describe(operation);)*
                Out::describe(operation)
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A B);
handlers!(A B C);
handlers!(A B C D);
handlers!(A B C D E);
handlers!(A B C D E F);
handlers!(A B C D E F G);
handlers!(A B C D E F G H);
handlers!(A B C D E F G H I);
handlers!(A B C D E F G H I J);
handlers!(A B C D E F G H I J K);
handlers!(A B C D E F G H I J K L);

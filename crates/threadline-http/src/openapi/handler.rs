//! Handlers all of whose types can be described.

use super::{Gives, Operation, Takes};
use crate::handler::{AndRequest, Extracted, Handler};
use crate::request::Request;

/// A handler whose parameters and result say what they take and give. Implemented for functions, as
/// [`Handler`] is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler that can be described in OpenAPI",
    label = "not all of its types say what they are",
    note = "each parameter must implement `Takes`, the result `Gives`: derive `JsonSchema` for what is in \
            `Json`, `Query`, `Form` and `Path`",
    note = "`Router::route` takes any handler; say by hand what it does with `Router::describe`"
)]
pub trait ApiHandler<Args>: Handler<Args> {
    /// Says what it takes and gives.
    fn describe(operation: Operation) -> Operation;
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

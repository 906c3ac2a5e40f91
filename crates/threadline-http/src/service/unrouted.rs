//! What is answered where no handler is: 404, 405, 501, and `OPTIONS`.
//!
//! Layers are around these answers too, and may keep what makes them, so it borrows nothing.

use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::response::Response;
use crate::router::Found;

/// Why there is no handler for a request.
#[derive(Debug, Clone)]
pub(crate) enum Unrouted {
    /// `OPTIONS`, and no handler for it: the value of `Allow`.
    Options(String),
    /// The path is there, but not with this method: the value of `Allow`.
    OtherMethods(String),
    /// A method that no route at all has.
    UnknownMethod,
    /// Nothing at this path.
    Nothing,
    /// `CONNECT`: there is no tunnel here.
    NoProxy,
}

impl Unrouted {
    /// What was found instead of a handler.
    pub(super) fn of(found: Found<'_>) -> Self {
        match found {
            Found::Options(allow) => Unrouted::Options(allow.to_owned()),
            Found::OtherMethods(allow) => Unrouted::OtherMethods(allow.to_owned()),
            Found::UnknownMethod => Unrouted::UnknownMethod,
            Found::NoProxy => Unrouted::NoProxy,
            Found::Nothing | Found::Endpoint(..) => Unrouted::Nothing,
        }
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response {
        match self {
            Unrouted::Options(allow) => {
                Response::new(Status::NO_CONTENT).with_header("allow", allow.clone())
            }
            Unrouted::OtherMethods(allow) => {
                let hint = format_args!("this path answers {allow}");
                Response::error_of(ErrorKind::MethodNotAllowed, Status::METHOD_NOT_ALLOWED, hint)
                    .with_header("allow", allow.clone())
            }
            Unrouted::UnknownMethod => Response::error_of(
                ErrorKind::UnknownMethod,
                Status::NOT_IMPLEMENTED,
                "nothing here knows this method; methods are case-sensitive",
            ),
            Unrouted::NoProxy => Response::error_of(
                ErrorKind::UnknownMethod,
                Status::NOT_IMPLEMENTED,
                "this server is no proxy",
            ),
            Unrouted::Nothing => Response::error_of(
                ErrorKind::NotFound,
                Status::NOT_FOUND,
                "nothing is served at this path",
            ),
        }
    }
}

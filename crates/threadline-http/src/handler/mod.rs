//! Handlers as plain functions: parameters are taken out of the request, the result becomes the
//! response.
//!
//! | file | |
//! | --- | --- |
//! | `call.rs` | [`Handler`]: which functions are handlers, and how they are called |
//! | `extract.rs` | [`FromRequest`]: what can be a parameter |
//! | `path.rs` | [`Path`]: the parameters of the route's pattern |
//! | `state.rs` | [`State`] and [`Extension`]: what the service shares, what middleware left |
//! | `reply.rs` | [`IntoResponse`]: what can be a result |

mod call;
mod extract;
mod path;
mod reply;
mod state;

#[cfg(feature = "multipart")]
pub use call::AndMultipart;
pub use call::{AndRequest, Extracted, Handler};
pub(crate) use call::{Erased, erase};
pub use extract::{FromRequest, Needs};
pub use path::{FromParam, FromParams, Path, PathRejection};
pub use reply::IntoResponse;
pub use state::{Extension, NotThere, State};

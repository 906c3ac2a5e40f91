//! What handlers can take out of a request, beyond its path and what the service shares.
//!
//! | file | |
//! | --- | --- |
//! | `query.rs` | [`Query`]: the fields behind the `?` |
//! | `form.rs` | [`Form`]: the fields of an HTML form |
//! | `json.rs` | [`Json`]: the body as JSON; also a response |
//! | `text.rs` | `String`: the body as text |
//! | `header/` | [`Header`]: a typed header field |
//! | `peer.rs` | [`PeerAddr`]: who is at the other end |
//! | `optional.rs` | `Option<T>`, `Result<T, T::Rejection>`: what may be missing, or wrong |
//! | `wrong.rs` | [`WrongField`]: which field does not fit, and why |

#[cfg(feature = "form")]
mod form;
pub mod header;
#[cfg(feature = "json")]
mod json;
mod optional;
mod peer;
#[cfg(feature = "form")]
mod query;
mod text;
#[cfg(any(feature = "form", feature = "json"))]
mod wrong;

#[cfg(feature = "form")]
pub use form::{Form, FormRejection};
pub use header::{FromHeader, Header, HeaderRejection};
#[cfg(feature = "json")]
pub use json::{Json, JsonRejection};
pub use optional::OptionalFromRequest;
pub use peer::{NoPeerAddr, PeerAddr};
#[cfg(feature = "form")]
pub use query::{Query, QueryRejection};
pub use text::TextRejection;
#[cfg(any(feature = "form", feature = "json"))]
pub use wrong::WrongField;

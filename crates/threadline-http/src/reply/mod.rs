//! What handlers can answer, beyond texts and bytes.
//!
//! | file | |
//! | --- | --- |
//! | `html.rs` | [`Html`]: a page |
//! | `redirect.rs` | [`Redirect`]: somewhere else |
//! | `problem.rs` | [`Problem`]: an error for programs; [`Problems`]: errors that are plain text, so |
//! | `fields.rs` | a status and header fields beside the answer proper |
//!
//! [`Json`](crate::Json) is with the extractors.

mod fields;
mod html;
#[cfg(feature = "json")]
mod problem;
mod redirect;

pub use html::Html;
#[cfg(feature = "json")]
pub use problem::{Problem, Problems};
pub use redirect::Redirect;

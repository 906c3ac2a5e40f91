//! OpenAPI 3.1: what a service takes and gives, for people and for programs, made from the types of its
//! handlers.
//!
//! | file | |
//! | --- | --- |
//! | `operation.rs` | [`Operation`]: what is said of one route |
//! | `takes.rs` | [`Takes`]: what extractors say of themselves |
//! | `gives.rs` | [`Gives`]: what replies say of themselves |
//! | `handler.rs` | [`ApiHandler`]: handlers all of whose types do |
//! | `document.rs` | [`OpenApi`]: the document, and the pages that show it |
//! | `page.html`, `page.css`, `page.js` | the page, which needs nothing from elsewhere |
//!
//! Routes are made by [`operation`] or [`Router::operation`](crate::Router::operation) instead of `get` and
//! `post`: then the handler's parameters and its result are described by their types, which is why those have
//! to implement `JsonSchema` (re-exported as [`schemars`]). Other routes are in the document too, with their
//! path alone. What types cannot say is added by [`Methods::describe`](crate::Methods::describe).
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use threadline_http::openapi::{operation, schemars};
//! use threadline_http::{Json, Method, Path, Query, Router, Status};
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Note { id: u64, text: String }
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Page { after: Option<u64> }
//!
//! fn note(Path(id): Path<u64>) -> Option<Json<Note>> {
//!     (id == 1).then(|| Json(Note { id, text: "buy tea".into() }))
//! }
//!
//! fn notes(Query(page): Query<Page>) -> Json<Vec<Note>> {
//!     Json(Vec::new())
//! }
//!
//! let one = operation(Method::Get, note).describe(|operation| operation.summary("One note").tag("notes"));
//! let router = Router::new().route("/notes/{id}", one).operation(Method::Get, "/notes", notes);
//! let api = router.openapi("Notes", "1.0");
//! assert_eq!(api.document()["paths"]["/notes/{id}"]["get"]["summary"], "One note");
//! // The document at /docs/openapi.json, a page for people at /docs.
//! let router = router.nest("/docs", api.routes());
//! # router.build().unwrap();
//! ```

mod document;
mod gives;
mod handler;
mod operation;
mod takes;

pub(crate) use document::Described;
pub use document::{OpenApi, SecurityScheme};
pub use gives::Gives;
pub use handler::{ApiHandler, operation};
pub(crate) use operation::Description;
pub use operation::Operation;
pub use takes::Takes;

pub use schemars;

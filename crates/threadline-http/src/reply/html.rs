//! [`Html`]: a page.

use std::borrow::Cow;

use crate::handler::IntoResponse;
use crate::response::Response;

/// A page in HTML, in UTF-8. What users have typed must be escaped before it is put into one.
///
/// ```
/// use threadline_http::{Html, Router};
///
/// let router = Router::new().get("/", || Html("<!doctype html><title>hello</title><p>hello"));
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Html<T>(pub T);

impl<T: Into<Cow<'static, str>>> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        Response::text(self.0).with_content_type("text/html; charset=utf-8")
    }
}

//! A status and header fields beside the answer proper: `(Status, [(name, value)], T)`.

use std::borrow::Cow;

use threadline_proto::response::Status;

use crate::handler::IntoResponse;
use crate::header_value::HeaderValue;
use crate::response::Response;

/// Each field in place of those that `T` has of that name.
impl<N, V, T, const COUNT: usize> IntoResponse for ([(N, V); COUNT], T)
where
    N: Into<Cow<'static, str>>,
    V: Into<HeaderValue>,
    T: IntoResponse,
{
    fn into_response(self) -> Response {
        let (fields, answer) = self;
        let mut response = answer.into_response();
        fields.into_iter().for_each(|(name, value)| response.set_header(name, value));
        response
    }
}

impl<N, V, T, const COUNT: usize> IntoResponse for (Status, [(N, V); COUNT], T)
where
    N: Into<Cow<'static, str>>,
    V: Into<HeaderValue>,
    T: IntoResponse,
{
    fn into_response(self) -> Response {
        let (status, fields, answer) = self;
        (status, (fields, answer)).into_response()
    }
}

/// 200, or 404 for `None`.
impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Response {
        self.map_or_else(|| Status::NOT_FOUND.into_response(), T::into_response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_replace_those_of_the_answer() {
        let answer = (Status::CREATED, [("content-type", "text/csv"), ("etag", "\"1\"")], "a,b\n");
        let response = answer.into_response();
        assert_eq!(response.status(), Status::CREATED);
        assert_eq!(response.content_type(), Some("text/csv"));
        assert_eq!(response.header("etag"), Some("\"1\""));
        assert_eq!(response.body().as_bytes(), Some(&b"a,b\n"[..]));
    }

    #[test]
    fn nothing_is_not_found() {
        assert_eq!(None::<&'static str>.into_response().status(), Status::NOT_FOUND);
        assert_eq!(Some("a").into_response().status(), Status::OK);
    }
}

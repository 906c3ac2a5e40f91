//! [`Etag`]: what has not changed is not sent again, and what has changed is not written over.
//!
//! A validator for content in memory that has none, and the answers to the conditions of a request (RFC
//! 9110 §13): 304 for clients that have that content already, 412 for those that mean another version. To
//! `GET` and `HEAD` the handler runs all the same, as the content has to be known: this saves bytes on the
//! way, not work. Never reads content that is made while it is sent.

use std::fmt;
use std::sync::Arc;

use threadline_proto::Method;
use threadline_proto::response::Status;

use crate::body::Body;
use crate::conditional::{Access, Conditions, Validators, Verdict, comparable, content_tag};
use crate::framework_error::ErrorKind;
use crate::middleware::fields::has_element;
use crate::middleware::layer::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

/// Middleware that gives 200s to `GET` and `HEAD` a strong `ETag`, made of their content, and judges the
/// conditions of requests in the order of RFC 9110 §13.2.2. An `ETag` or `Last-Modified` that the handler has
/// set is used as it is, also for content that is streamed.
///
/// | condition of a `GET` or `HEAD` | answer |
/// | --- | --- |
/// | `If-Match` without this tag (compared strongly); or else `If-Unmodified-Since` before `Last-Modified` | 412 |
/// | `If-None-Match` with this tag (compared weakly); or else `If-Modified-Since` not before `Last-Modified` | 304 |
///
/// A request that changes something must be judged before it does: say which version there is by
/// [`Etag::current`]. Without that, other methods pass through, and their handlers can compare by
/// themselves: [`IfMatch`](crate::extract::header::IfMatch),
/// [`IfNoneMatch`](crate::extract::header::IfNoneMatch).
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::Etag;
///
/// let router = Router::new().get("/", || "seldom anything new").layer(Etag::new());
/// # router.build().unwrap();
/// ```
#[derive(Clone)]
pub struct Etag {
    len_max: usize,
    current: Option<Arc<Current>>,
}

/// The tag of the representation that a request is about.
type Current = dyn Fn(&Request<'_>) -> Option<String> + Send + Sync;

impl Default for Etag {
    fn default() -> Self {
        Etag::new()
    }
}

impl Etag {
    /// For content of up to 1 MB.
    pub const fn new() -> Self {
        Etag { len_max: 1024 * 1024, current: None }
    }

    /// Sets the longest content in bytes that an `ETag` is made for: all of it is read for that.
    pub const fn len_max(mut self, bytes: usize) -> Self {
        self.len_max = bytes;
        self
    }

    /// Has conditions of requests that change something (`PUT`, `PATCH`, `POST`, `DELETE` and others) judged
    /// before their handler runs: 412 if `If-Match` does not have the current tag, or `If-None-Match` has it.
    /// `current` says which tag the representation has now, with its quotes; `None` if there is none. It is
    /// called for requests with conditions alone, and may block.
    ///
    /// Between this and the handler another request may come in between: where that matters, the handler
    /// compares once more while it holds its lock.
    ///
    /// ```
    /// use threadline_http::middleware::Etag;
    /// use threadline_http::testing::TestClient;
    /// use threadline_http::{Router, Status};
    ///
    /// let current = |request: &threadline_http::Request<'_>| {
    ///     (request.path() == "/note").then(|| "\"v2\"".to_owned())
    /// };
    /// let router = Router::new().put("/note", || ()).layer(Etag::new().current(current));
    /// let client = TestClient::new(router)?;
    /// let put = |known: &str| client.put("/note").header("if-match", known).send().status();
    /// assert_eq!(put("\"v1\""), Status::PRECONDITION_FAILED);
    /// assert_eq!(put("\"v2\""), Status::NO_CONTENT);
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    pub fn current(
        mut self,
        current: impl Fn(&Request<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.current = Some(Arc::new(current));
        self
    }

    /// Gives the response a validator, if it has none and can have one.
    fn tag(&self, response: &mut Response) {
        if response.header_bytes("etag").is_some()
            || has_element(response, "cache-control", "no-store")
        {
            return;
        }
        // No content at all may be a handler of `HEAD`, which does not have that of `GET`.
        let is_tagged = |content: &&[u8]| (1..=self.len_max).contains(&content.len());
        let content = response.body().as_bytes().filter(is_tagged);
        if let Some(etag) = content.map(content_tag) {
            response.set_header("etag", etag);
        }
    }

    /// Finishes the response to a request that only reads.
    fn finish(&self, request: &Request<'_>, mut response: Response) -> Response {
        if response.status() != Status::OK {
            return response;
        }
        self.tag(&mut response);
        let conditions = Conditions::of(request.headers());
        if conditions.is_empty() {
            return response;
        }
        match conditions.judge(Some(&validators(&response)), Access::Read) {
            Verdict::Go => response,
            Verdict::NotModified => not_modified(response),
            Verdict::Failed => failed(),
        }
    }

    /// Whether a request that changes something is meant for another version.
    fn is_meant_otherwise(&self, request: &Request<'_>) -> bool {
        let Some(current) = &self.current else { return false };
        let conditions = Conditions::of(request.headers());
        if conditions.is_empty() {
            return false;
        }
        let current = current(request).map(|etag| {
            let etag = Some(comparable(etag.as_bytes()).into_owned());
            Validators { etag, ..Validators::default() }
        });
        conditions.judge(current.as_ref(), Access::Change) != Verdict::Go
    }
}

impl Middleware for Etag {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        match request.method() {
            Method::Get | Method::Head => {
                next.run(request).finished_by(self, request, Etag::finish)
            }
            // These are about no representation (RFC 9110 §13.2.1).
            Method::Options | Method::Trace | Method::Connect => next.run(request),
            _ if self.is_meant_otherwise(request) => failed(),
            _ => next.run(request),
        }
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etag").field("len_max", &self.len_max).finish_non_exhaustive()
    }
}

/// What the response says of itself.
fn validators(response: &Response) -> Validators {
    let date = response.header("last-modified");
    Validators {
        etag: response.header_bytes("etag").map(|etag| comparable(etag).into_owned()),
        modified: date.and_then(|date| httpdate::parse_http_date(date).ok()),
        is_settled: false,
        is_own_date: true,
    }
}

/// RFC 9110 §15.4.5: what describes the content alone goes with it.
fn not_modified(mut response: Response) -> Response {
    let selected = response.as_selected();
    for name in ["content-type", "content-encoding", "content-language", "accept-ranges"] {
        response.remove_header(name);
    }
    response.set_body(Body::EMPTY);
    response.with_status(Status::NOT_MODIFIED).with_selected(selected)
}

fn failed() -> Response {
    let hint = "there is another version than the request is meant for";
    Response::error_of(ErrorKind::Refused, Status::PRECONDITION_FAILED, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IntoResponse;
    use crate::middleware::testing::{Stack, request};

    fn get(fields: &str, handler: impl Fn(&Request<'_>) -> Response + Sync) -> Response {
        Stack::of(Etag::new().len_max(100)).run(request("GET /", fields), handler)
    }

    #[test]
    fn rfc9110_8_8_3_tags_may_have_bytes_that_are_not_utf8() {
        // The second is what the first would be if its byte were taken for a character.
        let (latin1, utf8) = (&b"\"\xe4\""[..], "\"\u{e4}\"".as_bytes());
        let ask = |condition: &str, asked: &[u8], current: &'static [u8]| {
            let fields = [condition.as_bytes(), b": \"x,\xff\", ", asked, b"\r\n"].concat();
            let input = [b"GET / HTTP/1.1\r\nHost: h\r\n", &fields[..], b"\r\n"].concat();
            let tagged = |_: &Request<'_>| Response::text("a").with_header("etag", current);
            Stack::of(Etag::new()).run(input, tagged)
        };
        for (asked, current, is_same) in [
            (latin1, latin1, true),
            (utf8, utf8, true),
            (latin1, utf8, false),
            (utf8, latin1, false),
        ] {
            let response = ask("If-None-Match", asked, current);
            assert_eq!(response.status() == Status::NOT_MODIFIED, is_same, "{asked:?} {current:?}");
            assert_eq!(response.header_bytes("etag"), Some(current));
            let response = ask("If-Match", asked, current);
            assert_eq!(response.status() == Status::OK, is_same, "{asked:?} {current:?}");
        }
        let current = |_: &Request<'_>| Some("\"\u{e4}\"".to_owned());
        for (asked, is_current) in [(utf8, true), (latin1, false)] {
            let fields = [b"If-Match: ", asked, b"\r\n"].concat();
            let input = [b"PUT / HTTP/1.1\r\nHost: h\r\n", &fields[..], b"\r\n"].concat();
            let response = Stack::of(Etag::new().current(current)).run(input, |_| "put");
            assert_eq!(response.status() == Status::OK, is_current, "{asked:?}");
        }
    }

    fn tag_of(content: &'static str) -> String {
        let response = get("", |_| content.into_response());
        response.header("etag").expect("a tag").to_owned()
    }

    #[test]
    fn content_has_a_strong_tag_of_its_own() {
        let tag = tag_of("a");
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        assert_eq!(tag, tag_of("a"));
        assert_ne!(tag, tag_of("b"));
        assert_ne!(tag, tag_of("aa"));
    }

    #[test]
    fn rfc9110_13_1_2_what_the_client_has_is_not_sent_again() {
        let tag = tag_of("a");
        for list in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x,y\", {tag}"),
            format!(",, W/\"z\" ,{tag}"),
            "*".to_owned(),
        ] {
            let fields = format!("If-None-Match: {list}\r\n");
            let response =
                get(&fields, |_| "a".into_response().with_header("cache-control", "private"));
            assert_eq!(response.status(), Status::NOT_MODIFIED, "{list}");
            assert_eq!(response.header("etag"), Some(&*tag));
            assert_eq!(response.header("cache-control"), Some("private"));
            assert_eq!(response.content_type(), None);
            assert!(response.body().is_empty());
        }
        let fields = format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n");
        assert_eq!(get(&fields, |_| "a".into_response()).status(), Status::NOT_MODIFIED);
    }

    #[test]
    fn rfc9110_13_1_1_another_version_than_is_meant_is_refused() {
        let tag = tag_of("a");
        let status = |fields: &str| get(fields, |_| "a".into_response()).status();
        for (list, expected) in [
            (tag.clone(), Status::OK),
            ("*".to_owned(), Status::OK),
            (format!("\"x\", {tag}"), Status::OK),
            (tag_of("b"), Status::PRECONDITION_FAILED),
            (format!("W/{tag}"), Status::PRECONDITION_FAILED),
        ] {
            assert_eq!(status(&format!("If-Match: {list}\r\n")), expected, "{list}");
            let head = Stack::of(Etag::new())
                .run(request("HEAD /", &format!("If-Match: {list}\r\n")), |_| "a");
            assert_eq!(head.status(), expected, "HEAD {list}");
        }
        // The order of §13.2.2.
        let both = format!("If-Match: \"x\"\r\nIf-None-Match: {tag}\r\n");
        assert_eq!(status(&both), Status::PRECONDITION_FAILED);
        let both = format!("If-Match: {tag}\r\nIf-None-Match: {tag}\r\n");
        assert_eq!(status(&both), Status::NOT_MODIFIED);
        // What has no tag is meant by `*` alone.
        let untagged = |fields: &str| get(fields, |_| "a".repeat(101).into_response()).status();
        assert_eq!(untagged("If-Match: *\r\n"), Status::OK);
        assert_eq!(untagged("If-Match: \"x\"\r\n"), Status::PRECONDITION_FAILED);
    }

    #[test]
    fn rfc9110_13_1_3_and_4_a_handlers_date_is_compared() {
        let dated = |_: &Request<'_>| {
            "a".into_response().with_header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
        };
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let then = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (fields, expected) in [
            (format!("If-Modified-Since: {then}\r\n"), Status::NOT_MODIFIED),
            (format!("If-Modified-Since: {before}\r\n"), Status::OK),
            (format!("If-Unmodified-Since: {then}\r\n"), Status::OK),
            (format!("If-Unmodified-Since: {before}\r\n"), Status::PRECONDITION_FAILED),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {then}\r\n"), Status::OK),
        ] {
            assert_eq!(get(&fields, dated).status(), expected, "{fields}");
        }
        let undated = get(&format!("If-Modified-Since: {then}\r\n"), |_| "a".into_response());
        assert_eq!(undated.status(), Status::OK);
    }

    #[test]
    fn rfc9110_13_1_changes_are_judged_before_they_are_made() {
        let run = |line: &str, fields: &str, current: Option<&'static str>| {
            let etag = Etag::new().current(move |_| current.map(str::to_owned));
            let response = Stack::of(etag).run(request(line, fields), |_| "changed");
            let is_changed = response.body().as_bytes() == Some(b"changed");
            assert_eq!(response.status() != Status::PRECONDITION_FAILED, is_changed);
            is_changed
        };
        for line in ["PUT /", "POST /", "DELETE /", "PATCH /", "MERGE /"] {
            for (fields, of_v1, of_nothing) in [
                ("", true, true),
                ("If-Match: \"v1\"\r\n", true, false),
                ("If-Match: \"v0\"\r\n", false, false),
                ("If-Match: W/\"v1\"\r\n", false, false),
                ("If-Match: *\r\n", true, false),
                ("If-None-Match: *\r\n", false, true),
                ("If-None-Match: W/\"v1\"\r\n", false, true),
                ("If-None-Match: \"v0\"\r\n", true, true),
                ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true, true),
            ] {
                assert_eq!(run(line, fields, Some("\"v1\"")), of_v1, "{line} {fields}");
                assert_eq!(run(line, fields, None), of_nothing, "{line} {fields}");
            }
        }
        for line in ["OPTIONS /", "TRACE /"] {
            assert!(run(line, "If-Match: \"v0\"\r\n", Some("\"v1\"")), "{line}");
        }
    }

    #[test]
    fn what_the_client_does_not_have_is_sent() {
        let tag = tag_of("a");
        for list in
            [tag_of("b"), tag.trim_matches('"').to_owned(), format!("x {tag}"), format!("\"{tag}")]
        {
            let response = get(&format!("If-None-Match: {list}\r\n"), |_| "a".into_response());
            assert_eq!(response.status(), Status::OK, "{list}");
        }
    }

    #[test]
    fn a_handlers_tag_is_kept_and_compared() {
        let streamed = |_: &Request<'_>| {
            Response::new(Status::OK)
                .with_header("ETag", "W/\"v1\"")
                .with_body(Body::reader(&b"a"[..]))
        };
        assert_eq!(get("", streamed).header("etag"), Some("W/\"v1\""));
        assert_eq!(get("If-None-Match: \"v1\"\r\n", streamed).status(), Status::NOT_MODIFIED);
    }

    #[test]
    fn only_what_can_be_validated_has_a_tag() {
        let is_tagged = |response: Response| response.header("etag").is_some();
        assert!(!is_tagged(get("", |_| "a".repeat(101).into_response())));
        assert!(!is_tagged(get("", |_| (Status::CREATED, "a").into_response())));
        assert!(!is_tagged(get("", |_| "a"
            .into_response()
            .with_header("cache-control", "no-store"))));
        assert!(!is_tagged(get("", |_| Response::new(Status::OK))));
        let reader = |_: &Request<'_>| Response::new(Status::OK).with_body(Body::reader(&b"a"[..]));
        assert!(!is_tagged(get("", reader)));
        // Without `Etag::current` the layer does not know the version.
        let posted = Stack::of(Etag::new()).run(request("POST /", "If-None-Match: *\r\n"), |_| "a");
        assert_eq!(posted.status(), Status::OK);
        assert!(!is_tagged(posted));
    }
}

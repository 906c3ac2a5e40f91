//! [`Etag`]: what has not changed is not sent again.
//!
//! Two halves: a validator for content in memory that has none, and the answer 304 to clients that
//! have that content already (RFC 9110 §8.8.3, §13.1.2). The handler runs all the same: this saves
//! bytes on the way, not work. Never reads content that is made while it is sent.

use std::hash::{DefaultHasher, Hasher};

use threadline_proto::Method;
use threadline_proto::request::Headers;
use threadline_proto::response::Status;

use crate::body::Body;
use crate::middleware::fields::has_element;
use crate::middleware::layer::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

/// Middleware that gives 200s to `GET` and `HEAD` a strong `ETag`, made of their content, and answers
/// 304 where `If-None-Match` has it. An `ETag` that the handler has set is used as it is, also for
/// content that is streamed.
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::Etag;
///
/// let router = Router::new().get("/", || "seldom anything new").layer(Etag::new());
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Etag {
    len_max: usize,
}

impl Default for Etag {
    fn default() -> Self {
        Etag::new()
    }
}

impl Etag {
    /// For content of up to 1 MB.
    pub const fn new() -> Self {
        Etag { len_max: 1024 * 1024 }
    }

    /// Sets the longest content in bytes that an `ETag` is made for: all of it is read for that.
    pub const fn len_max(mut self, bytes: usize) -> Self {
        self.len_max = bytes;
        self
    }

    /// Gives the response a validator, if it has none and can have one.
    fn tag(&self, response: &mut Response) {
        if response.header("etag").is_some() || has_element(response, "cache-control", "no-store") {
            return;
        }
        // No content at all may be a handler of `HEAD`, which does not have that of `GET`.
        let is_tagged = |content: &&[u8]| (1..=self.len_max).contains(&content.len());
        let content = response.body().as_bytes().filter(is_tagged);
        if let Some(etag) = content.map(etag) {
            response.set_header("etag", etag);
        }
    }
}

impl Middleware for Etag {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let mut response = next.run(request);
        let is_read = matches!(request.method(), Method::Get | Method::Head);
        if !is_read || response.status() != Status::OK {
            return response;
        }
        self.tag(&mut response);
        let known = response.header("etag").is_some_and(|etag| is_known(request.headers(), etag));
        if known { not_modified(response) } else { response }
    }
}

/// Length and a 64-bit hash: other content has another one, but for a chance of one in 2^64.
fn etag(content: &[u8]) -> String {
    // Not keyed by chance, so that all workers and the next start agree.
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    format!("\"{:x}-{:016x}\"", content.len(), hasher.finish())
}

/// Whether `If-None-Match` has this validator, by the weak comparison (RFC 9110 §8.8.3.2).
fn is_known(headers: Headers<'_, '_>, etag: &str) -> bool {
    let opaque = etag.strip_prefix("W/").unwrap_or(etag);
    headers
        .all("if-none-match")
        .filter_map(|value| std::str::from_utf8(value).ok())
        .any(|value| value.trim() == "*" || opaque_tags(value).any(|known| known == opaque))
}

/// The tags of a list with their quotes, without `W/`. They may have commas in them. Ends at the
/// first that is malformed.
fn opaque_tags(mut list: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        list = list.trim_start_matches([' ', '\t', ',']);
        let tag = list.strip_prefix("W/").unwrap_or(list);
        let end = tag.strip_prefix('"')?.find('"')? + 2;
        let (tag, rest) = tag.split_at(end);
        list = rest;
        Some(tag)
    })
}

/// RFC 9110 §15.4.5: what describes the content alone goes with it.
fn not_modified(mut response: Response) -> Response {
    for name in ["content-type", "content-encoding", "content-language", "accept-ranges"] {
        response.remove_header(name);
    }
    response.set_body(Body::EMPTY);
    response.with_status(Status::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IntoResponse;
    use crate::middleware::testing::{Stack, request};

    fn get(fields: &str, handler: impl Fn(&Request<'_>) -> Response) -> Response {
        Stack::of(Etag::new().len_max(100)).run(request("GET /", fields), handler)
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
        let posted = Stack::of(Etag::new()).run(request("POST /", "If-None-Match: *\r\n"), |_| "a");
        assert_eq!(posted.status(), Status::OK);
        assert!(!is_tagged(posted));
    }
}

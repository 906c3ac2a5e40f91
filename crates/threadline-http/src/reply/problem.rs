//! [`Problem`]: an error as `application/problem+json` (RFC 9457), and [`Problems`], which makes so the
//! errors of a whole service that are plain text.

use serde_json::{Map, Value};
use threadline_proto::response::Status;

use crate::extract::header::{Accept, FromHeader, Header};
use crate::handler::{FromRequest, IntoResponse};
use crate::middleware::fields::add_vary;
use crate::middleware::layer::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

const PROBLEM_JSON: &str = "application/problem+json";

/// An error that programs can read.
///
/// ```
/// use threadline_http::{IntoResponse, Problem, Status};
///
/// let problem = Problem::new(Status::FORBIDDEN)
///     .kind("https://example.com/probs/out-of-credit")
///     .title("You do not have enough credit.")
///     .detail("Your balance is 30, but that costs 50.")
///     .member("balance", 30);
/// let response = problem.into_response();
/// assert_eq!(response.status(), Status::FORBIDDEN);
/// assert_eq!(response.content_type(), Some("application/problem+json"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a problem does nothing until it is returned from a handler"]
pub struct Problem {
    status: Status,
    members: Map<String, Value>,
}

/// Members that have methods of their own, or come of themselves.
const STANDARD: [&str; 5] = ["type", "title", "status", "detail", "instance"];

impl Problem {
    /// A problem of that status, of no particular kind: its title is the status's.
    pub fn new(status: Status) -> Self {
        Problem { status, members: Map::new() }
            .with("title", status.reason().into())
            .with("status", status.code().into())
    }

    /// A URI that names this kind of problem, and at best explains it (`type` in the document).
    pub fn kind(self, uri: impl Into<String>) -> Self {
        self.with("type", Value::String(uri.into()))
    }

    /// What this kind of problem is, for people: always the same for a kind.
    pub fn title(self, title: impl Into<String>) -> Self {
        self.with("title", Value::String(title.into()))
    }

    /// What it is this time, and what to do.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        self.with("detail", Value::String(detail.into()))
    }

    /// A URI that names this very occurrence.
    pub fn instance(self, uri: impl Into<String>) -> Self {
        self.with("instance", Value::String(uri.into()))
    }

    /// Adds a member of one's own (RFC 9457 §3.2).
    ///
    /// # Panics
    /// If it is one of the standard members.
    pub fn member(self, name: &str, value: impl Into<Value>) -> Self {
        let is_standard = STANDARD.contains(&name);
        assert!(
            !is_standard,
            "`{name}` is a standard member of problems, with a method of its own"
        );
        self.with(name, value.into())
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.into(), value);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = Value::Object(self.members).to_string().into_bytes();
        Response::bytes(json).with_status(self.status).with_content_type(PROBLEM_JSON)
    }
}

/// Middleware that makes errors which are plain text, such as those of extractors, into [`Problem`]s.
///
/// By default for clients that would rather have JSON, and caches are told so (`Vary`); with
/// [`Problems::always`] for every client. All else passes through. It works on texts, also those of handlers;
/// [`Router::errors`](crate::Router::errors) with [`FrameworkError::to_problem`](crate::FrameworkError::to_problem)
/// works on the errors of the framework, malformed requests included.
///
/// ```
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Path, Problems, Router};
///
/// let router = Router::new().get("/{id}", |Path(id): Path<u32>| id.to_string());
/// let router = router.layer(Problems::new());
/// let client = TestClient::new(router)?;
/// let problem = client.get("/x").header("accept", "application/json").send();
/// assert!(problem.text().starts_with(r#"{"detail":"path parameter `id`: invalid digit"#));
/// assert!(client.get("/x").send().text().starts_with("400 Bad Request: path parameter `id`"));
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Problems {
    whom: Whom,
}

/// Whose errors become problems.
#[derive(Debug, Clone, Copy, Default)]
enum Whom {
    #[default]
    PrefersJson,
    Everybody,
}

impl Problems {
    /// For clients whose `Accept` prefers JSON to text.
    pub const fn new() -> Self {
        Problems { whom: Whom::PrefersJson }
    }

    /// For every client, whatever it accepts: for services that only programs talk to.
    pub const fn always() -> Self {
        Problems { whom: Whom::Everybody }
    }
}

impl Middleware for Problems {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        next.run(request).finished_by(self, request, Problems::finish)
    }
}

impl Problems {
    fn finish(&self, request: &Request<'_>, mut response: Response) -> Response {
        let text = response.status().is_error().then(|| plain_text(&response)).flatten();
        let Some(detail) = text else { return response };
        let is_wanted = match self.whom {
            Whom::Everybody => true,
            Whom::PrefersJson => {
                // Also where the text stays: some errors are kept by caches (RFC 9110 §15.1).
                add_vary(&mut response, Accept::NAME);
                prefers_json(request)
            }
        };
        if is_wanted {
            let problem = Problem::new(response.status()).detail(detail).into_response();
            response.set_header("content-type", PROBLEM_JSON);
            response.set_body(problem.into_body());
        }
        response
    }
}

fn prefers_json(request: &Request<'_>) -> bool {
    let offered = ["text/plain", PROBLEM_JSON, "application/json"];
    let Ok(Header(accept)) = Header::<Accept>::from_request(request) else { return false };
    accept.best(&offered).is_some_and(|best| best != "text/plain")
}

/// What a plain text says, without the status in front.
fn plain_text(response: &Response) -> Option<String> {
    let text = std::str::from_utf8(response.body().as_bytes()?).ok()?;
    let is_plain = response.content_type()?.starts_with("text/plain");
    let status = response.status().to_string();
    let detail = text.strip_prefix(&*status).unwrap_or(text).trim_start_matches(':').trim();
    is_plain.then(|| detail.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9457_3_all_members() {
        let problem = Problem::new(Status::CONFLICT)
            .kind("/probs/taken")
            .title("Taken")
            .detail("a \"b\"")
            .instance("/log/7")
            .member("by", "ada");
        let response = problem.into_response();
        let text = response.body().as_bytes().expect("bytes");
        let expected = br#"{"by":"ada","detail":"a \"b\"","instance":"/log/7","status":409,"title":"Taken","type":"/probs/taken"}"#;
        assert_eq!(text, expected);
    }

    #[test]
    #[should_panic(expected = "with a method of its own")]
    fn standard_members_are_not_given_twice() {
        let _ = Problem::new(Status::CONFLICT).member("detail", "twice");
    }
}

//! Forwards requests to another service, with a blocking client and nothing else.
//!
//! Run:  cargo run --release -p threadline --example proxy -- http://127.0.0.1:8000
//! Try:  threadline serve . 127.0.0.1:8000, and then
//!       curl http://127.0.0.1:8080/
//!
//! Bodies go through piece by piece in both directions. A service that answers slowly keeps a thread busy here,
//! and delays nobody else; one that does not answer is a 504 after five seconds, one that cannot be reached
//! a 502.

use std::time::Duration;

use threadline::Server;
use threadline::http::{Body, IntoResponse, Method, Request, Response, Router, State, Status};
use threadline::logging::{Escaped, limited};
use ureq::{Agent, SendBody};

/// What is about one connection, not about the message (RFC 9110 §7.6.1), and what is said anew.
const NOT_FORWARDED: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
    "date",
];

#[derive(Clone)]
struct Upstream {
    agent: Agent,
    base: String,
}

enum Error {
    Unreachable(ureq::Error),
    TimedOut,
}

fn main() -> threadline::Result<()> {
    let base = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8000".into());
    println!("forwarding to {base}");
    Server::new().http("127.0.0.1:8080", router(&base)).run()
}

fn router(base: &str) -> Router {
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_recv_response(Some(Duration::from_secs(5)))
        .timeout_connect(Some(Duration::from_secs(2)))
        .max_redirects(0)
        .build();
    let upstream = Upstream { agent: agent.into(), base: base.trim_end_matches('/').to_owned() };
    Router::new().fallback(forward).state(upstream)
}

fn forward(State(upstream): State<Upstream>, request: &Request<'_>) -> Result<Response, Error> {
    let query = request.query().map_or(String::new(), |query| format!("?{query}"));
    let target = format!("{}{}{query}", upstream.base, request.path());
    let mut asked = ureq::http::Request::builder().method(request.method().as_str()).uri(target);
    for (name, value) in request.headers().iter() {
        if !is_of_the_connection(name, request.header("connection")) {
            asked = asked.header(name, value);
        }
    }
    if let Some(peer) = request.peer_addr() {
        asked = asked.header("x-forwarded-for", peer.ip().to_string());
    }
    if let Some(length) = request.content_length().filter(|length| *length > 0) {
        asked = asked.header("content-length", length);
    }
    let has_body = request.content_length() != Some(0)
        && !matches!(request.method(), Method::Get | Method::Head);
    let mut body = request.reader();
    let answer = if has_body {
        upstream.agent.run(asked.body(SendBody::from_reader(&mut body))?)
    } else {
        upstream.agent.run(asked.body(())?)
    };
    Ok(pass_on(answer?))
}

fn pass_on(answer: ureq::http::Response<ureq::Body>) -> Response {
    let (head, body) = answer.into_parts();
    let status = Status::from_code(head.status.as_u16()).unwrap_or(Status::BAD_GATEWAY);
    let mut response = Response::new(status);
    for (name, value) in &head.headers {
        let Ok(value) = value.to_str() else { continue };
        if !is_of_the_connection(name.as_str(), None) {
            response = response.with_header(name.as_str().to_owned(), value.to_owned());
        }
    }
    response.with_body(match body.content_length() {
        Some(length) => Body::sized_reader(body.into_reader(), length),
        None => Body::reader(body.into_reader()),
    })
}

fn is_of_the_connection(name: &str, connection: Option<&str>) -> bool {
    let listed = connection.unwrap_or_default().split(',').map(str::trim);
    NOT_FORWARDED.iter().copied().chain(listed).any(|known| name.eq_ignore_ascii_case(known))
}

impl From<ureq::Error> for Error {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Error::TimedOut,
            error => Error::Unreachable(error),
        }
    }
}

impl From<ureq::http::Error> for Error {
    fn from(error: ureq::http::Error) -> Self {
        Error::Unreachable(error.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Error::TimedOut => {
                Response::error(Status::GATEWAY_TIMEOUT, "the service behind did not answer")
            }
            Error::Unreachable(error) => {
                limited!(error, "the service behind cannot be reached", error = %Escaped(error));
                Response::error(Status::BAD_GATEWAY, "the service behind cannot be reached")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadline::TestServer;

    #[test]
    fn requests_go_through_and_answers_come_back() {
        let behind = Router::new()
            .get("/hello", |request: &Request<'_>| {
                format!("{:?} {:?}", request.query(), request.header("te"))
            })
            .post("/echo", |body: Vec<u8>| (Status::CREATED, [("x-kept", "yes")], body));
        let behind = TestServer::start(behind).expect("a server");
        let proxy = TestServer::start(router(&behind.url("/"))).expect("a proxy");
        let hello = proxy.get("/hello?a=b").header("te", "trailers").send();
        assert_eq!(hello.text(), "Some(\"a=b\") None");
        let large = "0123456789".repeat(50_000);
        let echo = proxy.post("/echo").body(large.clone()).send();
        assert_eq!((echo.status(), echo.header("x-kept")), (Status::CREATED, Some("yes")));
        assert!(echo.text() == large);
        assert_eq!(proxy.get("/nothing").send().status(), Status::NOT_FOUND);
        drop(behind);
        assert_eq!(proxy.get("/hello").send().status(), Status::BAD_GATEWAY);
    }
}

//! Forwards requests to another service, with a blocking client and nothing else.
//!
//! Run:  cargo run --release -p threadline --example proxy -- http://127.0.0.1:8000
//! Try:  threadline serve . 127.0.0.1:8000, and then
//!       curl http://127.0.0.1:8080/
//!
//! A request's body is received before the service behind is asked; responses go through piece by piece. A service that answers slowly keeps a thread busy here,
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
    /// A status that cannot end a request.
    Unexpected(u16),
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
    // A proxy does not change the spelling of a path (RFC 9110 §7.7).
    let target = format!("{}{}{query}", upstream.base, request.path_as_sent());
    let mut asked = ureq::http::Request::builder().method(request.method().as_str()).uri(target);
    let listed = listed(request.headers().all("connection"));
    for (name, value) in request.headers().iter() {
        if !is_of_the_connection(name, &listed) {
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
    pass_on(request, answer?)
}

/// `ureq` reads over interim responses but returns a 101, although the proxy asks for no upgrade.
fn pass_on(
    request: &Request<'_>,
    answer: ureq::http::Response<ureq::Body>,
) -> Result<Response, Error> {
    let (head, body) = answer.into_parts();
    let code = head.status.as_u16();
    let status = Status::from_code(code).filter(|status| status.is_final());
    let status = status.ok_or(Error::Unexpected(code))?;
    let mut response = Response::new(status);
    let listed = listed(head.headers.get_all("connection").iter().map(|value| value.as_bytes()));
    for (name, value) in &head.headers {
        // The length that GET would have, which only the service knows.
        let declares = request.method() == Method::Head && name == "content-length";
        if declares || !is_of_the_connection(name.as_str(), &listed) {
            response.append_header(name.as_str().to_owned(), value.as_bytes().to_vec());
        }
    }
    Ok(match body.content_length() {
        _ if request.method() == Method::Head || status.omits_content() => response,
        Some(length) => response.with_body(Body::sized_reader(body.into_reader(), length)),
        None => response.with_body(Body::reader(body.into_reader())),
    })
}

/// The names in all `Connection` fields, in lower case.
fn listed<'v>(fields: impl Iterator<Item = &'v [u8]>) -> Vec<String> {
    let fields = fields.flat_map(|field| field.split(|byte| *byte == b','));
    fields.map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase()).collect()
}

fn is_of_the_connection(name: &str, listed: &[String]) -> bool {
    let name = name.to_ascii_lowercase();
    NOT_FORWARDED.contains(&&*name) || listed.contains(&name)
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
            Error::Unexpected(code) => {
                eprintln!("upstream: status {code}, expected 200 to 599");
                Response::error(Status::BAD_GATEWAY, "the upstream answered with an invalid status")
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
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use threadline::TestServer;

    /// What the proxy's client gets when the upstream answers with these bytes.
    fn answered(
        method: Method<'_>,
        answer: &'static str,
    ) -> threadline::http::testing::TestResponse {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let behind = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the proxy");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.extend(byte);
            }
            // The proxy may hang up on an answer that it does not take.
            let _ = stream.write_all(answer.as_bytes());
        });
        let proxy = TestServer::start(router(&base)).expect("a proxy");
        let response = proxy.request(method, "/").send();
        behind.join().expect("the service behind");
        response
    }

    #[test]
    fn a_status_that_cannot_end_a_request_is_a_502() {
        for answer in [
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 999 Odd\r\ncontent-length: 1\r\n\r\na",
        ] {
            let response = answered(Method::Get, answer);
            assert_eq!(response.status(), Status::BAD_GATEWAY, "{answer}");
            assert_eq!(response.header("upgrade"), None);
        }
    }

    #[test]
    fn interim_responses_are_read_over() {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
                      HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
        let response = answered(Method::Get, answer);
        assert_eq!((response.status(), response.text()), (Status::OK, "done"));
        assert_eq!(response.header("link"), None);
    }

    #[test]
    fn rfc9110_7_6_1_fields_of_the_other_connection_are_left_out() {
        let answer = "HTTP/1.1 200 OK\r\nconnection: X-Hop, close\r\nConnection: x-other\r\n\
                      x-hop: 1\r\nx-other: 2\r\nkeep-alive: timeout=5\r\nx-kept: 3\r\n\
                      transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let response = answered(Method::Get, answer);
        assert_eq!((response.text(), response.header("x-kept")), ("ok", Some("3")));
        for name in ["x-hop", "x-other", "keep-alive"] {
            assert_eq!(response.header(name), None, "{name}");
        }
    }

    #[test]
    fn answers_without_content_stay_without() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n";
        let response = answered(Method::Head, head);
        assert_eq!(response.header("content-length"), Some("12345"));
        for answer in [
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"1\"\r\n\r\n",
            "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
        ] {
            let response = answered(Method::Get, answer);
            assert_eq!(
                response.status().to_string(),
                answer[9..answer.find('\r').expect("a line")]
            );
            assert_eq!(response.bytes(), b"");
        }
    }

    #[test]
    fn values_that_are_not_utf8_go_through() {
        let behind = Router::new().get("/", |request: &Request<'_>| {
            let value = request.header_bytes("x-raw").unwrap_or_default().to_vec();
            Response::new(Status::OK).with_header("x-raw", value)
        });
        let behind = TestServer::start(behind).expect("a server");
        let proxy = TestServer::start(router(&behind.url("/"))).expect("a proxy");
        let response = proxy.get("/").header("x-raw", b"na\xefve").send();
        assert_eq!(response.header_bytes("x-raw"), Some(&b"na\xefve"[..]));
    }

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

//! [`HttpsRedirect`]: go and ask again, encrypted.
//!
//! A redirect to whatever host a client names would be one for phishing: only hosts of a list are
//! redirected to. What a proxy says of the client's scheme is believed only of peers that are named
//! as proxies; from all others it is a client's own claim.

use std::net::IpAddr;

use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::middleware::fields::{add_vary, elements};
use crate::middleware::layer::{BeforeBody, Middleware, Next};
use crate::request::Request;
use crate::response::Response;

/// Middleware that redirects to `https`, with 308: the method and the body stay. For the router of a
/// listener without TLS; requests of a trusted proxy that has met the client over TLS go through.
///
/// A request for a host that is not in the list gets a 421. Before a client has followed the
/// redirect once, what it sent was readable by everybody on the way: see
/// [`SecurityHeaders::hsts`](super::SecurityHeaders::hsts).
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::HttpsRedirect;
///
/// let redirect = HttpsRedirect::new(["example.org", "www.example.org"])
///     .except("/.well-known/acme-challenge/");
/// let router = Router::new().get("/.well-known/acme-challenge/{token}", || "...").layer(redirect);
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct HttpsRedirect {
    hosts: Vec<String>,
    port: u16,
    proxies: Vec<IpAddr>,
    exceptions: Vec<String>,
}

impl HttpsRedirect {
    /// Redirects requests for these hosts, named without a port.
    pub fn new<T: Into<String>>(hosts: impl IntoIterator<Item = T>) -> Self {
        let hosts = hosts.into_iter().map(Into::into).collect();
        HttpsRedirect { hosts, port: 443, proxies: Vec::new(), exceptions: Vec::new() }
    }

    /// Sets the port that speaks TLS. Default 443.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Trusts the `X-Forwarded-Proto` field of requests from these peers. They must overwrite what the
    /// client has sent. Default: no peer is trusted.
    pub fn trust(mut self, proxies: impl IntoIterator<Item = IpAddr>) -> Self {
        self.proxies.extend(proxies);
        self
    }

    /// Lets paths through that begin so, as they came, such as the challenges of a certificate
    /// authority.
    pub fn except(mut self, path_start: impl Into<String>) -> Self {
        self.exceptions.push(path_start.into());
        self
    }

    fn is_excepted(&self, request: &Request<'_>) -> bool {
        self.exceptions.iter().any(|start| request.path().starts_with(start))
    }

    /// A proxy that caches must not send clients around in circles.
    fn varying(&self, mut response: Response) -> Response {
        if !self.proxies.is_empty() {
            add_vary(&mut response, "x-forwarded-proto");
        }
        response
    }

    /// Whether a proxy that is trusted says that the client came encrypted.
    fn is_secure(&self, request: &Request<'_>) -> bool {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let is_trusted = peer.is_some_and(|peer| self.proxies.contains(&peer));
        // Of several, the last is the one that the proxy next to us has added.
        let last = || elements(request.headers(), "x-forwarded-proto").last();
        is_trusted && last().is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }

    fn redirect(&self, request: &Request<'_>) -> Response {
        let host = request.host().map(without_port).unwrap_or_default();
        let Some(host) = self.hosts.iter().find(|known| known.eq_ignore_ascii_case(host)) else {
            let hint = "this server does not speak for the host that is asked for";
            return Response::error_of(ErrorKind::Refused, Status::MISDIRECTED_REQUEST, hint);
        };
        let mut location = format!("https://{host}");
        if self.port != 443 {
            location.push_str(&format!(":{}", self.port));
        }
        // `*` is a path of its own, of `OPTIONS`: the server as a whole.
        location.push_str(if request.path().starts_with('/') { request.path() } else { "/" });
        if let Some(query) = request.query() {
            location.push('?');
            location.push_str(query);
        }
        Response::new(Status::PERMANENT_REDIRECT).with_header("location", location)
    }
}

impl Middleware for HttpsRedirect {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        if self.is_excepted(request) {
            return next.run(request);
        }
        let is_secure = self.is_secure(request);
        self.varying(if is_secure { next.run(request) } else { self.redirect(request) })
    }

    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        if self.is_excepted(request) || self.is_secure(request) {
            return BeforeBody::Pass;
        }
        BeforeBody::Refuse(self.varying(self.redirect(request)))
    }
}

/// The host of an authority that has been checked: a port follows the last colon that is not in
/// brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::Stack;

    fn run(redirect: HttpsRedirect, input: &str) -> Response {
        Stack::of(redirect).run(input, |_| "plain")
    }

    fn location(input: &str) -> Option<String> {
        let response = run(HttpsRedirect::new(["example.org", "[::1]"]), input);
        assert_ne!(response.status(), Status::OK);
        response.header("location").map(str::to_owned)
    }

    #[test]
    fn the_same_target_is_asked_for_again() {
        for (input, expected) in [
            ("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "https://example.org/"),
            (
                "POST /a?b=%20 HTTP/1.1\r\nHost: EXAMPLE.org:8080\r\n\r\n",
                "https://example.org/a?b=%20",
            ),
            (
                "GET //evil.net HTTP/1.1\r\nHost: example.org\r\n\r\n",
                "https://example.org//evil.net",
            ),
            ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "https://[::1]/"),
            ("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", "https://[::1]/"),
            ("OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n", "https://example.org/"),
        ] {
            assert_eq!(location(input).as_deref(), Some(expected), "{input}");
        }
        let redirect = HttpsRedirect::new(["a"]).port(8443);
        let response = run(redirect, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(response.status(), Status::PERMANENT_REDIRECT);
        assert_eq!(response.header("location"), Some("https://a:8443/b"));
    }

    #[test]
    fn nobody_is_sent_to_a_host_that_is_not_ours() {
        for host in ["evil.net", "example.org.evil.net", "example.org."] {
            let input = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let response = run(HttpsRedirect::new(["example.org"]), &input);
            assert_eq!(response.status(), Status::MISDIRECTED_REQUEST, "{host}");
            assert_eq!(response.header("location"), None);
        }
        assert_eq!(location("GET / HTTP/1.0\r\n\r\n"), None);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let forwarded = |proto| {
            format!("GET / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-Proto: {proto}\r\n\r\n")
        };
        let status = |trusted: [u8; 4], proto| {
            let redirect = HttpsRedirect::new(["example.org"]).trust([IpAddr::from(trusted)]);
            run(redirect, &forwarded(proto)).status()
        };
        let (proxy, stranger) = ([192, 0, 2, 7], [192, 0, 2, 8]);
        assert_eq!(status(proxy, "https"), Status::OK);
        assert_eq!(status(proxy, "http, HTTPS"), Status::OK);
        assert_eq!(status(proxy, "https, http"), Status::PERMANENT_REDIRECT);
        assert_eq!(status(proxy, "http"), Status::PERMANENT_REDIRECT);
        assert_eq!(status(stranger, "https"), Status::PERMANENT_REDIRECT);
    }

    #[test]
    fn rfc9110_12_5_5_caches_are_told_that_it_depends_on_the_proxy() {
        for proto in ["http", "https"] {
            let input = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {proto}\r\n\r\n");
            let trusting = HttpsRedirect::new(["a"]).trust([IpAddr::from([192, 0, 2, 7])]);
            assert_eq!(run(trusting, &input).header("vary"), Some("x-forwarded-proto"), "{proto}");
            assert_eq!(run(HttpsRedirect::new(["a"]), &input).header("vary"), None);
        }
    }

    #[test]
    fn exceptions_go_through() {
        let redirect = HttpsRedirect::new(["a"]).except("/.well-known/acme-challenge/");
        let input = "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: b\r\n\r\n";
        assert_eq!(run(redirect, input).status(), Status::OK);
    }
}

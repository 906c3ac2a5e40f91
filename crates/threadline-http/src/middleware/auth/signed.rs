//! [`SignedRequests`]: a signature over the request, by a key that both sides have.
//!
//! For services that talk to each other, and for webhooks. The key never travels, and neither method,
//! target nor body can be changed on the way. HMAC (RFC 2104) with SHA-256, over
//!
//! ```text
//! HMAC-SHA256 \n timestamp \n METHOD \n path?query \n SHA-256 of the body, in hexadecimal
//! ```
//!
//! in the field `Authorization: HMAC-SHA256 key=ID, timestamp=SECONDS, signature=HEXADECIMAL`. Host
//! and other fields are not signed, as proxies change them: give each service a key of its own.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::handler::IntoResponse;
use crate::middleware::auth::{Principal, unauthorized};
use crate::middleware::layer::{BeforeBody, Middleware, Next};
use crate::request::Request;
use crate::response::Response;

const SCHEME: &str = "HMAC-SHA256";

/// The least length of a key in bytes: a shorter one can be guessed.
const KEY_LEN_MIN: usize = 16;

/// A signature that was found to be good. Left in the request's extensions, for handlers that must
/// not do a thing twice: a request can be sent again, as it is, until its timestamp is too old. Who
/// minds keeps the signatures of that time and refuses those that come again.
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::Mutex;
/// use threadline_http::middleware::SignedBy;
/// use threadline_http::{Extension, Status};
///
/// static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
///
/// fn pay(Extension(signed): Extension<SignedBy>) -> Result<(), Status> {
///     // Another thread empties it every few minutes.
///     let is_new = SEEN.lock().unwrap().get_or_insert_default().insert(signed.signature);
///     if is_new { Ok(()) } else { Err(Status::CONFLICT) }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedBy {
    /// The name of the key.
    pub key_id: String,
    /// When it was signed, in seconds since 1970.
    pub timestamp: u64,
    /// The signature, in 64 lower-case hexadecimal digits.
    pub signature: String,
}

/// Middleware that lets only requests through that are signed with a key that is known, not long ago;
/// all others get a 401. Leaves a [`SignedBy`], and a [`Principal`] of the key's name.
///
/// The whole body is read first, up to the service's limit, and handed on. What is signed is what was
/// sent: put this around `Decompression`.
///
/// ```
/// use std::time::Duration;
/// use threadline_http::Router;
/// use threadline_http::middleware::SignedRequests;
///
/// let signed = SignedRequests::new()
///     .key("billing", b"32 bytes of the system's randomness")
///     .window(Duration::from_secs(60));
/// let router = Router::new().post("/hook", |body: Vec<u8>| body).layer(signed);
/// # router.build().unwrap();
///
/// // The other side:
/// let key = b"32 bytes of the system's randomness";
/// let authorization =
///     SignedRequests::authorization("billing", key, 1_700_000_000, "POST", "/hook", b"{}");
/// assert!(authorization.starts_with("HMAC-SHA256 key=billing, timestamp=1700000000, signature="));
/// ```
#[derive(Clone)]
pub struct SignedRequests {
    keys: Vec<(String, Vec<u8>)>,
    window: Duration,
}

impl Default for SignedRequests {
    fn default() -> Self {
        SignedRequests::new()
    }
}

impl SignedRequests {
    /// Without keys: refuses all requests until one is added.
    pub fn new() -> Self {
        SignedRequests { keys: Vec::new(), window: Duration::from_secs(300) }
    }

    /// Adds a key under a name that clients say. Several can be there, for several clients, or while
    /// one is being replaced.
    ///
    /// # Panics
    /// If the name is not of letters, digits and `-_.`, or the key has fewer than 16 bytes. It should
    /// have 32 of the system's randomness.
    pub fn key(mut self, id: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        let (id, key) = (id.into(), key.into());
        assert!(is_id(&id), "the name of a key must be of letters, digits and `-_.`");
        assert!(key.len() >= KEY_LEN_MIN, "a key must have at least {KEY_LEN_MIN} bytes");
        self.keys.push((id, key));
        self
    }

    /// Sets how far a timestamp may be from this server's clock, to either side. Default 5 minutes.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The value of `Authorization` for a request. `timestamp` is in seconds since 1970, `target` is
    /// the path with the query, as it is sent.
    pub fn authorization(
        key_id: &str,
        key: &[u8],
        timestamp: u64,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> String {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let code = code(key, timestamp, method, path, query, body).finalize().into_bytes();
        format!("{SCHEME} key={key_id}, timestamp={timestamp}, signature={}", hex(&code))
    }

    /// What the head of a request that came at `now` says, in seconds since 1970, and the key. The error is the
    /// reason of a refusal.
    fn claim<'r>(
        &self,
        request: &Request<'r>,
        now: u64,
    ) -> Result<(Claim<'r>, &[u8]), &'static str> {
        let claim =
            credentials(request, SCHEME).and_then(Claim::parse).ok_or("sign the request")?;
        if claim.timestamp.abs_diff(now) > self.window.as_secs() {
            return Err("the timestamp is too far from the server's clock");
        }
        let known = self.keys.iter().find(|(id, _)| id == claim.key_id);
        let (_, key) = known.ok_or("the signature is not good")?;
        Ok((claim, key))
    }

    /// Answers a request that came at `now`, in seconds since 1970.
    fn answer(&self, request: &Request<'_>, next: Next<'_>, now: u64) -> Response {
        let (claim, key) = match self.claim(request, now) {
            Ok(found) => found,
            Err(reason) => return refused(reason),
        };
        let body = match request.bytes() {
            Ok(body) => body,
            Err(error) => return error.into_response(),
        };
        let (method, query) = (request.method().as_str(), request.query());
        // What the client has signed is the spelling that it has sent.
        let path = request.path_as_sent();
        let code = code(key, claim.timestamp, method, path, query, &body);
        // In constant time.
        if code.verify_slice(&claim.signature).is_err() {
            return refused("the signature is not good");
        }
        let extensions = request.extensions();
        extensions.insert(Principal::new(claim.key_id));
        extensions.insert(SignedBy {
            key_id: claim.key_id.to_owned(),
            timestamp: claim.timestamp,
            signature: hex(&claim.signature),
        });
        next.run(&request.with_body(&body))
    }
}

impl Middleware for SignedRequests {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        self.answer(request, next, seconds_now())
    }

    /// What can be known without the body, which is signed too.
    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        match self.claim(request, seconds_now()) {
            Ok(_) => BeforeBody::NeedsBody,
            Err(reason) => BeforeBody::Refuse(refused(reason)),
        }
    }
}

/// Seconds since 1970.
fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Without the keys.
impl fmt::Debug for SignedRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|(id, _)| id).collect();
        f.debug_struct("SignedRequests").field("keys", &ids).field("window", &self.window).finish()
    }
}

/// What a client says of its signature.
struct Claim<'a> {
    key_id: &'a str,
    timestamp: u64,
    signature: [u8; 32],
}

impl<'a> Claim<'a> {
    /// Each of the three parameters once, in any order, and nothing else.
    fn parse(text: &'a str) -> Option<Self> {
        let (mut key_id, mut timestamp, mut signature) = (None, None, None);
        for parameter in text.split(',') {
            let (name, value) = parameter.trim().split_once('=')?;
            let place = match name {
                "key" => &mut key_id,
                "timestamp" => &mut timestamp,
                "signature" => &mut signature,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let timestamp = timestamp?;
        if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Claim {
            key_id: key_id?,
            timestamp: timestamp.parse().ok()?,
            signature: unhex(signature?)?,
        })
    }
}

/// Lower-case digits.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// See the module.
fn code(
    key: &[u8],
    timestamp: u64,
    method: &str,
    path: &str,
    query: Option<&str>,
    body: &[u8],
) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 §2): this never fails.
    let mut code = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    // No part but the last can have a line feed in it: there is one way to take it apart.
    let head = format!("{SCHEME}\n{timestamp}\n{method}\n{path}{mark}{query}\n");
    code.update(head.as_bytes());
    code.update(hex(&Sha256::digest(body)).as_bytes());
    code
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

fn refused(hint: &str) -> Response {
    let response = unauthorized(SCHEME.to_owned());
    response.with_body(format!("401 Unauthorized: {hint}\n"))
}

/// The text after the scheme in the `Authorization` field. `None` if there are two such fields: no rule says
/// which one counts.
fn credentials<'a>(request: &Request<'a>, scheme: &str) -> Option<&'a str> {
    let mut fields = request.headers().all("authorization");
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (name, credentials) = std::str::from_utf8(field).ok()?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| credentials.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use crate::middleware::testing::{PieceByPiece, Stack, request, request_with};

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_700_000_000;

    fn stack() -> Stack {
        let signed = SignedRequests::new().key("old", [7; 32]).key("a", KEY);
        Stack::of(move |request: &Request<'_>, next: Next<'_>| signed.answer(request, next, NOW))
    }

    fn post(target: &str, body: &[u8], authorization: &str) -> Response {
        let fields = format!("Authorization: {authorization}\r\n");
        let input = request_with(&format!("POST {target}"), &fields, body);
        stack().run(input, |request| request.bytes().map(std::borrow::Cow::into_owned))
    }

    fn sign(timestamp: u64, target: &str, body: &[u8]) -> String {
        SignedRequests::authorization("a", KEY, timestamp, "POST", target, body)
    }

    #[test]
    fn a_signed_request_goes_through_with_its_body() {
        let response = post("/pay?to=bob", b"{}", &sign(NOW, "/pay?to=bob", b"{}"));
        assert_eq!((response.status(), response.body().as_bytes()), (Status::OK, Some(&b"{}"[..])));
        let other_key = SignedRequests::authorization("old", &[7; 32], NOW, "POST", "/", b"");
        assert_eq!(post("/", b"", &other_key).status(), Status::OK);
    }

    #[test]
    fn the_code_is_that_of_the_documented_text() {
        // printf 'HMAC-SHA256\n1700000000\nPOST\n/\n%s' $(printf '' | sha256sum) | openssl dgst -hmac
        let expected = "0003f7293879ccc053202032bf936916d13f2adcf7f4b3fc76d89c6b8794947d";
        let authorization = sign(NOW, "/", b"");
        let expected = format!("HMAC-SHA256 key=a, timestamp=1700000000, signature={expected}");
        assert_eq!(authorization, expected);
    }

    #[test]
    fn nothing_that_is_signed_can_be_changed() {
        let good = sign(NOW, "/pay?to=bob", b"{}");
        for (target, body) in [
            ("/pay?to=eve", &b"{}"[..]),
            ("/pay", b"{}"),
            ("/pay?to=bob&", b"{}"),
            ("/pay?to=bob", b"{ }"),
        ] {
            let response = post(target, body, &good);
            assert_eq!(response.status(), Status::UNAUTHORIZED, "{target}");
            assert_eq!(response.header("www-authenticate"), Some("HMAC-SHA256"));
        }
        let later = good.replace("1700000000", "1700000001");
        assert_eq!(post("/pay?to=bob", b"{}", &later).status(), Status::UNAUTHORIZED);
        let as_put = SignedRequests::authorization("a", KEY, NOW, "PUT", "/", b"");
        assert_eq!(post("/", b"", &as_put).status(), Status::UNAUTHORIZED);
        let other_name = sign(NOW, "/", b"").replace("key=a", "key=old");
        assert_eq!(post("/", b"", &other_name).status(), Status::UNAUTHORIZED);
    }

    #[test]
    fn timestamps_out_of_the_window_are_refused() {
        for (timestamp, status) in [
            (NOW - 300, Status::OK),
            (NOW + 300, Status::OK),
            (NOW - 301, Status::UNAUTHORIZED),
            (NOW + 301, Status::UNAUTHORIZED),
            (0, Status::UNAUTHORIZED),
            (u64::MAX, Status::UNAUTHORIZED),
        ] {
            let response = post("/", b"", &sign(timestamp, "/", b""));
            assert_eq!(response.status(), status, "{timestamp}");
        }
    }

    #[test]
    fn malformed_claims_are_refused_before_the_body_is_read() {
        let good = sign(NOW, "/", b"x");
        for bad in [
            String::new(),
            "HMAC-SHA256".to_owned(),
            "Bearer x".to_owned(),
            format!("{good}, key=a"),
            format!("{good}, more=1"),
            good.replace("timestamp=", "timestamp=+"),
            good[..good.len() - 1].to_owned(),
            format!("{}g", &good[..good.len() - 1]),
            good.replace("key=a, ", ""),
            good.replace("key=a", "key=nobody"),
        ] {
            let pieces = PieceByPiece::new([&b"x"[..]]);
            let fields = format!("Authorization: {bad}\r\n");
            let input = request_with("POST /", &fields, b"x");
            let response =
                stack().run_arriving(input, &pieces, |_| -> Response { panic!("let through") });
            assert_eq!(response.status(), Status::UNAUTHORIZED, "{bad}");
            assert_eq!(pieces.fetched(), 0, "{bad}");
        }
    }

    #[test]
    fn the_handler_knows_the_signature() {
        let authorization = sign(NOW, "/", b"");
        let input = request_with("POST /", &format!("Authorization: {authorization}\r\n"), b"");
        let response = stack().run(input, |request| {
            let signed = request.extensions().get::<SignedBy>().expect("signed");
            format!("{} {} {}", signed.key_id, signed.timestamp, signed.signature)
        });
        let text =
            String::from_utf8(response.into_body().into_bytes().expect("read")).expect("UTF-8");
        let (rest, signature) = text.rsplit_once(' ').expect("three words");
        assert_eq!(rest, "a 1700000000");
        assert!(authorization.ends_with(signature));
    }

    #[test]
    #[should_panic(expected = "at least 16 bytes")]
    fn short_keys_are_refused() {
        let _ = SignedRequests::new().key("a", *b"short");
    }

    #[test]
    fn rfc9110_11_6_2_one_field_of_the_scheme() {
        for (fields, expected) in [
            ("Authorization: Basic abc\r\n", "abc"),
            ("authorization: BASIC   abc\r\n", "abc"),
            ("Authorization: Bearer abc\r\n", "none"),
            ("Authorization: Basic\r\n", "none"),
            ("Authorization: Basicabc\r\n", "none"),
            ("Authorization: Basic abc\r\nAuthorization: Basic abc\r\n", "none"),
            ("", "none"),
        ] {
            let response = Stack::default().run(request("GET /", fields), |request| {
                credentials(request, "basic").unwrap_or("none").to_owned()
            });
            assert_eq!(response.body().as_bytes(), Some(expected.as_bytes()), "{fields}");
        }
    }
}

//! Cookies on any text: what is received is what a plain reading of RFC 6265 §5.2 finds, nobody can forge
//! a signed or private one, and what is set comes back as it was, in one clean field.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadline_http::cookies::{CookieKeys, Cookies, PrivateCookies, SetCookie, SignedCookies};
use threadline_http::testing::TestClient;
use threadline_http::{IntoResponse, Response, Router, Status};
use threadline_proto::percent;

static CLIENT: LazyLock<TestClient> = LazyLock::new(|| {
    let handler = |received: Cookies, signed: SignedCookies, private: PrivateCookies| -> Response {
        let forged = received
            .iter()
            .any(|(name, _)| signed.get(name).is_some() || private.get(name).is_some());
        if forged { Status::CONFLICT.into_response() } else { Status::OK.into_response() }
    };
    let router = Router::new().state(CookieKeys::random()).get("/", handler);
    TestClient::new(router).expect("a router")
});

/// The slow and obvious way.
fn read_plainly(text: &str) -> Vec<(String, String)> {
    let blank = |text: &str| text.trim_matches([' ', '\t']).to_owned();
    let mut found = Vec::new();
    for piece in text.split(';') {
        let Some(equals) = piece.find('=') else { continue };
        let (name, mut value) = (blank(&piece[..equals]), blank(&piece[equals + 1..]));
        if value.len() >= 2 && value.starts_with('"') && value.ends_with('"') {
            value = value[1..value.len() - 1].to_owned();
        }
        if !name.is_empty() {
            found.push((name, value));
        }
    }
    found
}

fn check_received(text: &str) {
    let cookies = Cookies::parse(text);
    let found: Vec<_> =
        cookies.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(found, read_plainly(text));
    for (name, _) in &found {
        let first = found.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
        assert_eq!(cookies.get(name), first);
    }
    // A line end, and the rest would be other fields.
    if !text.contains(['\r', '\n']) {
        let status = CLIENT.get("/").header("cookie", text).send().status().code();
        assert!(matches!(status, 200 | 400 | 431), "{status}");
    }
}

fn check_set(name: &str, value: &str) {
    let Ok(cookie) = SetCookie::encoded(name, value) else { return };
    let field = cookie.to_string();
    assert!(field.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{field:?}");
    let (pair, attributes) = field.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
    let sent = Cookies::parse(pair);
    assert_eq!(percent::decode(sent.get(name).expect("it is there")).as_deref(), Ok(value));
    // As it is: the same, or refused.
    if let Ok(cookie) = SetCookie::new(name, value) {
        let pair = format!("{}={}", cookie.name(), cookie.value());
        assert_eq!(Cookies::parse(pair).get(name), Some(value));
    }
}

fuzz_target!(|text: &str| {
    check_received(text);
    if let Some((name, value)) = text.split_once('=') {
        check_set(name, value);
    }
});

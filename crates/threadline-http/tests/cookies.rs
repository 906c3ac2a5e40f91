//! Cookies from request bytes to response bytes: what comes in, what goes out, and what clients cannot
//! do to those that are signed or private.

use threadline_http::cookies::{CookieLimits, Cookies, SetCookie, SetCookieError};
use threadline_http::testing::TestClient;
use threadline_http::{IntoResponse, Next, Request, Response, Router, Status};

fn client(router: Router) -> TestClient {
    TestClient::new(router).expect("a router")
}

fn list(cookies: Cookies) -> String {
    cookies.iter().map(|(name, value)| format!("[{name}|{value}]")).collect()
}

/// A request whose head has bytes that are no text.
fn raw(client: &TestClient, fields: &[&[u8]]) -> String {
    let mut request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_vec();
    for field in fields {
        request.extend_from_slice(&[b"Cookie: ", *field, b"\r\n"].concat());
    }
    request.extend_from_slice(b"\r\n");
    String::from_utf8(client.raw(request)).expect("text")
}

#[test]
fn several_fields_are_read_as_one() {
    let client = client(Router::new().get("/", list));
    let request = client.get("/").header("Cookie", "a=1; b=2").header("cookie", "c=3");
    assert_eq!(request.send().text(), "[a|1][b|2][c|3]");
    assert_eq!(client.get("/").send().text(), "", "no cookie at all");
}

#[test]
fn malformed_pairs_are_skipped_and_nothing_is_refused() {
    let client = client(Router::new().get("/", list));
    for (field, expected) in [
        ("a", ""),
        ("=a", ""),
        (";;;", ""),
        ("a=1;;b", "[a|1]"),
        ("=x; a=1; y", "[a|1]"),
        ("$Version=1; a=1; $Path=/", "[$Version|1][a|1][$Path|/]"),
        ("a=\"1\"; b=\"", "[a|1][b|\"]"),
        ("a=1, b=2", "[a|1, b=2]"),
        ("a=b=c==", "[a|b=c==]"),
    ] {
        let response = client.get("/").header("cookie", field).send();
        assert_eq!((response.status(), response.text()), (Status::OK, expected), "{field}");
    }
}

#[test]
fn bytes_that_are_no_text_hide_only_their_own_pair() {
    let client = client(Router::new().get("/", list));
    let answer = raw(&client, &[b"a=1; b=\xe4\xff; c=3", b"\x80=1; d=4"]);
    assert!(answer.ends_with("\r\n\r\n[a|1][c|3][d|4]"), "{answer}");
}

#[test]
fn limits_come_from_the_router_and_nearer_ones_from_middleware() {
    let lower = |request: &Request<'_>, next: Next<'_>| {
        request.extensions().insert(CookieLimits::default().count_max(1));
        next.run(request)
    };
    let inner = Router::new().get("/", list).layer(lower);
    let router = Router::new().get("/", list).state(CookieLimits::default().count_max(2));
    let client = client(router.nest("/low", inner));
    let text = |path| client.get(path).header("cookie", "a=1; b=2; c=3").send().text().to_owned();
    assert_eq!((text("/").as_str(), text("/low").as_str()), ("[a|1][b|2]", "[a|1]"));
}

#[test]
fn by_default_no_more_than_browsers_keep_are_looked_at() {
    let client =
        client(Router::new().get("/", |cookies: Cookies| cookies.iter().count().to_string()));
    let many: String = (0..2_000).map(|number| format!("n{number}=;")).collect();
    assert_eq!(client.get("/").header("cookie", &many).send().text(), "256");
}

#[test]
fn what_is_set_comes_back() {
    fn set() -> Result<Response, SetCookieError> {
        Ok((SetCookie::encoded("note", "tea; 2 × \"sugar\"")?, "set").into_response())
    }
    fn read(cookies: Cookies) -> String {
        cookies.decoded("note").unwrap_or_default().into_owned()
    }
    let client = client(Router::new().post("/", set).get("/", read));
    let response = client.post("/").send();
    let (pair, attributes) =
        response.header("set-cookie").and_then(|field| field.split_once("; ")).expect("a cookie");
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
    assert_eq!(client.get("/").header("cookie", pair).send().text(), "tea; 2 × \"sugar\"");
}

#[test]
fn several_cookies_are_several_fields() {
    fn both() -> Result<Response, SetCookieError> {
        let cookies = [SetCookie::new("a", "1")?.for_scripts(), SetCookie::removal("b")?];
        Ok((Status::CREATED, (cookies, "both")).into_response())
    }
    let response = client(Router::new().get("/", both)).get("/").send();
    let fields: Vec<_> = response.all_headers("set-cookie").collect();
    assert_eq!(response.status(), Status::CREATED);
    assert_eq!(fields[0], "a=1; Path=/; Secure; SameSite=Lax");
    assert!(fields[1].starts_with("b=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970"), "{fields:?}");
    assert_eq!(fields.len(), 2);
}

#[test]
fn a_cookie_cannot_split_the_response() {
    fn set(cookies: Cookies) -> Result<Response, SetCookieError> {
        let value = cookies.decoded("v").unwrap_or_default();
        Ok((SetCookie::new("v", value)?, "set").into_response())
    }
    let client = client(Router::new().get("/", set));
    for value in ["%0D%0Aset-cookie:%20x=1", "%3B%20Domain=evil.example", "%00", "%C3%BC"] {
        let response = client.get("/").header("cookie", format!("v={value}")).send();
        assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR, "{value}");
        assert_eq!(response.header("set-cookie"), None, "{value}");
    }
}

#[cfg(feature = "cookies-secure")]
mod secure {
    use threadline_http::cookies::{CookieKeys, PrivateCookies, SignedCookies};

    use super::*;

    fn login(cookies: SignedCookies) -> Result<Response, SetCookieError> {
        Ok((cookies.sign(SetCookie::new("user", "ada")?), "welcome").into_response())
    }

    fn whoami(cookies: SignedCookies) -> String {
        cookies.get("user").unwrap_or("nobody").to_owned()
    }

    fn remember(cookies: PrivateCookies) -> Result<Response, SetCookieError> {
        Ok((cookies.encrypt(SetCookie::new("basket", "tea")?), "kept").into_response())
    }

    fn recall(cookies: PrivateCookies) -> String {
        cookies.get("basket").unwrap_or_else(|| "nothing".to_owned())
    }

    fn routes() -> Router {
        let router = Router::new().post("/user", login).get("/user", whoami);
        router.post("/basket", remember).get("/basket", recall)
    }

    fn secret(byte: u8) -> [u8; 32] {
        [byte; 32]
    }

    fn keys(byte: u8) -> CookieKeys {
        CookieKeys::from_secret(&secret(byte)).expect("long enough")
    }

    fn service(keys: CookieKeys) -> TestClient {
        client(routes().state(keys))
    }

    /// The value that a `POST` sets.
    fn set(client: &TestClient, path: &str) -> String {
        let response = client.post(path).send();
        let field = response.header("set-cookie").expect("a cookie");
        let pair = field.split_once(';').expect("attributes").0;
        pair.split_once('=').expect("a pair").1.to_owned()
    }

    /// What a `GET` reads out of a cookie.
    fn read(client: &TestClient, path: &str, name: &str, value: &str) -> String {
        client.get(path).header("cookie", format!("{name}={value}")).send().text().to_owned()
    }

    /// The path, the name of its cookie, what is in it, and what is said when it is not there.
    const KINDS: [(&str, &str, &str, &str); 2] =
        [("/user", "user", "ada", "nobody"), ("/basket", "basket", "tea", "nothing")];

    #[test]
    fn what_was_set_comes_back_and_private_ones_show_nothing() {
        let client = service(keys(1));
        for (path, name, value, _) in KINDS {
            let sent = set(&client, path);
            assert_eq!(read(&client, path, name, &sent), value);
            assert_eq!(sent.contains(value), path == "/user", "signed ones can be read");
        }
    }

    #[test]
    fn every_character_that_is_changed_is_noticed() {
        let client = service(keys(1));
        for (path, name, _, nothing) in KINDS {
            let sent = set(&client, path);
            for at in 0..sent.len() {
                let mut changed = sent.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).expect("ASCII");
                assert_eq!(read(&client, path, name, &changed), nothing, "{changed} of {sent}");
            }
        }
    }

    #[test]
    fn whatever_is_cut_off_is_noticed() {
        let client = service(keys(1));
        for (path, name, _, nothing) in KINDS {
            let sent = set(&client, path);
            for at in 0..sent.len() {
                assert_eq!(read(&client, path, name, &sent[..at]), nothing, "{at} of {sent}");
            }
            assert_eq!(read(&client, path, name, &sent[1..]), nothing, "from the front");
            assert_eq!(read(&client, path, name, &format!("{sent}A")), nothing, "one more");
        }
    }

    #[test]
    fn one_cookie_is_not_taken_for_another() {
        fn other(cookies: SignedCookies, private: PrivateCookies) -> String {
            format!("{:?} {:?}", cookies.get("role"), private.get("role"))
        }
        let client = client(routes().get("/role", other).state(keys(1)));
        for (path, ..) in KINDS {
            let sent = set(&client, path);
            assert_eq!(read(&client, "/role", "role", &sent), "None None", "of {path}");
        }
        // Nor one kind for the other.
        let (signed, private) = (set(&client, "/user"), set(&client, "/basket"));
        assert_eq!(read(&client, "/user", "user", &private), "nobody");
        assert_eq!(read(&client, "/basket", "basket", &signed), "nothing");
    }

    #[test]
    fn secrets_are_rotated() {
        let (before, after) = (service(keys(1)), service(keys(2)));
        let both = service(keys(2).or_old(&secret(1)).expect("long enough"));
        for (path, name, value, nothing) in KINDS {
            let old = set(&before, path);
            assert_eq!(read(&after, path, name, &old), nothing, "another secret");
            assert_eq!(read(&both, path, name, &old), value, "the old secret is still taken");
            let new = set(&both, path);
            assert_eq!(read(&after, path, name, &new), value, "the first secret is used");
            assert_eq!(read(&before, path, name, &new), nothing, "the old one is not used");
        }
    }

    #[test]
    fn a_router_without_keys_is_not_built() {
        for router in [Router::new().get("/", whoami), Router::new().get("/", recall)] {
            let error = router.build().expect_err("must not build").to_string();
            let expected = "the handler of `GET /` takes a `State<threadline_http::cookies::keys::\
                            CookieKeys>`: add `.state(…)` with one to the router";
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn short_secrets_are_refused_and_secrets_are_not_shown() {
        let error = CookieKeys::from_secret(&[1; 31]).expect_err("too short");
        assert_eq!(error.to_string(), "a secret for cookies has at least 32 random bytes");
        assert!(keys(1).or_old(&[1; 31]).is_err());
        assert_eq!(format!("{:?}", keys(77)), "CookieKeys(1)");
    }

    #[test]
    fn random_secrets_differ() {
        let (one, other) = (service(CookieKeys::random()), service(CookieKeys::random()));
        let sent = set(&one, "/user");
        assert_eq!(read(&one, "/user", "user", &sent), "ada");
        assert_eq!(read(&other, "/user", "user", &sent), "nobody");
    }

    #[test]
    fn forged_ones_beyond_the_limit_are_not_even_looked_at() {
        let router = routes().state(keys(1)).state(CookieLimits::default().count_max(3));
        let client = client(router);
        let sent = set(&client, "/user");
        let behind = |forged: usize| format!("{}user={sent}", "user=eve.AAAA; ".repeat(forged));
        let text =
            |field: &str| client.get("/user").header("cookie", field).send().text().to_owned();
        assert_eq!(text(&behind(2)), "ada");
        assert_eq!(text(&behind(3)), "nobody");
    }
}

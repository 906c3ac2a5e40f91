//! Which handler gets a request, with what, and what is answered where there is none.

use super::*;
use crate::{IntoResponse, Next, on};
use threadline_proto::Method;

#[test]
fn paths_without_a_route_are_not_found() {
    for path in ["/nothing", "/hello/", "/hello/a/b", "//", "/HELLO/a"] {
        let (step, response) = get(path);
        assert!(matches!(step, Step::Next { .. }), "{path}");
        assert_eq!(status_of(&response), "404", "{path}");
    }
}

#[test]
fn rfc9110_15_5_6_other_methods_are_told_what_there_is() {
    let (step, response) = step("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert!(matches!(step, Step::Next { .. }));
    assert_eq!(status_of(&response), "405");
    assert!(response.contains("\r\nallow: GET, HEAD, OPTIONS\r\n"), "{response}");
}

#[test]
fn rfc9110_9_3_7_options_lists_the_methods() {
    let (_, response) = step("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(response, "HTTP/1.1 204 No Content\r\nallow: POST, OPTIONS\r\n\r\n");
    let (_, response) = step("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(response.contains("allow: GET, HEAD, POST, OPTIONS\r\n"), "{response}");
}

#[test]
fn rfc9110_9_1_methods_that_nobody_knows_are_not_implemented() {
    let (step, response) = step("BREW / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(matches!(step, Step::Next { .. }));
    assert_eq!(status_of(&response), "501");
    let (step, response) = self::step("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n");
    assert_eq!((step, status_of(&response)), (Step::Close, "501"));
}

#[test]
fn path_parameters_are_decoded_and_parsed() {
    assert!(get("/hello/J%C3%BCrgen%2F").1.ends_with("\r\n\r\nhello, Jürgen/"));
    assert!(get("/sum/4/38").1.ends_with("\r\n\r\n42"));
    assert!(get("/files/a/b%20c").1.ends_with("\r\n\r\na/b c"));
}

#[test]
fn a_bad_path_parameter_is_named() {
    let (_, response) = get("/sum/4/x");
    assert_eq!(status_of(&response), "400");
    assert!(response.contains("path parameter `b`: invalid digit found in string"), "{response}");
    let (_, response) = get("/hello/%ff");
    assert!(response.contains("path parameter `name`: it does not decode to UTF-8"), "{response}");
    assert!(get("/hello/%4").1.contains("two hexadecimal digits"));
}

/// Says what it sees of the request's path.
fn tell(request: &Request<'_>) -> String {
    let params: Vec<_> = request.params().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} {} {}", request.route(), request.path(), params.join(" "))
}

/// The status and content that a service answers whose layer forbids `/admin`.
fn guarded(target: &str) -> (String, String) {
    let guard = |request: &Request<'_>, next: Next<'_>| {
        let path = request.path();
        let is_closed = path == "/admin" || path.starts_with("/admin/");
        if is_closed { Status::FORBIDDEN.into_response() } else { next.run(request) }
    };
    let service = Router::new()
        .get("/admin", tell)
        .get("/admin/{*rest}", tell)
        .get("/caf\u{e9}/{id}", tell)
        .post("/%7e/x", tell)
        .get("/{{a|b}}", tell)
        .nest(
            "/n",
            Router::new()
                .get("/", tell)
                .get("/%61/{x}", tell)
                .nest("/m", Router::new().get("/", tell)),
        )
        .files("/static", crate::files::Files::dir("src").expect("a directory"))
        .fallback(|request: &Request<'_>| (Status::NOT_FOUND, tell(request)))
        .layer(guard)
        .build()
        .expect("good routes");
    let method = if target.contains('~') || target.contains("%7") { "OPTIONS" } else { "GET" };
    let mut script = Script::default();
    service
        .answer(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), &mut script);
    let response = undated(&[script.sent, script.out].concat());
    let (head, content) = response.split_once("\r\n\r\n").expect("a response");
    let allow = head.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap_or(content);
    (status_of(&response).to_owned(), allow.to_owned())
}

#[test]
fn rfc3986_6_2_2_equivalent_paths_find_the_same_route() {
    for (target, told) in [
        ("/caf%C3%A9/7", "GET /caf\u{e9}/{id} /caf%C3%A9/7 id=7"),
        ("/%63af%c3%a9/%37", "GET /caf\u{e9}/{id} /caf%C3%A9/7 id=7"),
        ("/caf%c3%a9/a%2fb%7e?%7e", "OPTIONS"),
        ("/n", "GET /n /n "),
        ("/n/", "GET /n /n/ "),
        ("/%6E", "GET /n /n "),
        ("/%6e/", "GET /n /n/ "),
        ("/n/m", "GET /n/m /n/m "),
        ("/n/m/", "GET /n/m /n/m/ "),
        ("/n/a/%2F", "GET /n/%61/{x} /n/a/%2F x=%2F"),
        ("/{a|b}", "GET /{{a|b}} /{a|b} "),
        ("http://x/%63af%c3%a9/7", "GET /caf\u{e9}/{id} /caf%C3%A9/7 id=7"),
    ] {
        let expected = if told == "OPTIONS" {
            ("204".to_owned(), "GET, HEAD, OPTIONS".to_owned())
        } else {
            ("200".to_owned(), told.to_owned())
        };
        assert_eq!(guarded(target), expected, "{target}");
    }
    for target in ["/~/x", "/%7e/x", "/%7E/%78"] {
        assert_eq!(guarded(target), ("204".into(), "POST, OPTIONS".into()), "{target}");
    }
    // Braces and bars as browsers send them, and mixed. The others are encoded too where there is an escape.
    for target in ["/%7Ba|b%7D", "/%7ba%7cb%7d", "/{a%7Cb}"] {
        assert_eq!(guarded(target), ("204".into(), "GET, HEAD, OPTIONS".into()), "{target}");
    }
    assert_eq!(guarded("/static/%6Cib.rs").0, "200");
    assert_eq!(guarded("/st%61tic/router/table%2ers").0, "200");
}

#[test]
fn no_spelling_of_a_path_gets_past_a_layer_that_goes_by_it() {
    for target in [
        "/admin",
        "/%61dmin",
        "/adm%69n/x",
        "/%61%64%6D%69%6e/%2f",
        "/admin/%2e.x",
        "http://x/%61dmin",
    ] {
        assert_eq!(guarded(target).0, "403", "{target}");
    }
    // What the layer lets through is not `/admin` for the router and for files either.
    for target in [
        "//admin",
        "/admin%2Fx",
        "/./admin",
        "/x/../admin",
        "/ADMIN",
        "/admin%00",
        "/admin%20",
        "/%2Fadmin",
        "/static//lib.rs",
        "/static/./lib.rs",
        "/static/router%2ftable.rs",
        "/static/x/../lib.rs",
        "/%2fstatic/lib.rs",
        "/admin;x",
        "/admin%3Bx",
        "/%2561dmin",
    ] {
        assert_eq!(guarded(target).0, "404", "{target}");
    }
}

#[test]
fn paths_that_could_be_read_in_two_ways_are_refused() {
    for target in [
        "/%",
        "/%4",
        "/a%zz",
        "/%2e",
        "/%2e%2e/admin",
        "/x/.%2e/admin",
        "/static/%2e%2E/Cargo.toml",
        "/nowhere/%2E",
        "/n/%2e",
        "http://x/%2e%2e",
    ] {
        let (status, told) = guarded(target);
        assert_eq!(status, "400", "{target}");
        assert!(
            told.contains("escape") || told.contains("`%`") || told.contains("encoded"),
            "{told}"
        );
    }
    // In queries it is for the handler to say: clients of all kinds send them.
    assert_eq!(guarded("/n?100%").0, "200");
    let mut script = Script::default();
    let step = service().answer(b"GET /%2e HTTP/1.1\r\nHost: x\r\n\r\n", &mut script);
    assert_eq!((step, script.called.len()), (Step::Close, 0));
}

#[test]
fn who_forwards_a_path_sees_it_as_it_came() {
    let both = |request: &Request<'_>| format!("{} {}", request.path(), request.path_as_sent());
    let service = Router::new().fallback(both).build().expect("a fallback");
    for (path, told) in [("/%61%2f", "/a%2F /%61%2f"), ("/a//b", "/a//b /a//b")] {
        let mut script = Script::default();
        service.answer(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), &mut script);
        assert!(undated(&script.out).ends_with(told), "{path}");
    }
}

#[test]
fn a_handler_sees_how_long_the_body_may_be() {
    let max = |request: &Request<'_>| request.body_len_max().to_string();
    let service = Router::new()
        .route("/route", crate::get(max).body_len_max(5))
        .get("/service", max)
        .fallback(max)
        .settings(HttpSettings::default().body_len_max(100))
        .build()
        .expect("good routes");
    for (path, max) in [("/route", "5"), ("/service", "100"), ("/other", "100")] {
        let mut script = Script::default();
        service.answer(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), &mut script);
        let response = undated(&script.out);
        assert!(response.ends_with(&format!("\r\n\r\n{max}")), "{path}: {response}");
    }
}

#[test]
fn a_handler_sees_the_request() {
    let (_, response) = step("GET /me?a=b HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n");
    assert!(response.ends_with(r#"Some(127.0.0.1:4321) Some("a=b") Some("t")"#), "{response}");
}

#[test]
fn extension_methods_and_fallbacks_are_routed() {
    let service = Router::new()
        .route("/cache", on(Method::Extension("PURGE"), || "purged"))
        .fallback(|request: &Request<'_>| (Status::NOT_FOUND, request.path().to_owned()))
        .build()
        .expect("good routes");
    for (input, end) in [
        ("PURGE /cache HTTP/1.1\r\nHost: x\r\n\r\n", "purged"),
        ("BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", "/pot"),
    ] {
        let mut script = Script::default();
        service.answer(input.as_bytes(), &mut script);
        assert!(undated(&script.out).ends_with(end));
    }
    let names: Vec<_> = service.routes().map(|route| route.name()).collect();
    assert_eq!(names, ["PURGE /cache", "fallback"]);
}

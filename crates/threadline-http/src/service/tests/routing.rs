//! Which handler gets a request, with what, and what is answered where there is none.

use super::*;
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

#[test]
fn a_handler_sees_how_long_the_body_may_be() {
    let max = |request: &Request<'_>| request.body_max().to_string();
    let service = Router::new()
        .get("/route", max)
        .body_max(5)
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
        .route(Method::Extension("PURGE"), "/cache", || "purged")
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

//! A `POST` that says it is another method, where that is allowed and where it is not.

use super::*;
use crate::middleware::MethodOverride;

fn answer(settings: HttpSettings, method: &str, fields: &str) -> (Step, String) {
    let service = Router::new()
        .post("/note", || "post")
        .put("/note", |request: &Request<'_>| request.method().as_str().to_owned())
        .settings(settings)
        .build()
        .expect("good routes");
    let mut script = Script::default();
    let input = format!("{method} /note HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let step = service.answer(input.as_bytes(), &mut script);
    (step, undated(&script.out))
}

fn with(method: &str, fields: &str) -> String {
    answer(HttpSettings::default().method_override(MethodOverride::Header), method, fields).1
}

#[test]
fn off_unless_asked_for() {
    let field = "X-HTTP-Method-Override: PUT\r\n";
    assert!(answer(HttpSettings::default(), "POST", field).1.ends_with("post"));
}

#[test]
fn a_post_is_routed_and_seen_as_what_it_says() {
    assert!(with("POST", "X-HTTP-Method-Override: PUT\r\n").ends_with("PUT"));
    assert!(with("POST", "").ends_with("post"));
    assert_eq!(status_of(&with("POST", "x-http-method-override: DELETE\r\n")), "405");
}

#[test]
fn only_a_post_is_overridden() {
    assert_eq!(status_of(&with("GET", "X-HTTP-Method-Override: PUT\r\n")), "405");
    assert!(with("PUT", "X-HTTP-Method-Override: DELETE\r\n").ends_with("PUT"));
}

#[test]
fn other_values_are_refused() {
    let settings = HttpSettings::default().method_override(MethodOverride::Header);
    for value in
        ["GET", "HEAD", "CONNECT", "put", "", "PUT, DELETE", "PUT\r\nX-HTTP-Method-Override: PUT"]
    {
        let field = format!("X-HTTP-Method-Override: {value}\r\n");
        let (step, response) = answer(settings, "POST", &field);
        assert_eq!((step, status_of(&response)), (Step::Close, "400"), "{value}");
        assert!(response.contains("may be PUT, PATCH or DELETE"), "{response}");
    }
}

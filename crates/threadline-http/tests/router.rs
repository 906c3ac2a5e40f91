//! Mistakes in routes are found when the router is built, and named; good routes are not refused.

use std::borrow::Cow;

use threadline_http::{FromRequest, Method, Path, Request, Response, Router, RouterError, Status};

fn error(router: Router) -> String {
    router.build().expect_err("must not build").to_string()
}

#[test]
fn two_patterns_for_the_same_paths_conflict() {
    let router = Router::new().get("/{a}", || "").post("/{b}", || "");
    assert_eq!(error(router), "the pattern `/{b}` matches the same paths as `/{a}`");
}

#[test]
fn the_same_route_twice_is_a_duplicate() {
    let router = Router::new().get("/a", || "").post("/a", || "").get("/a", || "");
    assert_eq!(error(router), "the route `GET /a` is there twice");
}

#[test]
fn malformed_patterns_are_refused() {
    for pattern in ["", "a", "/a?b", "/a#b", "/a b", "/ä", "/{a", "/{}", "/{*a}/b", "/{a}{b}"] {
        let built = Router::new().get(pattern, || "").build();
        assert!(matches!(built, Err(RouterError::Pattern { .. })), "{pattern}: {built:?}");
    }
}

#[test]
fn patterns_of_other_routers_are_told_how_to_write_it() {
    for (pattern, hint) in [
        ("/users/:id", "a parameter is written `{name}`, not `:name`"),
        ("/files/*path", "the rest of a path is written `{*name}`, not `*name`"),
        ("/users/{}", "a parameter is written `{name}`, all that follows `{*name}`"),
    ] {
        let told = error(Router::new().get(pattern, || ""));
        assert!(told.contains(pattern) && told.contains(hint), "{told}");
    }
    // Only a segment that begins so looks like a parameter.
    assert!(Router::new().post("/jobs/{id}/log:tail", |_: Path<u32>| ()).build().is_ok());
}

#[test]
fn a_handler_takes_as_many_parameters_as_its_pattern_has() {
    let one = |_: Path<String>| "";
    let two = |_: Path<(String, u32)>, _: &Request<'_>| "";
    assert_eq!(
        error(Router::new().get("/a", one)),
        "the route `GET /a` has 0 path parameter(s), but its handler takes 1"
    );
    assert!(Router::new().get("/{a}/{b}", one).build().is_err());
    assert!(Router::new().put("/{a}", two).build().is_err());
    assert!(Router::new().fallback(one).build().is_err());
    assert!(Router::new().get("/{a}/x-{b}", two).get("/f/{*rest}", one).build().is_ok());
    assert!(Router::new().get("/{{a}}", || "").get("/{a}", one).build().is_ok());
    assert!(Router::new().get("/{a}/{b}", || "need not take any").build().is_ok());
}

#[test]
fn methods_that_cannot_be_routed_are_refused() {
    for method in [
        Method::Connect,
        Method::Extension(""),
        Method::Extension("A B"),
        // Would never be found: the parser calls it `Method::Get`.
        Method::Extension("GET"),
    ] {
        let built = Router::new().route(method, "/", || "").build();
        assert!(matches!(built, Err(RouterError::Method { .. })), "{method:?}");
    }
}

/// An extractor of a user's own, in any place before the request.
struct Peer(bool);

impl FromRequest for Peer {
    type Rejection = Response;

    fn from_request(request: &Request<'_>) -> Result<Self, Response> {
        Ok(Peer(request.peer_addr().is_some()))
    }
}

#[test]
fn handlers_take_up_to_four_extractors_and_the_request() {
    type Four = fn(Peer, Path<u8>, Peer, Peer, &Request<'_>) -> Result<String, Status>;
    let four: Four =
        |a, Path(b), c, d, request| Ok(format!("{} {b} {} {} {}", a.0, c.0, d.0, request.path()));
    let shared = std::sync::Arc::new(String::from("owned by the closure"));
    let router = Router::new()
        .get("/four/{b}", four)
        .get("/owned", move || String::clone(&shared))
        .delete("/nothing", || ())
        .patch("/both", |_: Peer, request: &Request<'_>| request.bytes().map(Cow::into_owned));
    assert!(router.build().is_ok());
}

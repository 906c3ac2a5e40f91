//! Mistakes in routes are found when the router is built, and named; good routes are not refused.

use std::borrow::Cow;
use std::sync::Arc;

use threadline_http::files::Files;
use threadline_http::testing::TestClient;
use threadline_http::{
    FromRequest, Hint, HttpSettings, Method, Next, Path, Request, Response, Router, RouterError,
    State, Status, get, on,
};

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
    for pattern in [
        "", "a", "/a?b", "/a#b", "/a b", "/{a", "/{}", "/a}", "/{*a}/b", "/{a}{b}", "/a%", "/%2g",
        "/a/..", "/%2e/a",
    ] {
        let built = Router::new().get(pattern, || "").build();
        assert!(matches!(built, Err(RouterError::Pattern { .. })), "{pattern}: {built:?}");
    }
}

#[test]
fn rfc3986_6_2_2_two_spellings_of_a_pattern_are_one_route() {
    for (one, other) in [
        ("/café", "/caf%C3%A9"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/%68ello", "/hello"),
        ("/{{a}}", "/%7Ba%7d"),
        ("/a|b", "/a%7Cb"),
        ("/café/{id}", "/%63af%C3%A9/{id}"),
    ] {
        let router = Router::new().get(one, || "").get(other, || "");
        assert_eq!(
            error(router),
            format!("the pattern `{other}` matches the same paths as `{one}`")
        );
        // With another method it is the same path.
        assert!(Router::new().get(one, || "").post(other, || "").build().is_ok(), "{one} {other}");
    }
    let router = Router::new().get("/é/{a}", || "").get("/%C3%A9/{b}", || "");
    assert_eq!(error(router), "the pattern `/%C3%A9/{b}` matches the same paths as `/é/{a}`");
    // Reserved characters mean something else when they are encoded.
    assert!(Router::new().get("/a%2Fb", || "").get("/a/b", || "").build().is_ok());
    assert!(Router::new().get("/a%3Bb", || "").get("/a;b", || "").build().is_ok());
}

#[test]
fn a_nested_router_loses_nothing_in_silence() {
    let with_fallback = || Router::new().get("/a", || "").fallback(|| "");
    let with_settings = || Router::new().get("/a", || "").settings(HttpSettings::default());
    assert_eq!(
        error(Router::new().nest("/n/", with_fallback())),
        "the router nested at `/n` has a fallback, which would be lost: give it to the outer router, or \
         add a route `/{*path}` instead"
    );
    assert_eq!(
        error(Router::new().nest("/n", with_settings())),
        "the router nested at `/n` has settings, which would be lost: give them to the outer router, or \
         set `body_len_max` for each route"
    );
    for (merged, what) in [(with_fallback(), "a fallback"), (with_settings(), "settings")] {
        let told = error(Router::new().merge(merged));
        assert!(
            told.starts_with(&format!("the merged router has {what}, which would be lost")),
            "{told}"
        );
    }
    // However deep, and whatever comes later.
    let deep = Router::new().nest("/m", Router::new().nest("/n", with_fallback()));
    assert!(error(deep.get("/b", || "")).starts_with("the router nested at `/n`"));
    let outer = Router::new().fallback(|| "").settings(HttpSettings::default());
    assert!(
        outer.nest("/n", Router::new().get("/a", || "")).build().is_ok(),
        "the outer ones stay"
    );
}

#[test]
fn what_answers_the_prefix_of_a_nested_router_is_said_once() {
    let inner = || Router::new().get("/", || "");
    let router = Router::new().nest("/n", inner()).get("/n/", || "");
    assert_eq!(error(router), "the pattern `/n/` matches the same paths as `/n`");
    let router = Router::new().get("/n/", || "").nest("/n", inner());
    assert_eq!(error(router), "the pattern `/n` matches the same paths as `/n/`");
    let router = Router::new().nest("/n", inner()).get("/n", || "");
    assert_eq!(error(router), "the route `GET /n` is there twice");
    let service =
        Router::new().nest("/n", inner()).post("/n/", || "").build().expect("two methods");
    let names: Vec<_> = service.routes().map(|route| route.name().to_owned()).collect();
    assert_eq!(names, ["GET /n", "POST /n/"], "a route is told once");
}

#[test]
fn files_may_be_the_front_page_of_a_nested_router() {
    let files = Files::dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("a directory");
    let router = Router::new().nest("/n", Router::new().files("/", files.listing()));
    let client = TestClient::new(router).expect("good routes");
    let redirect = client.get("/n").send();
    assert_eq!((redirect.status().code(), redirect.header("location")), (301, Some("/n/")));
    assert!(client.get("/n/").send().text().contains("lib.rs"));
    assert_eq!(client.get("/n/router/mod.r%73").send().status().code(), 200);
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
        let built = Router::new().route("/", on(method, || "")).build();
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
    let shared = Arc::new(String::from("owned by the closure"));
    let router = Router::new()
        .get("/four/{b}", four)
        .get("/owned", move || String::clone(&shared))
        .delete("/nothing", || ())
        .patch("/both", |_: Peer, request: &Request<'_>| request.bytes().map(Cow::into_owned));
    assert!(router.build().is_ok());
}

#[test]
fn a_clone_is_changed_alone() {
    let original = Router::new()
        .get("/", |State(name): State<&'static str>| name)
        .get("/file/{name}", |Path(name): Path<String>| name)
        .files("/src", Files::dir("src").expect("a directory"))
        .state("original")
        .layer(|request: &Request<'_>, next: Next<'_>| {
            next.run(request).with_header("x-layer", "a")
        });
    let clone = original
        .clone()
        .state("clone")
        .get("/new", || "new")
        .fallback(|| "any")
        .layer(|request: &Request<'_>, next: Next<'_>| {
            next.run(request).with_header("x-outer", "b")
        })
        .settings(HttpSettings::default().body_len_max(1));
    let both = [original, clone].map(|router| TestClient::new(router).expect("a router"));
    let ask = |path: &str| both.each_ref().map(|client| client.get(path).send());
    let [original, clone] = ask("/");
    assert_eq!((original.text(), clone.text()), ("original", "clone"));
    assert_eq!((original.header("x-layer"), clone.header("x-layer")), (Some("a"), Some("a")));
    assert_eq!((original.header("x-outer"), clone.header("x-outer")), (None, Some("b")));
    assert_eq!(ask("/new").map(|response| response.status()), [Status::NOT_FOUND, Status::OK]);
    assert_eq!(ask("/none").map(|response| response.status()), [Status::NOT_FOUND, Status::OK]);
    assert_eq!(ask("/file/a").map(|response| response.text().to_owned()), ["a", "a"]);
    assert_eq!(ask("/src/lib.rs").map(|response| response.status()), [Status::OK; 2]);
}

#[test]
fn services_of_clones_have_routes_of_their_own() {
    let router = Router::new().route("/", get(|| "").hint(Hint::Inline));
    let (one, other) = (router.clone().build(), router.build());
    let (one, other) = (one.expect("a router"), other.expect("a router"));
    let (one, other) =
        (one.routes().next().expect("a route"), other.routes().next().expect("a route"));
    assert!(!Arc::ptr_eq(one, other));
    assert_eq!((one.name(), one.hint()), (other.name(), other.hint()));
}

#[test]
fn clones_share_states_and_handlers() {
    let state = Arc::new(());
    let captured = Arc::new(());
    let kept = Arc::clone(&captured);
    let router = Router::new().get("/", move || drop(Arc::clone(&kept)));
    let router = router.state(Arc::clone(&state));
    let clone = router.clone();
    assert_eq!((Arc::strong_count(&state), Arc::strong_count(&captured)), (2, 2));
    drop(router);
    assert_eq!((Arc::strong_count(&state), Arc::strong_count(&captured)), (2, 2));
    drop(clone);
    assert_eq!((Arc::strong_count(&state), Arc::strong_count(&captured)), (1, 1));
}

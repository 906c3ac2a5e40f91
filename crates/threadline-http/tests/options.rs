//! Options belong to the values that they are set on: methods of a path, files, a fallback.

use threadline_http::files::Files;
use threadline_http::middleware::{BasicAuth, Cors};
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{
    Fallback, Handler, Hint, HttpSettings, Method, Methods, Needs, Next, Request, Response,
    RouteOptions, Router, RouterError, Status, delete, get, head, on, options, patch, post, put,
};

fn client(router: Router) -> TestClient {
    TestClient::new(router).expect("good routes")
}

/// The hints of all routes by their names, in order.
fn hints(router: Router) -> Vec<(String, Hint)> {
    let service = router.build().expect("good routes");
    service.routes().map(|route| (route.name().to_owned(), route.hint())).collect()
}

fn hints_of(methods: Methods) -> Vec<Hint> {
    hints(Router::new().route("/", methods)).into_iter().map(|(_, hint)| hint).collect()
}

fn len(body: Vec<u8>) -> String {
    body.len().to_string()
}

/// Whether each method takes a body of `len` bytes.
fn takes(router: Router, methods: &[Method<'static>], len: usize) -> Vec<bool> {
    let client = client(router);
    let answer = |method: &Method<'static>| client.request(*method, "/").body(vec![0; len]).send();
    let is_taken = |response: TestResponse| match response.status() {
        Status::OK => true,
        Status::CONTENT_TOO_LARGE => false,
        other => panic!("{other:?}"),
    };
    methods.iter().map(answer).map(is_taken).collect()
}

/// A layer that leaves its name in the response: those nearer to the handler come first.
fn named(
    name: &'static str,
) -> impl Fn(&Request<'_>, Next<'_>) -> Response + Send + Sync + 'static {
    move |request, next| next.run(request).with_header("x-layer", name)
}

fn layers(response: &TestResponse) -> String {
    response.all_headers("x-layer").collect()
}

#[test]
fn every_method_has_a_function_and_a_way_to_be_added() {
    let all = [
        (Method::Get, get(|| "x"), Methods::get as fn(Methods, fn() -> &'static str) -> Methods),
        (Method::Post, post(|| "x"), Methods::post),
        (Method::Put, put(|| "x"), Methods::put),
        (Method::Patch, patch(|| "x"), Methods::patch),
        (Method::Delete, delete(|| "x"), Methods::delete),
        (Method::Head, head(|| "x"), Methods::head),
        (Method::Options, options(|| "x"), Methods::options),
    ];
    for (method, begun, add) in all {
        let added = add(on(Method::Extension("PURGE"), || ""), || "x");
        let client = client(Router::new().route("/begun", begun).route("/added", added));
        for path in ["/begun", "/added"] {
            let response = client.request(method, path).send();
            assert_eq!(response.status(), Status::OK, "{method} {path}");
        }
        let other = if method == Method::Post { Method::Put } else { Method::Post };
        assert_eq!(client.request(other, "/begun").send().status(), Status::METHOD_NOT_ALLOWED);
    }
}

#[test]
fn an_option_applies_to_all_methods_whenever_they_were_added() {
    use Hint::{Blocking, Inline};
    for methods in [
        get(|| "").post(|| "").hint(Inline),
        get(|| "").hint(Inline).post(|| ""),
        get(|| "").hint(Blocking).post(|| "").hint(Inline),
        get(|| "").and(post(|| "")).hint(Inline),
        get(|| "").hint(Inline).and(post(|| "")),
    ] {
        assert_eq!(hints_of(methods), [Inline, Inline]);
    }
    let both = [Method::Put, Method::Post];
    for methods in [
        put(len).post(len).body_len_max(10),
        put(len).body_len_max(10).post(len),
        put(len).body_len_max(100).post(len).body_len_max(10),
        put(len).and(post(len)).body_len_max(10),
        put(len).body_len_max(10).and(post(len)),
    ] {
        let router = Router::new().route("/", methods);
        assert_eq!(takes(router.clone(), &both, 10), [true, true]);
        assert_eq!(takes(router, &both, 11), [false, false]);
    }
    for methods in [
        put(len).post(len).layer(named("a")),
        put(len).layer(named("a")).post(len),
        put(len).layer(named("a")).and(post(len)),
    ] {
        let client = client(Router::new().route("/", methods));
        assert_eq!(layers(&client.put("/").send()), "a");
        assert_eq!(layers(&client.post("/").send()), "a");
    }
}

#[test]
fn an_option_of_one_method_wins_over_that_of_all() {
    use Hint::{Blocking, Inline, Prove};
    let inner = || post(|| "").hint(Inline);
    assert_eq!(hints_of(get(|| "").and(inner())), [Prove, Inline]);
    assert_eq!(hints_of(get(|| "").and(inner()).hint(Blocking)), [Blocking, Inline]);
    assert_eq!(hints_of(get(|| "").hint(Blocking).and(inner())), [Blocking, Inline]);
    // To be proven is an option like the others.
    assert_eq!(hints_of(get(|| "").hint(Blocking).and(inner().hint(Prove))), [Blocking, Prove]);
    // The nearest, however deep.
    let deep = get(|| "").and(post(|| "").and(put(|| "").hint(Inline)).hint(Blocking)).hint(Prove);
    assert_eq!(hints_of(deep), [Prove, Blocking, Inline]);
    // What is added to the outer value afterwards is the outer value's.
    assert_eq!(hints_of(get(|| "").and(inner()).put(|| "")), [Prove, Inline, Prove]);

    let both = [Method::Put, Method::Post];
    for methods in [
        put(len).and(post(len).body_len_max(20)).body_len_max(10),
        put(len).body_len_max(10).and(post(len).body_len_max(20)),
    ] {
        let router = Router::new().route("/", methods);
        assert_eq!(takes(router.clone(), &both, 11), [false, true]);
        assert_eq!(takes(router, &both, 21), [false, false]);
    }
    // The inner one wins if it is the smaller one too, and over the service's.
    let settings = HttpSettings::default().body_len_max(15);
    let router = Router::new()
        .route("/", put(len).and(post(len).body_len_max(5)).patch(len))
        .settings(settings);
    let all = [Method::Put, Method::Post, Method::Patch];
    assert_eq!(takes(router, &all, 10), [true, false, true]);
}

#[test]
fn layers_are_around_the_handlers_of_their_value_inside_those_of_routers() {
    let methods = get(|| "")
        .layer(named("a"))
        .and(post(|| "").layer(named("x")).layer(named("y")))
        .layer(named("b"));
    let inner = Router::new().route("/both", methods).get("/plain", || "").layer(named("n"));
    let client = client(
        Router::new().layer(named("r")).nest("/api", inner).layer(named("s")).get("/outer", || ""),
    );
    assert_eq!(layers(&client.get("/api/both").send()), "abnrs");
    assert_eq!(layers(&client.post("/api/both").send()), "xyabnrs");
    assert_eq!(layers(&client.get("/api/plain").send()), "nrs");
    assert_eq!(layers(&client.get("/outer").send()), "rs");
    assert_eq!(layers(&client.get("/nowhere").send()), "rs");
}

#[test]
fn answers_without_a_handler_have_the_layers_of_the_value_and_not_of_single_methods() {
    let methods = get(|| "").and(post(|| "").layer(named("x"))).layer(named("a"));
    let inner = Router::new()
        .route("/both", methods)
        // Two values for a path: those of the first.
        .route("/two", get(|| "").layer(named("f")))
        .route("/two", post(|| "").layer(named("g")))
        .route("/", get(|| "").layer(named("p")))
        .layer(named("n"));
    let client = client(Router::new().nest("/api", inner).layer(named("r")));
    for (path, expected) in
        [("/api/both", "anr"), ("/api/two", "fnr"), ("/api", "pnr"), ("/api/", "pnr")]
    {
        let other = client.delete(path).send();
        assert_eq!(
            (other.status(), &*layers(&other)),
            (Status::METHOD_NOT_ALLOWED, expected),
            "{path}"
        );
        let told = client.request(Method::Options, path).send();
        assert_eq!((told.status(), &*layers(&told)), (Status::NO_CONTENT, expected), "{path}");
    }
    assert_eq!(layers(&client.post("/api/two").send()), "gnr");
    let missing = client.get("/api/none").send();
    assert_eq!((missing.status(), &*layers(&missing)), (Status::NOT_FOUND, "r"));
}

#[test]
fn a_layer_of_a_value_sees_preflights_and_one_of_a_method_refuses_only_that() {
    let app = "https://app.example.org";
    let users = BasicAuth::users("notes", [("alice", "secret")]);
    let methods = get(|| "all").and(put(|| "set").layer(users)).layer(Cors::origins([app]));
    let client = client(Router::new().route("/notes", methods));
    let preflight = client.request(Method::Options, "/notes").header("origin", app);
    let preflight = preflight.header("access-control-request-method", "PUT").send();
    assert_eq!(preflight.status(), Status::NO_CONTENT);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(app));
    assert_eq!(client.get("/notes").send().text(), "all");
    let refused = client.put("/notes").header("origin", app).send();
    assert_eq!(refused.status(), Status::UNAUTHORIZED);
    assert_eq!(refused.header("access-control-allow-origin"), Some(app));
    let other = client.delete("/notes").send();
    assert_eq!(other.status(), Status::METHOD_NOT_ALLOWED);
    assert_eq!(other.header("www-authenticate"), None);
}

#[test]
fn a_method_that_is_there_twice_is_a_mistake() {
    let routes = || Router::new().get("/other", || "");
    for router in [
        routes().route("/a", get(|| "").get(|| "")),
        routes().route("/a", get(|| "").post(|| "").and(get(|| "").hint(Hint::Inline))),
        routes().route("/a", post(|| "").get(|| "")).route("/a", put(|| "").get(|| "")),
        routes().get("/a", || "").route("/a", post(|| "").get(|| "")),
        routes().route("/a", get(|| "")).nest("/", Router::new().get("/a", || "")),
    ] {
        let duplicate = RouterError::Duplicate { route: "GET /a".into() };
        assert_eq!(router.build().expect_err("twice"), duplicate);
    }
    let purge = || on(Method::Extension("PURGE"), || "");
    let twice = Router::new().route("/a", purge().and(purge())).build();
    assert_eq!(twice.expect_err("twice").to_string(), "the route `PURGE /a` is there twice");
    for router in [
        routes().route("/a", get(|| "").head(|| "")),
        routes().route("/a", get(|| "").post(|| "")).route("/a", put(|| "").delete(|| "")),
        routes().route("/a", get(|| "")).route("/b", get(|| "")),
    ] {
        assert!(router.build().is_ok());
    }
}

#[test]
fn every_method_of_a_value_is_checked() {
    let one = |_: threadline_http::Path<String>| "";
    let mistake = Router::new().route("/a", get(|| "").put(one)).build();
    let expected = RouterError::Params { route: "PUT /a".into(), has: 0, takes: 1 };
    assert_eq!(mistake.expect_err("a parameter too many"), expected);
    let state = |_: threadline_http::State<u8>| "";
    let mistake = Router::new().route("/a", get(|| "").and(post(state))).build();
    let told = mistake.expect_err("no state").to_string();
    assert!(told.starts_with("the handler of `POST /a` takes a `State<u8>`"), "{told}");
    let mistake = Router::new().route("/a", get(|| "").on(Method::Connect, || "")).build();
    assert_eq!(mistake.expect_err("no method"), RouterError::Method { route: "CONNECT /a".into() });
    let mistake = Router::new().route("a", get(|| "")).build();
    assert!(matches!(mistake, Err(RouterError::Pattern { .. })));
}

#[test]
fn options_go_with_their_routes_into_other_routers() {
    use Hint::{Blocking, Inline, Prove};
    let inner = Router::new()
        .route("/", get(|| "").hint(Inline))
        .route("/a", put(len).and(post(|| "").hint(Blocking)).body_len_max(3));
    let outer = Router::new().nest("/n", inner.clone()).merge(inner);
    assert_eq!(
        hints(outer.clone()),
        [
            ("GET /n", Inline),
            ("PUT /n/a", Prove),
            ("POST /n/a", Blocking),
            ("GET /", Inline),
            ("PUT /a", Prove),
            ("POST /a", Blocking),
        ]
        .map(|(name, hint)| (name.to_owned(), hint))
    );
    let client = client(outer);
    for path in ["/n/a", "/a"] {
        assert_eq!(client.put(path).body("abc").send().text(), "3");
        assert_eq!(client.put(path).body("abcd").send().status(), Status::CONTENT_TOO_LARGE);
    }
}

const ASSETS: &[(&str, &[u8])] = &[("index.html", b"front"), ("a.txt", b"a")];

#[test]
fn options_of_files_are_for_all_their_routes() {
    let files = || Files::embedded(ASSETS).hint(Hint::Blocking).layer(named("f")).layer(named("g"));
    let inner = Router::new().files("/", files()).layer(named("n"));
    let router = Router::new().files("/static", files()).get("/plain", || "").nest("/inner", inner);
    let expected = [
        ("GET /static", Hint::Blocking),
        ("GET /static/", Hint::Blocking),
        ("GET /static/{*path}", Hint::Blocking),
        ("GET /plain", Hint::Prove),
        ("GET /inner", Hint::Blocking),
        ("GET /inner/{*path}", Hint::Blocking),
    ];
    assert_eq!(hints(router.clone()), expected.map(|(name, hint)| (name.to_owned(), hint)));
    let client = client(router);
    for (path, expected) in [
        ("/static", "fg"),
        ("/static/", "fg"),
        ("/static/a.txt", "fg"),
        ("/static/missing", "fg"),
        ("/plain", ""),
        ("/inner/a.txt", "fgn"),
    ] {
        assert_eq!(layers(&client.get(path).send()), expected, "{path}");
    }
    let other = client.post("/static/a.txt").send();
    assert_eq!((other.status(), &*layers(&other)), (Status::METHOD_NOT_ALLOWED, "fg"));
}

#[test]
fn files_keep_their_options_as_handlers_and_as_a_fallback() {
    let files = || Files::embedded(ASSETS).hint(Hint::Blocking).layer(named("f"));
    let router = Router::new()
        .get("/one/{*path}", files())
        // Those of a handler are nearer to it than those of the value.
        .route("/two/{*path}", get(files()).hint(Hint::Inline).layer(named("m")))
        .fallback_with(Fallback::new(files()).layer(named("b")))
        .layer(named("r"));
    let hints = hints(router.clone());
    assert!(hints.iter().all(|(_, hint)| *hint == Hint::Blocking), "{hints:?}");
    let client = client(router);
    assert_eq!(layers(&client.get("/one/a.txt").send()), "fr");
    assert_eq!(layers(&client.get("/two/a.txt").send()), "fmr");
    assert_eq!(layers(&client.get("/a.txt").send()), "fbr");
    assert_eq!(client.get("/a.txt").send().text(), "a");
    // A layer of a handler is that of a single method.
    assert_eq!(layers(&client.post("/two/a.txt").send()), "mr");
}

/// A handler with options of its own.
struct Careful;

impl Handler<Careful> for Careful {
    fn call(&self, request: &Request<'_>) -> Response {
        Response::text(request.body_len_max().to_string())
    }

    fn params(&self) -> Option<usize> {
        None
    }

    fn needs(&self, _: &mut Needs) {}

    fn route_options(&self) -> RouteOptions {
        RouteOptions::new().hint(Hint::Inline).body_len_max(7).layer(named("h"))
    }
}

#[test]
fn a_handler_may_bring_its_own_options() {
    let router = Router::new()
        .get("/plain", Careful)
        .route(
            "/route",
            get(Careful).hint(Hint::Blocking).body_len_max(9).layer(named("m")).post(len),
        )
        .fallback(Careful);
    let expected = [
        ("GET /plain", Hint::Inline),
        ("GET /route", Hint::Inline),
        ("POST /route", Hint::Blocking),
        ("fallback", Hint::Inline),
    ];
    assert_eq!(hints(router.clone()), expected.map(|(name, hint)| (name.to_owned(), hint)));
    let client = client(router);
    for (path, expected) in [("/plain", "h"), ("/route", "hm"), ("/nowhere", "h")] {
        let response = client.get(path).send();
        assert_eq!((response.text(), &*layers(&response)), ("7", expected), "{path}");
    }
    assert_eq!(client.post("/route").body("123456789").send().text(), "9");
}

#[test]
fn a_fallback_has_options() {
    let fallback = || {
        Fallback::new(|request: &Request<'_>| {
            (Status::NOT_FOUND, format!("{} {}", request.method(), request.body_len_max()))
        })
    };
    let hint = |fallback| {
        let hints = hints(Router::new().get("/a", || "").fallback_with(fallback));
        assert_eq!(hints[0], ("GET /a".into(), Hint::Prove), "the routes have their own");
        hints.last().expect("the fallback").clone()
    };
    assert_eq!(hint(fallback()), ("fallback".into(), Hint::Prove));
    assert_eq!(hint(fallback().hint(Hint::Inline)), ("fallback".into(), Hint::Inline));

    let router = Router::new()
        .get("/a", || "")
        .fallback_with(fallback().layer(named("f")).body_len_max(5).layer(named("g")))
        .layer(named("r"));
    let client = client(router);
    let reply = client.request(Method::Extension("BREW"), "/none").body("12345").send();
    assert_eq!((reply.text(), &*layers(&reply)), ("BREW 5", "fgr"));
    assert_eq!(client.post("/none").body("123456").send().status(), Status::CONTENT_TOO_LARGE);
    assert_eq!(layers(&client.get("/a").send()), "r");
    // What is not at its paths is not answered by it.
    let other = client.post("/a").send();
    assert_eq!((other.status(), &*layers(&other)), (Status::METHOD_NOT_ALLOWED, "r"));

    let last = Router::new().fallback(|| "first").fallback_with(Fallback::new(|| "last"));
    assert_eq!(self::client(last).get("/").send().text(), "last");
    let nested = Router::new().nest("/n", Router::new().fallback_with(fallback())).build();
    let expected = RouterError::NestedFallback { prefix: "/n".into() };
    assert_eq!(nested.expect_err("a fallback is the whole service's"), expected);
}

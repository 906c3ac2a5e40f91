//! Extractors and replies, from request bytes to response bytes.

#![cfg(all(feature = "form", feature = "json"))]

use serde::{Deserialize, Serialize};
use threadline_http::extract::header::{Accept, Basic, ContentType, IfNoneMatch, UserAgent};
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{
    Extension, Form, FromRequest, Header, HeaderRejection, Html, IntoResponse, Json, JsonRejection,
    Path, PeerAddr, Problems, Query, Redirect, Request, Response, Router, Status,
};

#[derive(Debug, Deserialize, Serialize)]
struct Item {
    name: String,
    #[serde(default)]
    count: Option<u8>,
    #[serde(default)]
    tags: Vec<String>,
}

fn client(router: Router) -> TestClient {
    TestClient::new(router).expect("a router")
}

fn post(client: &TestClient, media: &str, body: &str) -> TestResponse {
    client.post("/").header("content-type", media).body(body).send()
}

#[track_caller]
fn check(response: &TestResponse, status: Status, text: &str) {
    assert_eq!((response.status(), response.text()), (status, text));
}

#[test]
fn queries_are_decoded_and_lists_are_lists() {
    let client = client(Router::new().get("/", |Query(item): Query<Item>| format!("{item:?}")));
    let found = client.get("/?tags=a%20b&name=x%2By+z&tags=&count=3&other=1").send();
    check(&found, Status::OK, r#"Item { name: "x+y z", count: Some(3), tags: ["a b", ""] }"#);
}

#[test]
fn wrong_queries_name_the_field() {
    let client = client(Router::new().get("/", |Query(item): Query<Item>| format!("{item:?}")));
    let refused = |target| client.get(target).send();
    check(&refused("/"), Status::BAD_REQUEST, "400 Bad Request: query: missing field `name`\n");
    let text = "400 Bad Request: query field `count`: number too large to fit in target type\n";
    check(&refused("/?name=a&count=300"), Status::BAD_REQUEST, text);
}

#[test]
fn forms_come_in_bodies_and_in_queries() {
    let form = |Form(item): Form<Item>| item.name;
    let client = client(Router::new().get("/", form).post("/", form));
    check(&client.get("/?name=a").send(), Status::OK, "a");
    let urlencoded = "application/x-www-form-urlencoded; charset=UTF-8";
    check(&post(&client, urlencoded, "name=b%26c"), Status::OK, "b&c");
    let refused = post(&client, urlencoded, "name=b&count=x");
    assert_eq!(refused.status(), Status::UNPROCESSABLE_CONTENT);
    assert!(refused.text().contains("form field `count`"), "{}", refused.text());
    assert_eq!(client.get("/?count=1").send().status(), Status::BAD_REQUEST);
    for media in ["text/plain", "application/json", "x"] {
        assert_eq!(post(&client, media, "name=b").status(), Status::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[test]
fn json_goes_in_and_out() {
    let client = client(Router::new().post("/", |item: Json<Item>| (Status::CREATED, item)));
    for media in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        let created = post(&client, media, r#" {"name": "ü", "tags": ["a"]} "#);
        check(&created, Status::CREATED, r#"{"name":"ü","count":null,"tags":["a"]}"#);
        assert_eq!(created.header("content-type"), Some("application/json"));
    }
}

#[test]
fn wrong_json_is_refused_where_it_is_wrong() {
    let client =
        client(Router::new().post("/", |Json(item): Json<Vec<Item>>| item.len().to_string()));
    let refused = |media: &str, body: &str| {
        let response = post(&client, media, body);
        (response.status(), response.text().to_owned())
    };
    for media in ["text/plain", "application/jsonx", "text/html+xml"] {
        assert_eq!(refused(media, "[]").0, Status::UNSUPPORTED_MEDIA_TYPE);
    }
    for syntax in ["", "[", "[] []", "[}", "\u{feff}[]", "'a'"] {
        let (status, text) = refused("application/json", syntax);
        assert_eq!(status, Status::BAD_REQUEST, "{syntax}");
        assert!(text.contains("not JSON"), "{text}");
    }
    let (status, text) = refused("application/json", r#"[{"name": "a"}, {"name": 7}]"#);
    assert_eq!(status, Status::UNPROCESSABLE_CONTENT);
    assert!(text.contains("JSON field `[1].name`: invalid type: integer `7`"), "{text}");
}

#[test]
fn what_is_wrong_is_not_sent_back_at_length() {
    let client = client(Router::new().post("/", |_: Json<u32>| ()));
    let long = format!("\"{}\"", "ü".repeat(100_000));
    let refused = post(&client, "application/json", &long);
    assert_eq!(refused.status(), Status::UNPROCESSABLE_CONTENT);
    let text = refused.text();
    assert!(text.len() < 600, "{} bytes", text.len());
    assert!(text.contains("JSON: invalid type: string \"ü"), "{text}");
    assert!(text.ends_with("expected u32 at line 1 column 200002\n"), "{text}");
}

#[test]
fn a_body_of_two_media_types_is_of_none() {
    let client = client(Router::new().post("/", |_: Json<u32>| ()));
    let post = client.post("/").header("content-type", "application/json").body("1");
    assert_eq!(post.clone().send().status(), Status::NO_CONTENT);
    let twice = post.header("content-type", "text/plain").send();
    assert_eq!(twice.status(), Status::UNSUPPORTED_MEDIA_TYPE);
}

#[test]
fn json_is_not_deeper_than_the_stack() {
    #[derive(Deserialize)]
    struct Tree(Vec<Tree>);
    fn depth(Tree(branches): &Tree) -> usize {
        1 + branches.iter().map(depth).max().unwrap_or(0)
    }
    let client = client(Router::new().post("/", |Json(tree): Json<Tree>| depth(&tree).to_string()));
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    check(&post(&client, "application/json", &nested(100)), Status::OK, "100");
    let refused = post(&client, "application/json", &nested(100_000));
    assert_eq!(refused.status(), Status::BAD_REQUEST);
    assert!(refused.text().contains("recursion limit"), "{}", refused.text());
}

#[test]
fn missing_and_wrong_are_two_things() {
    fn optional(item: Option<Json<Item>>, query: Option<Query<Item>>) -> String {
        let query = query.map(|Query(item)| item.name);
        format!("{:?} {query:?}", item.map(|Json(item)| item.name))
    }
    let client = client(Router::new().post("/", optional));
    check(&client.post("/").send(), Status::OK, "None None");
    check(&client.post("/?name=a").send(), Status::OK, r#"None Some("a")"#);
    check(&post(&client, "application/json", r#"{"name":"b"}"#), Status::OK, r#"Some("b") None"#);
    assert_eq!(post(&client, "application/json", "x").status(), Status::BAD_REQUEST);
    assert_eq!(client.post("/").body("x").send().status(), Status::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(client.post("/?").send().status(), Status::BAD_REQUEST);
}

#[test]
fn a_handler_may_answer_rejections_itself() {
    fn careful(item: Result<Json<Item>, JsonRejection>) -> Response {
        match item {
            Ok(Json(item)) => item.name.into_response(),
            Err(JsonRejection::Syntax(_)) => Status::CONFLICT.into_response(),
            Err(other) => other.into_response(),
        }
    }
    let client = client(Router::new().post("/", careful));
    assert_eq!(post(&client, "application/json", "x").status(), Status::CONFLICT);
    assert_eq!(post(&client, "text/plain", "x").status(), Status::UNSUPPORTED_MEDIA_TYPE);
    check(&post(&client, "application/json", r#"{"name":"b"}"#), Status::OK, "b");
}

#[test]
fn texts_are_utf8() {
    let client = client(Router::new().post("/", |text: String| text));
    check(&client.post("/").body("grün").send(), Status::OK, "grün");
    let refused = client.post("/").body(b"abc\xff".to_vec()).send();
    let text = "400 Bad Request: the body is not UTF-8 from byte 3 on\n";
    check(&refused, Status::BAD_REQUEST, text);
}

#[test]
fn header_fields_are_typed() {
    fn fields(
        Header(UserAgent(agent)): Header<UserAgent>,
        Header(accept): Header<Accept>,
        kind: Option<Header<ContentType>>,
    ) -> String {
        let kind = kind.map(|Header(kind)| kind.essence().into_owned());
        format!("{agent} {:?} {kind:?}", accept.best(&["a/b", "c/d"]))
    }
    let client = client(Router::new().get("/", fields));
    let get = |fields: &[(&str, &str)]| {
        fields.iter().fold(client.get("/"), |get, (name, value)| get.header(name, value)).send()
    };
    // A list may come in several fields.
    let both = [("user-agent", "x"), ("accept", "e/f, a/b;q=0.1"), ("accept", "c/d;q=0.5")];
    check(&get(&both), Status::OK, r#"x Some("c/d") None"#);
    let missing = "400 Bad Request: header field `accept` is missing\n";
    check(&get(&[("user-agent", "x")]), Status::BAD_REQUEST, missing);
    let twice = "400 Bad Request: header field `user-agent` may come only once\n";
    check(&get(&[("user-agent", "x"), ("user-agent", "y")]), Status::BAD_REQUEST, twice);
    let wrong = get(&[("user-agent", "x"), ("accept", "*/*"), ("content-type", "html")]);
    assert_eq!(wrong.status(), Status::BAD_REQUEST);
    assert!(wrong.text().contains("header field `content-type`: not a media type"));
}

#[test]
fn credentials_that_are_refused_are_not_repeated() {
    fn login(basic: Result<Header<Basic>, HeaderRejection>) -> Response {
        match basic {
            Ok(Header(basic)) => basic.name.into_response(),
            Err(rejection) if rejection.is_missing() => Status::UNAUTHORIZED.into_response(),
            Err(rejection) => rejection.into_response(),
        }
    }
    let client = client(Router::new().get("/", login));
    let get = |value: &str| client.get("/").header("authorization", value).send();
    check(&get("Basic YWRhOnM="), Status::OK, "ada");
    assert_eq!(client.get("/").send().status(), Status::UNAUTHORIZED);
    let refused = get("Digest c2VjcmV0");
    assert_eq!(refused.status(), Status::BAD_REQUEST);
    assert!(!refused.text().contains("c2VjcmV0"));
}

#[test]
fn conditions_are_typed() {
    let client = client(
        Router::new().get("/", |Header(known): Header<IfNoneMatch>| known.has("\"a\"").to_string()),
    );
    let get = |fields: &[&str]| {
        let get = client.get("/");
        fields.iter().fold(get, |get, value| get.header("if-none-match", value)).send()
    };
    check(&get(&["\"b\"", "W/\"a\""]), Status::OK, "true");
    check(&get(&["\"b\""]), Status::OK, "false");
    assert_eq!(get(&[]).text(), "400 Bad Request: header field `if-none-match` is missing\n");
    assert!(
        get(&["a"]).text().starts_with("400 Bad Request: header field `if-none-match`: not `*`")
    );
}

#[test]
fn errors_become_problems_where_the_client_wants_them() {
    let router = Router::new()
        .get("/", |_: Query<Item>| ())
        .get("/page", || (Status::NOT_FOUND, Html("<p>nothing")))
        .get("/fine", || "fine")
        .layer(Problems::new());
    let client = client(router);
    let get = |target: &str, accept: &[&str]| {
        accept.iter().fold(client.get(target), |get, value| get.header("accept", value)).send()
    };
    for accept in [&["application/json"][..], &["text/plain;q=0.1", "application/problem+json"]] {
        let problem = get("/", accept);
        assert_eq!(problem.status(), Status::BAD_REQUEST);
        assert_eq!(problem.header("content-type"), Some("application/problem+json"), "{accept:?}");
        assert_eq!(problem.header("vary"), Some("accept"));
    }
    for accept in [&[][..], &["*/*"], &["text/html, */*;q=0.1"], &["application/json;q=0"]] {
        let text = get("/", accept);
        assert_eq!(text.text(), "400 Bad Request: query: missing field `name`\n", "{accept:?}");
        // A cache must not give it to those who want the other.
        assert_eq!(text.header("vary"), Some("accept"));
    }
    // There is no choice here.
    for target in ["/page", "/fine"] {
        let other = get(target, &["application/json"]);
        assert_ne!(other.header("content-type"), Some("application/problem+json"));
        assert_eq!(other.header("vary"), None);
    }
}

#[test]
fn errors_become_problems_for_everybody_where_that_is_wanted() {
    let client = client(Router::new().get("/", |_: Query<Item>| ()).layer(Problems::always()));
    for accept in ["application/json", "text/html", "*/*"] {
        let problem = client.get("/").header("accept", accept).send();
        assert_eq!(problem.header("content-type"), Some("application/problem+json"), "{accept}");
        // It does not depend on what the client accepts.
        assert_eq!(problem.header("vary"), None);
    }
}

#[test]
fn the_peers_address() {
    // On a Unix socket there is none: see the tests of the facade.
    let router = Router::new()
        .get("/", |peer: Option<PeerAddr>| peer.is_some().to_string())
        .get("/ip", |PeerAddr(peer): PeerAddr| peer.ip().to_string());
    let client = client(router);
    check(&client.get("/").send(), Status::OK, "true");
    check(&client.get("/ip").send(), Status::OK, "127.0.0.1");
}

#[test]
fn extensions_may_be_missing() {
    let client = client(Router::new().get("/", |left: Option<Extension<u32>>| format!("{left:?}")));
    check(&client.get("/").send(), Status::OK, "None");
}

#[test]
fn pages_and_redirects() {
    let router = Router::new()
        .get("/", || Html("<p>hello"))
        .get("/old", || Redirect::permanent("/new?a=b"))
        .get("/fields", || (Status::ACCEPTED, [("x-a", "1"), ("x-b", "2")], "body"))
        .get("/maybe/{n}", |Path(n): Path<u32>| (n == 1).then_some("one"));
    let client = client(router);
    let page = client.get("/").send();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let moved = client.get("/old").send();
    assert_eq!((moved.status().code(), moved.header("location")), (308, Some("/new?a=b")));
    let fields = client.get("/fields").send();
    check(&fields, Status::ACCEPTED, "body");
    assert_eq!((fields.header("x-a"), fields.header("x-b")), (Some("1"), Some("2")));
    check(&client.get("/maybe/1").send(), Status::OK, "one");
    assert_eq!(client.get("/maybe/2").send().status(), Status::NOT_FOUND);
}

#[test]
fn twelve_parameters_and_the_request() {
    struct One;
    impl FromRequest for One {
        type Rejection = Status;

        fn from_request(request: &Request<'_>) -> Result<Self, Status> {
            if request.query() == Some("no") { Err(Status::FORBIDDEN) } else { Ok(One) }
        }
    }
    #[allow(clippy::too_many_arguments)]
    fn many(
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        _: One,
        request: &Request<'_>,
    ) -> String {
        request.path().to_owned()
    }
    let client = client(Router::new().get("/many", many));
    check(&client.get("/many").send(), Status::OK, "/many");
    assert_eq!(client.get("/many?no").send().status(), Status::FORBIDDEN);
}

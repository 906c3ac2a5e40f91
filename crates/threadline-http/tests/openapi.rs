//! Descriptions by types: what the document says, and the pages that show it.

#![cfg(feature = "openapi")]

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use threadline_http::cookies::Cookies;
use threadline_http::extract::header::UserAgent;
use threadline_http::files::Files;
use threadline_http::openapi::{Gives, Operation, SecurityScheme, operation, schemars};
use threadline_http::testing::TestClient;
use threadline_http::{
    Form, Header, IntoResponse, Json, Method, Path, PeerAddr, Problem, Query, Request, Response,
    Router, State, Status, get, post,
};

/// A note.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Note {
    /// Its number.
    id: u64,
    text: String,
    author: Option<Author>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Author {
    name: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Page {
    after: u64,
    limit: Option<u32>,
}

struct Refused;

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Status::CONFLICT.into_response()
    }
}

impl Gives for Refused {
    fn describe(operation: Operation) -> Operation {
        operation.response(Status::CONFLICT, "It is there already.")
    }
}

fn read(Path((user, id)): Path<(String, u64)>) -> Option<Json<Note>> {
    Some(Json(Note { id, text: user, author: None }))
}

fn list(Query(page): Query<Page>, _: State<u8>, _: Option<PeerAddr>) -> Json<Vec<Note>> {
    let text = format!("{:?}", page.limit);
    Json(vec![Note { id: page.after, text, author: Some(Author { name: "ada".into() }) }])
}

fn add(Json(note): Json<Note>, _: Cookies) -> Result<(Status, Json<Note>), Refused> {
    if note.id == 0 { Err(Refused) } else { Ok((Status::CREATED, Json(note))) }
}

fn search(
    Header(UserAgent(agent)): Header<UserAgent>,
    page: Option<Query<Page>>,
    Form(author): Form<Author>,
    request: &Request<'_>,
) -> Result<String, Problem> {
    Ok(format!("{agent} {} {} {}", page.is_some(), author.name, request.path()))
}

fn router() -> Router {
    let add = operation(Method::Post, add).describe(|operation| {
        let operation = operation.success(Status::CREATED).summary("Adds a note").tag("notes");
        operation.security("token").id("add").deprecated()
    });
    let notes = Router::new().route("/", operation(Method::Get, list).and(add)).operation(
        Method::Get,
        "/{user}/{id}",
        read,
    );
    Router::new()
        .state(7_u8)
        .get("/plain/{name}/{*rest}", || "")
        .operation(Method::Post, "/search", search)
        .nest("/notes", notes)
}

fn document() -> Value {
    let api = router().openapi("Notes", "1.2").server("https://example.com");
    api.security("token", SecurityScheme::Bearer).document().clone()
}

#[test]
fn path_parameters_have_the_names_of_the_pattern_and_the_types_of_the_handler() {
    let document = document();
    let read = &document["paths"]["/notes/{user}/{id}"]["get"];
    let [user, id] = [0, 1].map(|at| read["parameters"][at].clone());
    assert_eq!((&user["name"], &user["schema"]["type"]), (&json!("user"), &json!("string")));
    assert_eq!(
        (&id["name"], &id["in"], &id["required"]),
        (&json!("id"), &json!("path"), &json!(true))
    );
    assert_eq!(id["schema"]["type"], "integer");
    assert!(read["responses"]["404"].is_object() && read["responses"]["400"].is_object());
}

#[test]
fn schemas_are_shared_by_name() {
    let document = document();
    let note = json!({ "$ref": "#/components/schemas/Note" });
    let add = &document["paths"]["/notes"]["post"];
    assert_eq!(add["requestBody"]["content"]["application/json"]["schema"], note);
    assert_eq!(add["responses"]["201"]["content"]["application/json"]["schema"], note);
    let list = &document["paths"]["/notes"]["get"];
    assert_eq!(list["responses"]["200"]["content"]["application/json"]["schema"]["items"], note);
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    assert_eq!(schemas["Note"]["properties"]["id"]["description"], "Its number.");
    assert!(schemas.contains_key("Author"), "what a schema refers to is there too");
    assert_resolved(&document, &document);
}

/// Each reference leads somewhere in the document.
fn assert_resolved(value: &Value, document: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(to)) = members.get("$ref") {
                let pointer = to.strip_prefix('#').expect("a reference to the document itself");
                assert!(document.pointer(pointer).is_some(), "{to}");
            }
            members.values().for_each(|member| assert_resolved(member, document));
        }
        Value::Array(elements) => elements.iter().for_each(|one| assert_resolved(one, document)),
        _ => {}
    }
}

#[test]
fn queries_are_parameters_each_on_its_own() {
    let document = document();
    let parameters = |path: &str, method: &str| {
        let parameters = document["paths"][path][method]["parameters"].as_array().expect("some");
        let brief = |one: &Value| (one["name"].clone(), one["in"].clone(), one["required"].clone());
        parameters.iter().map(brief).collect::<Vec<_>>()
    };
    let [after, limit, agent] = ["after", "limit", "user-agent"].map(|name| json!(name));
    let [query, header] = ["query", "header"].map(|place| json!(place));
    let expected =
        [(after.clone(), query.clone(), json!(true)), (limit.clone(), query.clone(), json!(false))];
    assert_eq!(parameters("/notes", "get"), expected);
    // The whole query may be missing.
    let expected = [
        (agent, header, json!(true)),
        (after, query.clone(), json!(false)),
        (limit, query, json!(false)),
    ];
    assert_eq!(parameters("/search", "post"), expected);
}

#[test]
fn forms_problems_and_errors_of_ones_own() {
    let document = document();
    let search = &document["paths"]["/search"]["post"];
    assert!(search["requestBody"]["content"]["application/x-www-form-urlencoded"].is_object());
    assert!(search["responses"]["default"]["content"]["application/problem+json"].is_object());
    assert!(search["responses"]["415"].is_object() && search["responses"]["422"].is_object());
    let add = &document["paths"]["/notes"]["post"];
    assert_eq!(add["responses"]["409"]["description"], "It is there already.");
}

#[test]
fn what_is_said_by_hand_is_there() {
    let document = document();
    let add = &document["paths"]["/notes"]["post"];
    let said = json!({ "summary": "Adds a note", "operationId": "add", "deprecated": true });
    said.as_object()
        .expect("an object")
        .iter()
        .for_each(|(name, value)| assert_eq!(add[name], *value));
    assert_eq!((&add["tags"], &add["security"]), (&json!(["notes"]), &json!([{ "token": [] }])));
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert_eq!(document["servers"][0]["url"], "https://example.com");
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&json!("3.1.0"), &json!("1.2"))
    );
}

#[test]
fn routes_without_types_are_there_with_their_path() {
    let document = document();
    let plain = &document["paths"]["/plain/{name}/{rest}"]["get"];
    let names: Vec<_> = [0, 1].map(|at| plain["parameters"][at]["name"].clone()).into();
    assert_eq!(names, ["name", "rest"]);
    assert!(plain["responses"]["default"].is_object());
}

#[test]
fn every_operation_has_an_id_of_its_own() {
    let document = document();
    let paths = document["paths"].as_object().expect("paths").values();
    let operations = paths.flat_map(|path| path.as_object().expect("methods").values());
    let ids: Vec<_> = operations.map(|operation| operation["operationId"].to_string()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
}

#[test]
fn the_pages_show_it_and_load_nothing_from_elsewhere() {
    let api = router().openapi("</script><b>", "1");
    let document = api.document().clone();
    let client = TestClient::new(router().nest("/docs", api.routes())).expect("a router");
    let served = client.get("/docs/openapi.json").send();
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(serde_json::from_str::<Value>(served.text()).expect("JSON"), document);

    let page = client.get("/docs").send();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; connect-src 'self'; style-src 'sha256-"));
    let text = page.text();
    assert!(!text.contains("</script><b>") && !text.contains("@DOCUMENT@"), "{text}");
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src="));
    // The document in the page is the document.
    let inside = text.split_once("id=\"document\">").expect("there").1;
    let inside = inside.split_once("</script>").expect("its end").0;
    assert_eq!(serde_json::from_str::<Value>(inside).expect("JSON"), document);
}

/// What a document of this router says.
fn said_of(router: Router) -> Value {
    router.openapi("Test", "1").document().clone()
}

#[test]
fn methods_are_described_one_by_one_and_together() {
    let describe = |text: &'static str| move |operation: Operation| operation.summary(text);
    for methods in [
        get(|| "").and(post(|| "").describe(describe("one"))).describe(describe("all")),
        get(|| "").describe(describe("all")).and(post(|| "").describe(describe("one"))),
    ] {
        let said = said_of(Router::new().nest("/n", Router::new().route("/a", methods.put(|| ""))));
        let path = &said["paths"]["/n/a"];
        assert_eq!(
            (&path["get"]["summary"], &path["put"]["summary"]),
            (&json!("all"), &json!("all"))
        );
        assert_eq!(path["post"]["summary"], "one");
    }
    // What adds to the rest is there from both; types come first, so that both may change what they say.
    let created = |operation: Operation| operation.success(Status::CREATED).tag("one");
    let methods = operation(Method::Get, list)
        .operation(Method::Post, add)
        .and(operation(Method::Put, add).describe(created))
        .describe(|operation| operation.tag("all").response(Status::CONFLICT, "Not now."));
    let said = said_of(Router::new().route("/a", methods));
    let path = &said["paths"]["/a"];
    assert_eq!(path["get"]["tags"], json!(["all"]));
    assert_eq!(path["put"]["tags"], json!(["all", "one"]));
    assert!(path["put"]["responses"]["201"]["content"].is_object());
    assert!(path["post"]["responses"]["200"]["content"].is_object(), "said of PUT alone");
    for method in ["get", "post", "put"] {
        assert_eq!(path[method]["responses"]["409"]["description"], "Not now.", "{method}");
    }
    assert_resolved(&said, &said);
}

#[test]
fn what_is_hidden_is_not_in_the_document() {
    let hidden = operation(Method::Post, add).describe(Operation::hidden);
    let router = Router::new().route("/a", get(|| "").and(hidden.clone())).route("/b", hidden);
    let said = said_of(router);
    let paths = said["paths"].as_object().expect("paths");
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/a"]);
    assert!(paths["/a"].get("post").is_none() && paths["/a"]["get"].is_object());
    assert_eq!(said["components"]["schemas"], json!({}), "nor are its types");
}

#[test]
fn files_are_described_as_one() {
    let files = || Files::embedded(&[("a", b"")]);
    let router = |files: Files| said_of(Router::new().files("/f", files).get("/other", || ""));
    let said = router(files().describe(|operation| operation.summary("Files").tag("static")));
    for path in ["/f", "/f/", "/f/{path}"] {
        let get = &said["paths"][path]["get"];
        assert_eq!(
            (&get["summary"], &get["tags"]),
            (&json!("Files"), &json!(["static"])),
            "{path}"
        );
    }
    assert!(said["paths"]["/other"]["get"].get("summary").is_none());
    let said = router(files().describe(Operation::hidden));
    assert_eq!(said["paths"].as_object().expect("paths").keys().collect::<Vec<_>>(), ["/other"]);
    // As a handler too.
    let handler = get(files().describe(|operation| operation.summary("Files")));
    let said =
        said_of(Router::new().route("/h/{*path}", handler.describe(|all| all.summary("All"))));
    assert_eq!(said["paths"]["/h/{path}"]["get"]["summary"], "Files");
}

#[test]
fn described_routes_work_as_others() {
    let client = TestClient::new(router()).expect("a router");
    assert_eq!(client.get("/notes/ada/7").send().text(), r#"{"id":7,"text":"ada","author":null}"#);
    let post = client.post("/notes").header("content-type", "application/json");
    assert_eq!(post.body(r#"{"id":1,"text":"a"}"#).send().status(), Status::CREATED);
    let form = client.post("/search").header("content-type", "application/x-www-form-urlencoded");
    let found = form.header("user-agent", "x").body("name=ada").send();
    assert_eq!(found.text(), "x false ada /search");
}

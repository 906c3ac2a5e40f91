//! An API that describes itself: OpenAPI 3.1 from the types of its handlers, and a page to try it.
//!
//! Run:  cargo run --release -p threadline --features openapi --example openapi
//! Try:  open http://127.0.0.1:8080/docs in a browser
//!       curl http://127.0.0.1:8080/docs/openapi.json

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use threadline::Server;
use threadline::http::openapi::{operation, schemars};
use threadline::http::{Json, Method, Path, Query, Router, State, Status};

/// Something to remember.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Note {
    /// What it says.
    text: String,
    /// Whether it is done with.
    #[serde(default)]
    done: bool,
}

#[derive(Deserialize, JsonSchema)]
struct Filter {
    /// Only those that are done with, or only the others.
    done: Option<bool>,
}

type Notes = State<Arc<Mutex<BTreeMap<u32, Note>>>>;

fn list(State(notes): Notes, Query(filter): Query<Filter>) -> Json<BTreeMap<u32, Note>> {
    let mut notes = notes.lock().expect("nobody panics").clone();
    notes.retain(|_, note| filter.done.is_none_or(|done| note.done == done));
    Json(notes)
}

fn read(State(notes): Notes, Path(id): Path<u32>) -> Option<Json<Note>> {
    notes.lock().expect("nobody panics").get(&id).cloned().map(Json)
}

fn put(State(notes): Notes, Path(id): Path<u32>, Json(note): Json<Note>) -> (Status, Json<Note>) {
    notes.lock().expect("nobody panics").insert(id, note.clone());
    (Status::OK, Json(note))
}

fn router() -> Router {
    let list = operation(Method::Get, list).describe(|operation| operation.summary("All notes"));
    let read = operation(Method::Get, read).describe(|operation| operation.summary("One note"));
    let put = operation(Method::Put, put).describe(|operation| operation.summary("Sets a note"));
    let router = Router::new()
        .route("/notes", list.describe(|operation| operation.tag("notes")))
        // The tag is for both methods.
        .route("/notes/{id}", read.and(put).describe(|operation| operation.tag("notes")))
        .state::<Arc<Mutex<BTreeMap<u32, Note>>>>(Arc::default());
    let api = router.openapi("Notes", "1.0").description("Notes, as long as the service runs.");
    router.nest("/docs", api.routes())
}

fn main() -> threadline::Result<()> {
    Server::new().http("127.0.0.1:8080", router()).run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadline::TestServer;

    #[test]
    fn notes_are_kept_and_described() {
        let server = TestServer::start(router()).expect("a server");
        let put = server.put("/notes/7").header("content-type", "application/json");
        assert_eq!(put.body(r#"{"text":"buy tea"}"#).send().status(), Status::OK);
        assert_eq!(
            server.get("/notes?done=false").send().text(),
            r#"{"7":{"text":"buy tea","done":false}}"#
        );
        let document = server.get("/docs/openapi.json").send();
        assert!(document.text().contains("Something to remember."), "{}", document.text());
    }
}

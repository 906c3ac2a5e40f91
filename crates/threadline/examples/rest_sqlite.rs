//! Notes in SQLite behind a JSON API, in code that blocks wherever it likes.
//!
//! Run:  cargo run --release -p threadline --example rest_sqlite
//! Try:  curl -d '{"text": "buy tea"}' -H 'content-type: application/json' http://127.0.0.1:8080/notes
//!       curl 'http://127.0.0.1:8080/notes?search=tea'
//!       curl -X DELETE http://127.0.0.1:8080/notes/1
//!
//! SQLite blocks its thread for each query, and nobody else waits for that: `/ping` answers at once while
//! `/notes` waits for a lock. Four connections are shared by a queue; whoever finds none waits for one,
//! for two seconds at most. The notes stay in `threadline-notes.db` in the directory of temporary files.

use std::path::Path as File;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use threadline::Server;
use threadline::http::{IntoResponse, Json, Path, Problem, Query, Response, Router, State, Status};
use threadline::logging::{Escaped, limited};
use threadline::pool::sync::Queue;

type Database = State<Arc<Queue<Connection>>>;

#[derive(Serialize)]
struct Note {
    id: i64,
    text: String,
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    search: String,
}

enum Error {
    Database(rusqlite::Error),
    Busy,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join("threadline-notes.db");
    println!("notes are kept in {}", file.display());
    Server::new().http("127.0.0.1:8080", router(&file)?).run()?;
    Ok(())
}

fn router(file: &File) -> rusqlite::Result<Router> {
    let connections = Queue::fifo(4);
    for _ in 0..connections.len_max() {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.busy_timeout(Duration::from_secs(2))?;
        connection.execute_batch(
            "create table if not exists notes (id integer primary key, text text)",
        )?;
        let _ = connections.try_put(connection);
    }
    Ok(Router::new()
        .state(Arc::new(connections))
        .get("/ping", || "pong\n")
        .get("/notes", search)
        .post("/notes", add)
        .get("/notes/{id}", read)
        .delete("/notes/{id}", delete))
}

fn search(State(db): Database, Query(wanted): Query<Search>) -> Result<Json<Vec<Note>>, Error> {
    with(&db, |connection| {
        let sql =
            "select id, text from notes where text like '%' || ? || '%' order by id limit 100";
        let mut statement = connection.prepare_cached(sql)?;
        let notes = statement
            .query_map([wanted.search], |row| Ok(Note { id: row.get(0)?, text: row.get(1)? }))?;
        notes.collect::<Result<_, _>>().map(Json)
    })
}

fn add(State(db): Database, Json(new): Json<NewNote>) -> Result<(Status, Json<Note>), Error> {
    with(&db, |connection| {
        connection.execute("insert into notes (text) values (?)", params![new.text])?;
        Ok((Status::CREATED, Json(Note { id: connection.last_insert_rowid(), text: new.text })))
    })
}

fn read(State(db): Database, Path(id): Path<i64>) -> Result<Option<Json<Note>>, Error> {
    with(&db, |connection| {
        let text =
            connection.query_row("select text from notes where id = ?", [id], |row| row.get(0));
        Ok(text.optional()?.map(|text| Json(Note { id, text })))
    })
}

fn delete(State(db): Database, Path(id): Path<i64>) -> Result<Status, Error> {
    let deleted =
        with(&db, |connection| connection.execute("delete from notes where id = ?", [id]))?;
    Ok(if deleted == 0 { Status::NOT_FOUND } else { Status::NO_CONTENT })
}

/// Lends a connection out, and takes it back whatever becomes of the query.
fn with<T>(
    db: &Queue<Connection>,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let connection = db.get_timeout(Duration::from_secs(2)).map_err(|_| Error::Busy)?;
    let result = query(&connection);
    let _ = db.try_put(connection);
    result.map_err(Error::Database)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Error::Busy => {
                Problem::new(Status::SERVICE_UNAVAILABLE).detail("try again").into_response()
            }
            Error::Database(error) => {
                limited!(error, "the database failed", error = %Escaped(error));
                Problem::new(Status::INTERNAL_SERVER_ERROR).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadline::TestServer;

    #[test]
    fn notes_come_and_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let router = router(&directory.path().join("notes.db")).expect("a database");
        let server = TestServer::start(router).expect("a server");
        let new = server.post("/notes").header("content-type", "application/json");
        let added = new.body(r#"{"text":"buy tea"}"#).send();
        assert_eq!(
            (added.status(), added.text()),
            (Status::CREATED, r#"{"id":1,"text":"buy tea"}"#)
        );
        assert_eq!(server.get("/notes?search=tea").send().text(), r#"[{"id":1,"text":"buy tea"}]"#);
        assert_eq!(server.get("/notes?search=milk").send().text(), "[]");
        assert_eq!(server.delete("/notes/1").send().status(), Status::NO_CONTENT);
        assert_eq!(server.get("/notes/1").send().status(), Status::NOT_FOUND);
        assert_eq!(server.get("/notes/one").send().status(), Status::BAD_REQUEST);
    }
}

//! Forms with files, as services and their clients see them: through the public interface alone.

#![cfg(feature = "multipart")]

mod limits;
mod properties;
mod refusals;
mod uploads;

use threadline_http::multipart::{Multipart, MultipartError};
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{Handler, Router};

/// Begins a part's header; a name follows.
const DISPOSITION: &str = "Content-Disposition: form-data; name=";

/// A client of a service with this one handler, which takes up to 10 MB.
fn client<Args>(handler: impl Handler<Args>) -> TestClient {
    client_of(Router::new().route("/", threadline_http::post(handler).body_len_max(10_000_000)))
}

fn client_of(router: Router) -> TestClient {
    TestClient::new(router).expect("a good router")
}

/// Posts a body with the boundary `b`.
fn post(client: &TestClient, body: impl Into<Vec<u8>>) -> TestResponse {
    let content_type = "multipart/form-data; boundary=b";
    client.post("/").header("content-type", content_type).body(body).send()
}

/// A part with its boundary before it, without the line end behind it.
fn part(name: &str, content: &str) -> String {
    format!("--b\r\n{DISPOSITION}\"{name}\"\r\n\r\n{content}")
}

/// A body of these parts.
fn form(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(name, content)| part(name, content) + "\r\n");
    parts.collect::<String>() + "--b--\r\n"
}

/// Answers `name=text;` for each part.
fn list(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
    let mut list = String::new();
    while let Some(part) = parts.next_part()? {
        list.push_str(part.name());
        list.push_str(&format!("={};", part.text()?));
    }
    Ok(list)
}

//! What clients in use send at the edge of the standards, and what each gets: the rows of the table in
//! docs/attacks.md that are about more than a request's head. Heads are `12-sloppy.txt` in the conformance
//! suite of `threadline-proto`.

use threadline_http::cookies::Cookies;
use threadline_http::extract::header::Accept;
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{Header, Method, Router, Status};

fn client(router: Router) -> TestClient {
    TestClient::new(router).expect("good routes")
}

#[track_caller]
fn told(response: &TestResponse, status: u16, hint: &str) {
    assert_eq!(response.status().code(), status, "{}", response.text());
    assert!(response.text().contains(hint), "{}", response.text());
}

/// .NET's `MultipartFormDataContent`: a quoted boundary, tokens without quotes, both names of a file.
#[cfg(feature = "multipart")]
#[test]
fn an_upload_of_dotnet_is_taken() {
    use threadline_http::multipart::{Multipart, MultipartError};

    fn list(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
        let mut list = String::new();
        while let Some(part) = parts.next_part()? {
            let name = format!("{} {:?} ", part.name(), part.file_name());
            list.push_str(&(name + &part.text()? + "\n"));
        }
        Ok(list)
    }

    let client = client(Router::new().post("/", list));
    let send = |file: &str| {
        let boundary = "5f7c2a3e-2a0c-4a4e-9f0e-6c2b1d0e7a11";
        let body = format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Disposition: form-data; name=title\r\n\r\nBeach\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=file; {file}\r\n\r\ncontent\r\n\
             --{boundary}--\r\n"
        );
        let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        client.post("/").header("content-type", &content_type).body(body).send()
    };
    for (file, name) in [
        ("filename=x.txt; filename*=utf-8''x.txt", "x.txt"),
        ("filename=\"a b.txt\"; filename*=utf-8''a%20b.txt", "a b.txt"),
        ("filename=\"=?utf-8?B?w7xiZXIudHh0?=\"; filename*=utf-8''%C3%BCber.txt", "\u{fc}ber.txt"),
    ] {
        let response = send(file);
        told(&response, 200, &format!("title None Beach\nfile Some(\"{name}\") content\n"));
    }
    told(
        &send("filename=x.txt; filename*=utf-8''x.exe"),
        400,
        "`filename*` of content-disposition differ",
    );
    // Python's requests before urllib3 1.25, for a name that is not ASCII.
    told(&send("filename*=utf-8''%C3%BC.txt"), 400, "send `filename` in UTF-8");
}

/// Browsers, curl, Java and hand-written clients: part heads at the edge of RFC 7578.
#[cfg(feature = "multipart")]
#[test]
fn part_heads_as_clients_write_them() {
    use threadline_http::multipart::{Multipart, MultipartError};

    fn first(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
        let part = parts.next_part()?.expect("a part");
        Ok(format!("{} {}", part.name(), part.file_name().unwrap_or("-")))
    }

    let client = client(Router::new().post("/", first));
    let send = |head: &str| {
        let body = format!("--b\r\n{head}\r\n\r\nx\r\n--b--\r\n");
        client.post("/").header("content-type", "multipart/form-data; boundary=b").body(body).send()
    };
    for (head, name) in [
        // Browsers and curl (HTML, "multipart form data"), and older versions of curl.
        ("Content-Disposition: form-data; name=\"a\"; filename=\"%22.txt\"", "a %22.txt"),
        ("Content-Disposition: form-data; name=\"a\"; filename=\"\\\".txt\"", "a \".txt"),
        ("Content-Disposition: form-data; name=\"a\"; filename=\"C:\\new.txt\"", "a C:\\new.txt"),
        // Apache HttpClient, OkHttp before 4.
        (
            "content-disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\
             Content-Transfer-Encoding: 8bit\r\nContent-Length: 1",
            "a -",
        ),
    ] {
        told(&send(head), 200, name);
    }
    for (head, hint) in [
        ("Content-Disposition: form-data; name = a", "`form-data; name=\"field\"`"),
        ("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", "binary"),
        ("Content-Disposition: attachment; name=a", "`form-data; name=\"field\"`"),
    ] {
        told(&send(head), 400, hint);
    }
    let bare = "--b\nContent-Disposition: form-data; name=a\n\nx\n--b--\n";
    let content_type = "multipart/form-data; boundary=b";
    told(&client.post("/").header("content-type", content_type).body(bare).send(), 400, "boundary");
}

#[cfg(feature = "json")]
#[test]
fn json_as_clients_send_it() {
    use threadline_http::Json;

    let client = client(Router::new().post("/", |Json(number): Json<u32>| number.to_string()));
    let send = |content_type: &str, body: &[u8]| {
        client.post("/").header("content-type", content_type).body(body).send()
    };
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;Charset=\"UTF-8\"",
        "application/json; charset=iso-8859-1",
        "application/json;",
        "application/vnd.api+json",
    ] {
        told(&send(content_type, b" 42\r\n"), 200, "42");
    }
    // PowerShell's `Set-Content -Encoding utf8`, .NET's `StreamWriter`.
    told(
        &send("application/json", b"\xef\xbb\xbf42"),
        400,
        "it begins with a byte order mark: send it without",
    );
    told(&send("application/json", b"\xff\xfe4\x002\x00"), 400, "send UTF-8");
    told(&send("application/json", b"\xfe\xff\x004\x002"), 400, "send UTF-8");
    told(&send("application/json", b"{\0}\0"), 400, "send UTF-8");
    told(&send("application/json", b"\0{\0}"), 400, "send UTF-8");
    told(&send("application/json", b""), 400, "not JSON");
    // `curl -d`, `navigator.sendBeacon` with text.
    told(&send("application/x-www-form-urlencoded", b"42"), 415, "content-type: application/json");
    told(&send("text/plain;charset=UTF-8", b"42"), 415, "content-type: application/json");
}

#[cfg(feature = "form")]
#[test]
fn forms_and_queries_as_clients_send_them() {
    use std::collections::BTreeMap;

    use threadline_http::{Form, Query};

    type Fields = BTreeMap<String, String>;
    let router = Router::new()
        .post("/", |Form(fields): Form<Fields>| format!("{fields:?}"))
        .get("/", |Query(fields): Query<Fields>| format!("{fields:?}"));
    let client = client(router);
    for content_type in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "APPLICATION/X-WWW-FORM-URLENCODED;charset=\"utf-8\"",
    ] {
        let response =
            client.post("/").header("content-type", content_type).body("a=b+c%21&d").send();
        told(&response, 200, r#"{"a": "b c!", "d": ""}"#);
    }
    // A percent sign that encodes nothing stays one; Latin-1 from old pages is not guessed at.
    told(&client.get("/?a=100%&b=%zz").send(), 200, r#"{"a": "100%", "b": "%zz"}"#);
    told(&client.get("/?a=%E4").send(), 200, "{\"a\": \"\u{fffd}\"}");
    told(&client.get("/?a[0]=|&{b}=\"").send(), 200, r#"{"a[0]": "|", "{b}": "\""}"#);
}

#[test]
fn accept_of_java_is_understood() {
    let best = |Header(accept): Header<Accept>| match accept.best(&["application/json"]) {
        Some(best) => best.to_owned(),
        None => "none".to_owned(),
    };
    let client = client(Router::new().get("/", best));
    for accept in
        ["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "*", "*/*;q=0.8", "APPLICATION/*"]
    {
        told(&client.get("/").header("accept", accept).send(), 200, "application/json");
    }
}

#[test]
fn cookies_of_other_applications_hide_none() {
    let get = |cookies: Cookies| cookies.get("mine").unwrap_or("none").to_owned();
    let client = client(Router::new().get("/", get));
    for cookie in [
        "a b=c; mine=1",
        "{\"json\":1}; mine=1;",
        "noequals;mine=\"1\"",
        "x=\"a; mine=1",
        "$Version=1; mine=1",
    ] {
        told(&client.get("/").header("cookie", cookie).send(), 200, "1");
    }
    let raw =
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: name=J\xfcrgen; mine=1\r\nConnection: close\r\n\r\n";
    assert!(client.raw(raw).ends_with(b"\r\n\r\n1"));
}

#[test]
fn methods_are_case_sensitive() {
    let client = client(Router::new().patch("/", || "changed"));
    told(&client.request(Method::Patch, "/").send(), 200, "changed");
    // `fetch("/", { method: "patch" })`: of the common methods browsers correct all but this one.
    let response = client.request(Method::Extension("patch"), "/").send();
    told(&response, 501, "methods are case-sensitive");
    assert_eq!(response.status(), Status::NOT_IMPLEMENTED);
}

#[test]
fn what_is_not_ascii_in_a_target_is_told_how_to_be_sent() {
    let client = client(Router::new().get("/caf\u{e9}", || "open"));
    told(&client.get("/caf%C3%A9").send(), 200, "open");
    // `curl http://host/café` sends it as it is typed.
    for target in ["/caf\u{e9}", "/a b", "/?q=\u{e9}"] {
        let raw = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = String::from_utf8_lossy(&client.raw(raw)).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("percent-encoded"), "{answer}");
    }
}

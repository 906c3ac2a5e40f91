//! Responses of handlers that must not be sent, over sockets: whatever a handler answers, the client takes
//! the next response for the next request's.

use std::fs::File;
use std::io::{self, Write};

use crate::common::{ANY, Client, every_model, server, start};
use crate::http_client::ok;
use threadline::http::testing::TestClient;
use threadline::http::{Body, Method, Path, Response, Router, Status};

const KINDS: [&str; 7] = ["empty", "bytes", "reader", "sized", "chunks", "file", "push"];

fn body(kind: &str) -> Body {
    match kind {
        "empty" => Body::EMPTY,
        "bytes" => Body::from("content"),
        "reader" => Body::reader(&b"content"[..]),
        "sized" => Body::sized_reader(&b"content"[..], 7),
        "chunks" => Body::chunks([b"content".to_vec()]),
        "file" => {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(b"content").expect("written");
            Body::file(File::open(file.path()).expect("opened")).expect("a body")
        }
        _ => Body::push(|sender| {
            sender.send("content").expect("an open connection");
            sender.finish().expect("an open connection");
        }),
    }
}

fn router() -> Router {
    let answer = |Path((code, kind)): Path<(u16, String)>| {
        let status = Status::from_code(code).expect("three digits");
        Response::new(status).with_body(body(&kind))
    };
    let declared = |Path(length): Path<String>| {
        Response::new(Status::OK).with_header("content-length", length)
    };
    Router::new()
        .get("/{code}/{kind}", answer)
        .get("/declared/by/{length}", || "unseen")
        .head("/declared/by/{length}", declared)
        .get("/longer", || {
            Response::new(Status::OK).with_body(Body::sized_reader(io::repeat(b'x'), 5))
        })
        .get("/next", || "next")
}

every_model! {
    fn a_status_that_cannot_end_a_request_shifts_no_response(model) {
        let service = start(server(model).http(ANY, router()));
        let in_process = TestClient::new(router()).expect("a router");
        let mut client = Client::to(&service);
        for code in [100, 101, 103, 199, 204, 205, 304, 600, 999] {
            for kind in KINDS {
                let expected = if matches!(code, 204 | 205 | 304) { code } else { 500 };
                let path = format!("/{code}/{kind}");
                // Three on their way at once.
                client.send(format!(
                    "GET {path} HTTP/1.1\r\nHost: t\r\n\r\nHEAD {path} HTTP/1.1\r\nHost: t\r\n\r\n\
                     GET /next HTTP/1.1\r\nHost: t\r\n\r\n"
                ));
                let reply = client.reply();
                assert_eq!((reply.status, reply.closes), (expected, false), "{path}");
                assert_eq!(reply.body.is_empty(), expected != 500, "{path}: {reply:?}");
                let head = client.reply_to(true);
                assert_eq!((head.status, head.closes), (expected, false), "HEAD {path}");
                assert_eq!(client.reply(), ok("next"), "behind {path}");
                let same = in_process.get(&path).send();
                assert_eq!((same.status().code(), same.text()), (expected, &*reply.body), "{path}");
            }
        }
    }

    fn a_length_that_a_handler_of_head_declares_shifts_no_response(model) {
        let service = start(server(model).http(ANY, router()));
        let in_process = TestClient::new(router()).expect("a router");
        let mut client = Client::to(&service);
        for (length, expected) in [("12345", 200), ("0", 200), ("many", 500)] {
            let path = format!("/declared/by/{length}");
            client.send(format!(
                "HEAD {path} HTTP/1.1\r\nHost: t\r\n\r\nGET /next HTTP/1.1\r\nHost: t\r\n\r\n"
            ));
            assert_eq!(client.reply_to(true).status, expected, "{length}");
            assert_eq!(client.reply(), ok("next"), "behind {length}");
            let same = in_process.request(Method::Head, &path).send();
            let declared = same.header("content-length") == Some(length);
            assert_eq!((same.status().code(), declared), (expected, expected == 200), "{length}");
        }
    }

    fn of_a_reader_that_is_longer_than_its_length_only_that_much_is_sent(model) {
        let service = start(server(model).http(ANY, router()));
        let mut client = Client::to(&service);
        client.send("GET /longer HTTP/1.1\r\nHost: t\r\n\r\nGET /next HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.reply(), ok("xxxxx"));
        assert_eq!(client.reply(), ok("next"));
    }
}

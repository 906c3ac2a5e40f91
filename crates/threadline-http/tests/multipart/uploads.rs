//! What a handler gets of a form: fields, files, headers, content as text, bytes, reader or file.

use std::fs;
use std::io::{self, BufRead, Read, Seek};

use threadline_http::multipart::{Multipart, MultipartError};
use threadline_http::{Path, Request, Router, State};

use super::{DISPOSITION, client, client_of, form, list, part, post};

/// More than a service waits for before it calls the handler.
const LARGE: usize = 1_000_000;

#[test]
fn fields_come_in_their_order_and_may_have_the_same_name() {
    let body = form(&[("b", "2"), ("a", "ä\r\n"), ("b", ""), ("", "x")]);
    assert_eq!(post(&client(list), body).text(), "b=2;a=ä\r\n;b=;=x;");
    assert_eq!(post(&client(list), "--b--").text(), "", "a form without fields");
}

#[test]
fn a_form_as_browsers_send_it() {
    let body = "------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"title\"\r\n\r\nholidays\r\n\
        ------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"photo\"; filename=\"C:\\fake\\be\u{e4}ch.jpg\"\r\n\
        Content-Type: image/jpeg\r\n\r\n\u{1}\r\n--\r\n\r\n------WebKitFormBoundaryX--\r\n";
    let describe = |mut parts: Multipart<'_>| -> Result<String, MultipartError> {
        let mut all = String::new();
        while let Some(part) = parts.next_part()? {
            let (sent, safe) = (part.file_name(), part.safe_file_name());
            all.push_str(&format!("{} {sent:?} {safe:?} {:?}", part.name(), part.content_type()));
            all.push_str(&format!(
                " {:?} {} fields\n",
                part.headers().get("x"),
                part.headers().len()
            ));
            all.push_str(&format!("{:?}\n", part.text()?));
        }
        Ok(all)
    };
    let content_type = "multipart/form-data; boundary=----WebKitFormBoundaryX";
    let request = client(describe).post("/").header("content-type", content_type).body(body);
    assert_eq!(
        request.send().text(),
        "title None None None None 1 fields\n\"holidays\"\n\
         photo Some(\"C:\\\\fake\\\\beäch.jpg\") Some(\"beäch.jpg\") Some(\"image/jpeg\") None 2 fields\n\
         \"\\u{1}\\r\\n--\\r\\n\"\n"
    );
}

#[test]
fn what_a_handler_does_not_read_is_skipped() {
    let large = "x".repeat(LARGE);
    let body = form(&[("a", &large), ("b", "12345"), ("c", &large), ("d", "rest")]);
    let some = |mut parts: Multipart<'_>| -> Result<String, MultipartError> {
        assert_eq!(parts.next_part()?.expect("a").name(), "a");
        let mut read = [0; 2];
        let mut part = parts.next_part()?.expect("b");
        part.read_exact(&mut read)?;
        assert_eq!(&read, b"12");
        assert_eq!(part.bytes()?, b"345", "the rest");
        parts.next_part()?.expect("c").read_exact(&mut read)?;
        parts.next_part()?.expect("d").text()
    };
    assert_eq!(post(&client(some), body).text(), "rest");
}

#[test]
fn content_is_read_as_it_arrives_by_any_reader() {
    let text: String = (0..LARGE / 8).map(|number| format!("{number:6}\r\n")).collect();
    let count = |mut parts: Multipart<'_>| -> Result<String, MultipartError> {
        let mut part = parts.next_part()?.expect("a part");
        let first = part.by_ref().lines().next().expect("a line")?;
        let len = io::copy(&mut part, &mut io::sink())?;
        assert_eq!(part.read(&mut [0])?, 0, "the end stays");
        assert_eq!(parts.next_part()?.expect("another part").text()?, "x", "nothing is lost");
        assert!(parts.next_part()?.is_none());
        assert!(parts.next_part()?.is_none(), "the end stays");
        Ok(format!("{first:?} and {len} bytes"))
    };
    let expected = format!("\"     0\" and {} bytes", text.len() - 8);
    assert_eq!(post(&client(count), form(&[("a", &text), ("b", "x")])).text(), expected);
}

#[test]
fn parts_are_put_aside_in_memory_or_in_a_file_and_saved() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().to_owned();
    let store = move |mut parts: Multipart<'_>| -> Result<String, MultipartError> {
        let mut aside = Vec::new();
        while let Some(part) = parts.next_part()? {
            let path = target.join(part.safe_file_name().unwrap_or("unnamed"));
            aside.push((path, part.spool_in(&target)?));
        }
        let mut list = String::new();
        for (path, mut spooled) in aside {
            let in_memory = spooled.as_bytes().is_some();
            assert_eq!(spooled.path().is_none(), in_memory);
            assert_eq!(io::copy(&mut spooled, &mut io::sink())?, spooled.len());
            spooled.rewind()?;
            list.push_str(&format!("{} in memory: {in_memory}\n", spooled.len()));
            spooled.save_to(path)?;
        }
        Ok(list)
    };
    let file = |name: &str, content: &str| {
        format!("--b\r\n{DISPOSITION}f; filename=\"../../{name}\"\r\n\r\n{content}\r\n")
    };
    let large = "0123456789".repeat(LARGE / 10);
    let body = file("small", "1234") + &file("large", &large) + "--b--";
    let response = post(&client(store), body);
    assert_eq!(response.text(), "4 in memory: true\n1000000 in memory: false\n");
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).expect("saved");
    assert_eq!(read("small"), "1234");
    assert!(read("large") == large);
    let left = fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(left, 2, "temporary files are gone");
}

#[test]
fn it_is_the_last_parameter_behind_extractors_or_made_from_the_request() {
    fn behind(
        Path(album): Path<String>,
        State(shared): State<u8>,
        mut parts: Multipart<'_>,
    ) -> Result<String, MultipartError> {
        let name = parts.next_part()?.expect("a part").name().to_owned();
        Ok(format!("{album} {shared} {name}"))
    }
    fn from_request(request: &Request<'_>) -> Result<String, MultipartError> {
        let mut parts = Multipart::of(request)?;
        let name = parts.next_part()?.expect("a part").name().to_owned();
        Ok(format!("{} {name}", request.path()))
    }
    let router =
        Router::new().post("/behind/{album}", behind).post("/from", from_request).state(7_u8);
    let client = client_of(router);
    let send = |target: &str| {
        let content_type = "multipart/form-data; boundary=b";
        let body = form(&[("a", "")]);
        client.post(target).header("content-type", content_type).body(body).send()
    };
    assert_eq!(send("/behind/summer").text(), "summer 7 a");
    assert_eq!(send("/from").text(), "/from a");
    assert!(Router::new().post("/no-album", behind).state(7_u8).build().is_err());
    assert!(Router::new().post("/behind/{album}", behind).build().is_err(), "no state");
}

#[test]
fn a_chunked_body_is_as_good_as_any() {
    let head = "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
        Content-Type: multipart/form-data; boundary=b\r\n\r\n";
    let body = form(&[("a", "1"), ("b", "2")]);
    let chunk = |piece: &str| format!("{:x}\r\n{piece}\r\n", piece.len());
    for len in 1..body.len() {
        let (first, second) = body.split_at(len);
        let request = [head, &chunk(first), &chunk(second), "0\r\n\r\n"].concat();
        let response = client(list).raw(request);
        assert!(response.ends_with(b"\r\n\r\na=1;b=2;"), "{len}");
    }
}

#[test]
fn text_that_looks_like_a_boundary_is_content() {
    let content = "--b\r\n-b\r\n--a\r\n--\r\n\r--b\n--b";
    let content = content.replace("--b\r\n", "x--b\r\n");
    assert_eq!(post(&client(list), form(&[("a", &content)])).text(), format!("a={content};"));
    let nested = part("a", "--c\r\n\r\n--b is here\r\n--c--").replace("--b is", "-- b is");
    assert_eq!(post(&client(list), nested + "\r\n--b--").status().code(), 200);
}

//! What is wrong with a form gets its documented status, and a message that says what and where.

use threadline_http::multipart::{Multipart, MultipartError};

use super::{DISPOSITION, client, form, list, part, post};

/// Posts, and checks the status and that the message has this in it.
fn check(body: impl Into<Vec<u8>>, status: u16, message: &str) {
    let body = body.into();
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let response = post(&client(list), body);
    assert_eq!(response.status().code(), status, "{shown:?}: {response:?}");
    assert!(response.text().contains(message), "{shown:?}: {:?}", response.text());
}

#[test]
fn only_multipart_form_data_is_taken() {
    for content_type in
        ["multipart/mixed; boundary=b", "application/json", "multipart/form-data, a"]
    {
        let request = client(list).post("/").header("content-type", content_type);
        let response = request.body(form(&[])).send();
        assert_eq!(response.status().code(), 415, "{content_type}");
        assert_eq!(response.text(), "415 Unsupported Media Type: send multipart/form-data\n");
    }
    assert_eq!(client(list).post("/").body("--b--").send().status().code(), 415, "no type");
    let good = "multipart/form-data; boundary=b";
    let twice = client(list).post("/").header("content-type", good).header("content-type", good);
    assert!(twice.body("--b--").send().status().is_error());
}

#[test]
fn rfc2046_5_1_1_a_request_names_one_boundary() {
    let longest = "x".repeat(70);
    for (parameters, status) in [
        (format!("; boundary={longest}"), 200),
        (format!("; boundary=x{longest}"), 400),
        (String::new(), 400),
        ("; boundary=\"\"".to_owned(), 400),
        ("; boundary=\"b \"".to_owned(), 400),
        ("; boundary=b; boundary=b".to_owned(), 400),
        ("; boundary=b@c".to_owned(), 400),
        ("; boundary=\"b".to_owned(), 400),
    ] {
        let content_type = format!("multipart/form-data{parameters}");
        let request = client(list).post("/").header("content-type", &content_type);
        let response = request.body(format!("--{longest}--")).send();
        assert_eq!(response.status().code(), status, "{parameters}");
        assert_eq!(response.text().contains("boundary"), status == 400, "{parameters}");
    }
}

#[test]
fn a_body_without_its_final_boundary_is_refused() {
    for body in ["", "a", "--b", "--b\r\n", "--b\r\nX: 1\r\n", "--c--"] {
        check(body, 400, "before its final boundary");
    }
    check(part("a", "x"), 400, "before its final boundary");
    check(part("a", "x") + "\r\n--b-", 400, "before its final boundary");
    check(part("a", "x") + "\n--b--", 400, "lines must end in CRLF");
}

#[test]
fn a_boundary_is_alone_on_its_line() {
    for end in ["\r\n--bc", "\r\n--b c", "\r\n--b\n", "\r\n--b--c", "\r\n--b-c"] {
        check(part("a", "x") + end, 400, "a boundary must be followed by");
    }
    check(part("a", "x") + "\r\n--b \t\r\n" + &part("b", "y")[5..] + "\r\n--b-- \r\nmore", 200, "");
}

#[test]
fn rfc7578_4_2_a_part_is_form_data_with_a_name() {
    let with =
        |head: &str| form(&[("good", "")]).replace("--b--", &format!("--b\r\n{head}\r\n\r\n--b--"));
    check(with(""), 400, "part 2: content-disposition is missing");
    check(with("Content-Type: text/plain\r\n"), 400, "part 2: content-disposition is missing");
    check(with("Content-Disposition: form-data\r\n"), 400, "must have a name");
    check(with("Content-Disposition: attachment; name=a\r\n"), 400, "must be like `form-data");
    check(with(&format!("{DISPOSITION}a; name=a\r\n")), 400, "must be like `form-data");
    check(with(&format!("{DISPOSITION}\"a\r\n")), 400, "must be like `form-data");
    check(with(&format!("{DISPOSITION}a; filename*=utf-8''x\r\n")), 400, "send `filename`");
    check(with(&format!("{DISPOSITION}a; filename=y; filename*=utf-8''x\r\n")), 400, "differ");
}

#[test]
fn header_fields_are_strict() {
    let with = |line: &[u8]| {
        [b"--b\r\n", line, b"\r\n", &part("a", "").as_bytes()[5..], b"\r\n--b--"].concat()
    };
    check(with(b"X-Other: 1"), 200, "a=;");
    for line in [
        &b"X"[..],
        b"X : 1",
        b" X: 1",
        b": 1",
        b"X: 1\n",
        b"X: 1\nY: 2",
        b"X: 1\r",
        b"X: \0",
        b"X: \x1b[2J",
        b"X: \x7f",
        b"X: \xff",
        b"X: 1\r\n folded",
    ] {
        check(with(line), 400, "part 1: a line of its header is not");
    }
    check(with(b"X: 1\r\nx: 2"), 400, "part 1: a header field is there twice");
    check(with(DISPOSITION.replace("name=", "name=b").as_bytes()), 400, "there twice");
    check(with(b"Content-Transfer-Encoding: base64"), 400, "send the content as it is");
    check(with(b"Content-Transfer-Encoding: Binary"), 200, "a=;");
}

#[test]
fn text_is_utf_8() {
    let body = [part("bio", "").as_bytes(), b"\xff\r\n--b--"].concat();
    check(body.clone(), 400, "part `bio`: it must be text in UTF-8");
    let bytes = |mut parts: Multipart<'_>| -> Result<Vec<u8>, MultipartError> {
        parts.next_part()?.expect("a part").bytes()
    };
    assert_eq!(post(&client(bytes), body).bytes(), b"\xff");
}

#[test]
fn a_name_in_a_message_is_short_and_clean() {
    let name = format!("\u{202e}{}", "x".repeat(100));
    let body = [part(&name, "").as_bytes(), b"\xff\r\n--b--"].concat();
    check(body, 400, &format!("part `\\u{{202e}}{}...`: it must", "x".repeat(63)));
}

#[test]
fn an_error_is_not_got_over() {
    let stubborn = |mut parts: Multipart<'_>| -> Result<String, MultipartError> {
        let first = parts.next_part().expect_err("a bad part").to_string();
        let again = parts.next_part().expect_err("a bad part").to_string();
        assert_eq!(first, again);
        Ok(again)
    };
    let body = "--b\r\nX\r\n\r\n\r\n".to_owned() + &form(&[("a", "")]);
    let response = post(&client(stubborn), body);
    assert_eq!(response.text(), "part 1: a line of its header is not `Name: value` in UTF-8");
}

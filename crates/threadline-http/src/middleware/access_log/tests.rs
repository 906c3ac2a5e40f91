//! What is logged, in each format, and when.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use super::*;
use crate::middleware::testing::{Stack, request};
use crate::middleware::{Principal, RequestIds};
use crate::{Body, IntoResponse};

/// A writer whose lines a test can see.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().expect("sound"))).expect("UTF-8")
    }
}

impl Write for Lines {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("sound").write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(format: LogFormat) -> (AccessLog, Lines) {
    let lines = Lines::default();
    (AccessLog::to(lines.clone(), format), lines)
}

/// The line of a request, with its time replaced by `TIME`.
fn line_of(log: AccessLog, lines: &Lines, input: &[u8]) -> String {
    let hello = |_: &Request<'_>| "hello".into_response();
    drop(Stack::of(log).run(input, hello));
    let line = lines.take();
    match (line.find('['), line.find(']')) {
        (Some(start), Some(end)) => format!("{}TIME{}", &line[..=start], &line[end..]),
        _ => line,
    }
}

const FIELDS: &str = "Referer: http://a/\r\nUser-Agent: curl/8 \"x\"\r\n";

#[test]
fn a_common_line() {
    let (log, lines) = log(LogFormat::Common);
    let line = line_of(log, &lines, &request("GET /a?b=c", FIELDS));
    assert_eq!(line, "192.0.2.7 - - [TIME] \"GET /a?b=c HTTP/1.1\" 200 5\n");
}

#[test]
fn a_combined_line_and_its_duration() {
    let (log, lines) = log(LogFormat::Combined);
    let line = line_of(log.with_duration(), &lines, &request("GET /a", FIELDS));
    let (line, duration) = line.rsplit_once(' ').expect("a duration");
    let combined =
        "192.0.2.7 - - [TIME] \"GET /a HTTP/1.1\" 200 5 \"http://a/\" \"curl/8 \\x22x\\x22\"";
    assert_eq!(line, combined);
    assert!(duration.trim_end().parse::<u64>().is_ok(), "{duration}");
}

#[test]
fn the_time_is_written_as_everywhere() {
    let (log, lines) = log(LogFormat::Common);
    drop(Stack::of(log).run(request("GET /", ""), |_| ""));
    let line = lines.take();
    let time = &line[line.find('[').expect("a time") + 1..line.find(']').expect("its end")];
    assert_eq!(time.len(), "10/Oct/2000:13:55:36 +0000".len(), "{time}");
    assert!(time.ends_with(" +0000") && time[2..3] == *"/" && time[6..7] == *"/", "{time}");
}

#[test]
fn a_json_line_has_all_that_is_known() {
    let (log, lines) = log(LogFormat::Json);
    let authenticated = |request: &Request<'_>, next: Next<'_>| {
        request.extensions().insert(Principal::new("al \"ice"));
        next.run(request)
    };
    let stack = Stack::of(authenticated).around(log).around(RequestIds::new().from_client());
    let input = request("GET /a?b", &format!("{FIELDS}X-Request-Id: 7\r\n"));
    drop(stack.run(input, |_| "hello"));
    let line = lines.take();
    assert!(line.starts_with("{\"time\":\"2") && line.ends_with("}\n"), "{line}");
    for member in [
        r#""peer":"192.0.2.7""#,
        r#""user":"al \"ice""#,
        r#""method":"GET""#,
        r#""path":"/a""#,
        r#""query":"b""#,
        r#""version":"HTTP/1.1""#,
        r#""route":"GET /test""#,
        r#""status":200"#,
        r#""bytes":5"#,
        r#""duration_us":"#,
        r#""referer":"http://a/""#,
        r#""user_agent":"curl/8 \"x\"""#,
        r#""request_id":"7""#,
    ] {
        assert!(line.contains(member), "{member} in {line}");
    }
}

#[test]
fn a_query_can_be_left_out() {
    for format in [LogFormat::Common, LogFormat::Json] {
        let (log, lines) = log(format);
        let line = line_of(log.without_query(), &lines, &request("GET /a?secret", ""));
        assert!(line.contains("/a") && !line.contains("secret"), "{line}");
    }
}

#[test]
fn a_client_cannot_write_a_second_line() {
    let (log, lines) = log(LogFormat::Combined);
    let input = b"GET /%0d%0a HTTP/1.1\r\nHost: x\r\nUser-Agent: a\tb\xff\r\n\r\n";
    let line = line_of(log, &lines, input);
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.contains("\"a\\x09b\\xef\\xbf\\xbd\""), "{line}");
}

#[test]
fn what_is_streamed_is_logged_behind_its_end() {
    let (log, lines) = log(LogFormat::Common);
    let stack = Stack::of(log);
    let streamed = |_: &Request<'_>| {
        Response::new(Status::OK).with_body(Body::chunks([vec![1; 7], vec![2; 3]]))
    };
    let response = stack.run(request("GET /", ""), streamed);
    assert_eq!(lines.take(), "");
    assert_eq!(response.into_body().into_bytes().expect("read").len(), 10);
    assert!(lines.take().ends_with("200 10\n"));
    // The client went away: what it got.
    let mut reader =
        stack.run(request("GET /", ""), streamed).into_body().into_reader().expect("a reader");
    let mut buffer = [0; 7];
    assert_eq!(io::Read::read(&mut reader, &mut buffer).expect("read"), 7);
    drop(reader);
    assert!(lines.take().ends_with("200 7\n"));
}

#[test]
fn content_that_is_not_sent_is_not_counted() {
    let (log, lines) = log(LogFormat::Common);
    let line = line_of(log, &lines, &request("HEAD /", ""));
    assert!(line.ends_with("\"HEAD / HTTP/1.1\" 200 -\n"), "{line}");
}

#[test]
fn a_panic_is_logged_as_the_response_that_is_made_of_it() {
    let (log, lines) = log(LogFormat::Common);
    let stack = Stack::of(log);
    let response = stack.run(request("GET /", ""), |_| -> Response { panic!("on purpose") });
    let len = response.body().len().expect("known");
    assert!(len > 0 && lines.take().ends_with(&format!("\" 500 {len}\n")));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Panics when it is written to.
struct Fails;

impl Write for Fails {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        std::panic::panic_any(Bomb)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_panics_leaves_the_response_to_a_panic_as_it_was() {
    let stack = Stack::of(AccessLog::to(Fails, LogFormat::Common));
    let throw = |_: &Request<'_>| -> Response { std::panic::panic_any(Bomb) };
    let response = stack.run(request("GET /", ""), throw);
    assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_writer_that_panics_costs_a_line_and_not_the_response() {
    let before = log::lost_lines();
    let stack = Stack::of(AccessLog::to(Fails, LogFormat::Common));
    for _ in 0..2 {
        let response = stack.run(request("GET /", ""), |_| "fine");
        assert_eq!(response.body().as_bytes(), Some(&b"fine"[..]));
    }
    assert!(log::lost_lines() >= before + 2);
}

/// The line of a streamed response is written when the response is dropped, perhaps while a panic unwinds:
/// a second one would abort the process.
#[test]
fn a_writer_that_panics_while_a_panic_unwinds_does_not_end_the_process() {
    let stack = Stack::of(AccessLog::to(Fails, LogFormat::Common));
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let streamed =
            |_: &Request<'_>| Response::new(Status::OK).with_body(Body::chunks([vec![1; 7]]));
        let _response = stack.run(request("GET /", ""), streamed);
        panic!("as asked");
    }));
    assert!(unwound.is_err());
}

/// Fails, and counts how often.
struct Full(Arc<Mutex<u32>>);

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        *self.0.lock().expect("sound") += 1;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_cannot_be_written_harms_no_request() {
    let (attempts, lost) = (Arc::default(), log::lost_lines());
    let stack = Stack::of(AccessLog::to(Full(Arc::clone(&attempts)), LogFormat::Json));
    for _ in 0..2 {
        assert_eq!(stack.run(request("GET /", ""), |_| "fine").status(), Status::OK);
    }
    assert_eq!(*attempts.lock().expect("sound"), 2);
    assert!(log::lost_lines() - lost >= 2);
}

#[test]
fn without_a_writer_it_is_an_event() {
    let response = Stack::of(AccessLog::new()).run(request("GET /", ""), |_| "fine");
    assert_eq!(response.status(), Status::OK);
}

/// Waits in every write until the test lets it go on.
struct Stuck(std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<String>);

impl Write for Stuck {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        let _ = self.1.send(String::from_utf8_lossy(buffer).into_owned());
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_loop_thread_refuses_is_logged_without_waiting_for_the_writer() {
    use std::sync::mpsc::channel;
    use threadline_engine::protocol::{Protocol, Refusal};
    let (go_on, waits) = channel();
    let (tell, lines) = channel();
    let log = AccessLog::to(Stuck(waits, tell), LogFormat::Common).refused_lines_max(2);
    let router = crate::Router::new().get("/", || "front").layer(log);
    let service = router.build().expect("routes");
    // The writer has not written any of these when the last is refused.
    for number in 0..20 {
        let input = format!("GET /?{number} HTTP/1.1\r\nHost: x\r\n\r\n");
        service.refuse(Refusal::Overloaded, input.as_bytes(), &mut Vec::new());
    }
    drop((go_on, service));
    let written: Vec<_> = lines.iter().collect();
    // One in the writer's hands, if it got there in time, and those that may wait.
    assert!((2..=3).contains(&written.len()), "{written:?}");
    assert!(written[0].contains("\"GET /?0 HTTP/1.1\" 503 "), "{}", written[0]);
}

#[test]
fn of_a_malformed_request_its_first_line_is_logged() {
    for (input, expected) in [
        (&b"GET /a?b HTTP/3.0\r\n\r\n"[..], "\"GET /a HTTP/1.1\" 505 "),
        (b"GET /a?b HTTP/1.0\r\nbad name: x\r\n\r\n", "\"GET /a HTTP/1.0\" 400 "),
        (b"\x16\x03\x01?secret\r\n\r\n", "\"- "),
        (b"a\"b c\"\n\n", "\"a\\x22b c\\x22 HTTP/1.1\" 400 "),
    ] {
        let (log, lines) = log(LogFormat::Common);
        let router = crate::Router::new().get("/", || "front").layer(log.without_query());
        let client = crate::testing::TestClient::new(router).expect("routes");
        let reply = client.raw(input);
        assert!(reply.starts_with(b"HTTP/1.1 "), "{reply:?}");
        let line = lines.take();
        assert!(line.starts_with("127.0.0.1 - - [") && line.contains(expected), "{line}");
        assert_eq!((line.lines().count(), line.contains("secret")), (1, false), "{line}");
    }
}

//! What the engine has the service say when it gives up on a client.

use super::*;

#[test]
fn overload_refuses_one_message_and_goes_on() {
    let (service, mut out) = (service(), Vec::new());
    let whole = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET";
    let after = service.refuse(Refusal::Overloaded, whole.as_bytes(), &mut out);
    assert_eq!(after, AfterRefusal::Continue { consumed: whole.len() - 3 });
    let text = undated(&out);
    assert_eq!(status_of(&text), "503");
    assert!(text.contains("retry-after: 1\r\n") && !text.contains("connection:"), "{text}");

    for input in ["", "GET /", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"] {
        let mut out = Vec::new();
        let after = service.refuse(Refusal::Overloaded, input.as_bytes(), &mut out);
        assert_eq!(after, AfterRefusal::Close);
        assert!(undated(&out).contains("connection: close\r\n"));
    }
}

#[test]
fn rfc9110_15_5_9_only_a_begun_request_gets_a_408() {
    let refuse = |why, input: &str| {
        let mut out = Vec::new();
        assert_eq!(service().refuse(why, input.as_bytes(), &mut out), AfterRefusal::Close);
        undated(&out)
    };
    for input in ["", "\r\n"] {
        assert_eq!(refuse(Refusal::TimedOut(Phase::Head), input), "");
    }
    assert_eq!(status_of(&refuse(Refusal::TimedOut(Phase::Head), "GET / HT")), "408");
    assert_eq!(status_of(&refuse(Refusal::TimedOut(Phase::Body), "POST / HT")), "408");
    let many = refuse(Refusal::TooManyConnections, "");
    assert_eq!(status_of(&many), "503");
    assert!(many.contains("connection: close\r\n"));
}

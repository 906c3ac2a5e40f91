//! Clients that mean well: curl, ab, wrk, a browser.

use std::fs;

use super::{big, installed, run, said, service};

#[test]
fn curl_in_both_versions_and_on_one_connection() {
    let Some(curl) = installed("curl") else { return };
    let service = service();
    let url = service.server.url("/version");
    let get = |flag| said(&run(&curl, &["-sS", flag, &url]));
    assert_eq!((&*get("--http1.0"), &*get("--http1.1")), ("Http10", "Http11"));

    let hello = service.server.url("/hello");
    let format = "%{num_connects} %{http_code};";
    let twice = said(&run(&curl, &["-sS", "-w", format, &hello, &hello]));
    assert_eq!(twice, "hello\n1 200;hello\n0 200;", "the second goes over the same connection");

    let head = said(&run(&curl, &["-sSI", &hello])).to_lowercase();
    assert!(
        head.starts_with("http/1.1 200 ok") && head.contains("content-length: 6\r\n"),
        "{head}"
    );
}

#[test]
fn curl_uploads_with_a_length_in_chunks_and_after_asking() {
    let Some(curl) = installed("curl") else { return };
    let service = service();
    let file = service.directory.path().join("big");
    let (url, file) = (service.server.url("/count"), file.to_str().expect("text"));
    assert_eq!(said(&run(&curl, &["-sS", "-T", file, &url])), "100000");
    let chunked = ["-sS", "-H", "transfer-encoding: chunked", "-T", file, &url];
    assert_eq!(said(&run(&curl, &chunked)), "100000");
    let data = format!("@{file}");
    let asking = run(&curl, &["-sSv", "-H", "expect: 100-continue", "--data-binary", &data, &url]);
    assert_eq!(said(&asking), "100000");
    let log = String::from_utf8_lossy(&asking.stderr);
    assert!(log.contains("< HTTP/1.1 100 Continue"), "{log}");
}

#[test]
fn curl_gets_ranges_and_resumes() {
    let Some(curl) = installed("curl") else { return };
    let service = service();
    let url = service.server.url("/files/big");
    let part = run(&curl, &["-sS", "-r", "99990-", &url]);
    assert_eq!(said(&part).as_bytes(), &big()[99_990..]);
    // The first half is there already.
    let target = service.directory.path().join("resumed");
    fs::write(&target, &big()[..50_000]).expect("a file");
    let path = target.to_str().expect("text");
    said(&run(&curl, &["-sS", "-C", "-", "-o", path, &url]));
    assert!(fs::read(&target).expect("the file") == big());
    // What has not changed is not sent again.
    let etag = said(&run(&curl, &["-sSI", &url]));
    let etag = etag.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag").trim();
    let field = format!("if-none-match: {etag}");
    let again = said(&run(&curl, &["-sS", "-w", "%{http_code}", "-H", &field, &url]));
    assert_eq!(again, "304");
}

#[test]
fn ab_keeps_its_connections_and_loses_nothing() {
    let Some(ab) = installed("ab") else { return };
    let service = service();
    for keep_alive in [&["-k"][..], &[]] {
        let url = service.server.url("/hello");
        let report = said(&run(&ab, &[keep_alive, &["-n", "3000", "-c", "32", &url]].concat()));
        assert!(report.contains("Complete requests:      3000"), "{report}");
        assert!(report.contains("Failed requests:        0"), "{report}");
    }
}

#[test]
fn wrk_sees_no_error() {
    let Some(wrk) = installed("wrk") else { return };
    let service = service();
    let url = service.server.url("/hello");
    let report = said(&run(&wrk, &["-t1", "-c50", "-d1s", &url]));
    assert!(report.contains("requests in"), "{report}");
    let is_clean = !report.contains("Non-2xx") && !report.contains("Socket errors");
    assert!(is_clean, "{report}");
}

#[test]
fn a_browser_loads_a_page_and_its_script() {
    let Some(browser) = installed("chromium") else { return };
    let service = service();
    let profile = format!("--user-data-dir={}", service.directory.path().join("profile").display());
    let url = service.server.url("/files/");
    let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
    let page = said(&run(&browser, &[&flags[..], &[&profile, "--dump-dom", &url]].concat()));
    assert!(page.contains("run by the browser"), "{page}");
}

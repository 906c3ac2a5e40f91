//! Another version of a file never looks like the one before, whatever date it has.

use std::fs::{self, File};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use threadline_http::Status;
use threadline_http::testing::{TestClient, TestResponse};

use crate::{Tree, client, get, set_age};

/// Dates that builds give to all files of all versions, and one that `cp -p` has kept.
fn dates() -> [SystemTime; 9] {
    let after = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    [
        UNIX_EPOCH - Duration::from_secs(86_400),
        UNIX_EPOCH,
        after(1),
        after(315_532_800),
        after(499_162_500),
        after(1_153_704_088),
        after(1_600_000_000),
        after(4_000_000_000),
        after(300_000_000_000),
    ]
}

/// A file that may be hashed, and one that is too long for it.
const PATHS: [&str; 2] = ["/short", "/long"];

struct Site {
    tree: Tree,
    client: TestClient,
}

impl Site {
    fn of(version: char, date: SystemTime) -> Site {
        let tree = Tree::of(&[]);
        let client = client(tree.files().hashed_len_max(100));
        let site = Site { tree, client };
        site.release(version, date);
        site
    }

    /// A version of the same lengths and dates as every other.
    fn release(&self, version: char, date: SystemTime) {
        for (path, len) in [("short", 10), ("long", 1000)] {
            self.tree.write(path, &version.to_string().repeat(len));
            set_age(&self.tree.path(path), date);
        }
    }

    fn ask(&self, path: &str, fields: &[(&str, &str)]) -> TestResponse {
        let request = self.client.get(path);
        fields.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
    }
}

/// The tag of a file, once the kernel's date of it can be relied on.
fn tag_of_settled(client: &TestClient, path: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let response = get(client, path);
        match response.header("etag") {
            Some(etag) if etag.starts_with('"') => return etag.to_owned(),
            _ => assert!(Instant::now() < deadline, "never settled: {response:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_version_with_the_date_and_length_of_the_one_before_is_another() {
    for date in dates() {
        let site = Site::of('a', date);
        let before = PATHS.map(|path| get(&site.client, path));
        site.release('b', date);
        for (path, before) in PATHS.into_iter().zip(before) {
            // Long ones have none yet.
            let Some(old) = before.header("etag") else {
                assert_eq!(path, "/long");
                continue;
            };
            assert_ne!(get(&site.client, path).header("etag"), Some(old), "{path} {date:?}");
            // Neither kept for the old one, nor mixed with it.
            let opaque = old.trim_start_matches("W/");
            for known in [old, opaque] {
                let again = site.ask(path, &[("if-none-match", known)]);
                assert_eq!(again.status(), Status::OK, "{path} {date:?}");
                let part = site.ask(path, &[("range", "bytes=0-1"), ("if-range", known)]);
                assert_eq!(part.status(), Status::OK, "{path} {date:?}");
                assert_eq!(part.bytes().len(), before.bytes().len());
            }
        }
    }
}

#[test]
fn dates_that_cannot_be_those_of_the_content_are_left_out() {
    for date in dates() {
        let site = Site::of('a', date);
        // File systems differ in the dates that they can keep.
        let date = fs::metadata(site.tree.path("short")).and_then(|file| file.modified());
        let date = date.expect("a date");
        let seconds = date.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_said = (631_152_001..=253_402_300_799).contains(&seconds);
        for path in PATHS {
            let response = get(&site.client, path);
            let modified = response.header("last-modified");
            assert_eq!(modified.is_some(), is_said, "{path} {date:?}: {modified:?}");
            // Without a date of ours, one of theirs means nothing (RFC 9110 §13.1.3).
            if !is_said {
                for since in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
                    let fields = [("if-modified-since", since)];
                    assert_eq!(site.ask(path, &fields).status(), Status::OK, "{path} {date:?}");
                    let fields = [("if-unmodified-since", since)];
                    assert_eq!(site.ask(path, &fields).status(), Status::OK, "{path} {date:?}");
                    let fields = [("if-range", since), ("range", "bytes=0-0")];
                    assert_eq!(site.ask(path, &fields).status(), Status::OK, "{path} {date:?}");
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_replaced_or_written_over_is_another_version() {
    for date in [UNIX_EPOCH] {
        let site = Site::of('a', date);
        let etag = || PATHS.map(|path| tag_of_settled(&site.client, path));
        let mut seen = vec![etag()];
        // Renamed over it, as deployments do.
        for path in PATHS {
            let name = path.trim_start_matches('/');
            let content =
                fs::read_to_string(site.tree.path(name)).expect("a file").replace('a', "b");
            site.tree.write("next", &content);
            set_age(&site.tree.path("next"), date);
            fs::rename(site.tree.path("next"), site.tree.path(name)).expect("renamed");
        }
        seen.push(etag());
        // One byte in the middle, in place.
        for path in PATHS {
            use std::os::unix::fs::FileExt;
            let path = site.tree.path(path.trim_start_matches('/'));
            let file = File::options().write(true).open(&path).expect("a file");
            file.write_all_at(b"c", 5).expect("written");
            set_age(&path, date);
        }
        seen.push(etag());
        for (path, at) in PATHS.into_iter().zip(0..) {
            assert!(seen[0][at] != seen[1][at] && seen[1][at] != seen[2][at], "{path}: {seen:?}");
        }
    }
}

#[test]
fn the_same_content_has_the_same_tag_on_every_machine() {
    let tag = |date| {
        let site = Site::of('a', date);
        get(&site.client, "/short").header("etag").map(str::to_owned)
    };
    let [first, second] = [1, 1_600_000_000].map(|at| tag(UNIX_EPOCH + Duration::from_secs(at)));
    assert!(first.is_some());
    assert_eq!(first, second);
}

#[test]
fn parts_of_a_file_that_may_still_change_cannot_be_put_together() {
    let site = Site::of('a', SystemTime::now());
    for path in PATHS {
        let whole = get(&site.client, path);
        let etag = whole.header("etag");
        assert_eq!(etag.is_some_and(|etag| etag.starts_with("W/")), path == "/short", "{whole:?}");
        assert!(path == "/short" || etag.is_none(), "{whole:?}");
        let date = whole.header("last-modified").expect("a date");
        let tag = etag.unwrap_or("\"x\"");
        for known in [date, tag, tag.trim_start_matches("W/")] {
            let part = site.ask(path, &[("range", "bytes=0-1"), ("if-range", known)]);
            assert_eq!(
                (part.status(), part.bytes()),
                (Status::OK, whole.bytes()),
                "{path} {known}"
            );
        }
        let part = site.ask(path, &[("range", "bytes=0-1")]);
        assert_eq!(part.status(), Status::PARTIAL_CONTENT, "{path}");
        assert!(!part.header("etag").is_some_and(|etag| etag.starts_with('"')), "{part:?}");
    }
}

#[test]
fn more_files_than_are_remembered_have_their_tags_too() {
    let tree = Tree::of(&[("a", "one"), ("b", "two"), ("c", "three")]);
    let client = client(tree.files().hashes_max(1));
    let tags =
        || ["/a", "/b", "/c"].map(|path| get(&client, path).header("etag").map(str::to_owned));
    let first = tags();
    assert!(first.iter().all(Option::is_some));
    assert_eq!(first, tags());
}

#[test]
fn listings_leave_out_dates_that_cannot_be_said() {
    let tree = Tree::of(&[("old", ""), ("new", "")]);
    set_age(&tree.path("old"), UNIX_EPOCH - Duration::from_secs(9));
    std::os::unix::fs::symlink("old", tree.path("link")).expect("a link");
    let client = client(tree.files().listing());
    let list = client.get("/").header("accept", "application/json").send();
    assert_eq!(list.text().matches("modified").count(), 1, "{list:?}");
    assert_eq!(list.text().matches("1994").count(), 1, "{list:?}");
}

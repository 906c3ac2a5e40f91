//! What is in a directory, for people and for programs.
//!
//! Written by the sources as [`Entry`]s, sorted and shown here. Names are whatever somebody has called
//! a file: every one of them is escaped for where it stands, and the page may run no script.

use std::cmp::Ordering;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Found;
use super::resolve::encode;
use crate::date;
use crate::response::Response;
use crate::weights::weight;
use crate::{Request, Status};

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_directory: bool,
    /// In bytes; means nothing for a directory.
    pub(super) len: u64,
    pub(super) modified: Option<SystemTime>,
}

impl Entry {
    /// What a symbolic link leads to, under the link's name.
    pub(super) fn of(name: &str, found: &Found) -> Self {
        let (is_directory, len, modified) = match found {
            Found::File(asset) => {
                (false, asset.len, asset.modified().and_then(|time| time_of(time.seconds)))
            }
            Found::Directory => (true, 0, None),
        };
        Entry { name: name.to_owned(), is_directory, len, modified }
    }

    /// Directories first, then by name.
    fn order(&self, other: &Entry) -> Ordering {
        other.is_directory.cmp(&self.is_directory).then_with(|| self.name.cmp(&other.name))
    }
}

/// A time as files have it: `None` before 1970 and after 9999, which a date of HTTP cannot say.
pub(super) fn time_of(seconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds <= date::LAST_SECOND)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The listing of the directory at `path` below the root: a page, or JSON for a client that would
/// rather have that.
pub(super) fn respond(request: &Request<'_>, path: &str, mut entries: Vec<Entry>) -> Response {
    entries.sort_unstable_by(Entry::order);
    let weight = |names: &[&str]| weight(request.headers(), "accept", names);
    let wants_json = weight(&["application/json", "application/*"]).unwrap_or(0);
    let wants_html = weight(&["text/html", "text/*"]).unwrap_or(0);
    let response = Response::new(Status::OK)
        .with_header("vary", "accept")
        .with_header("cache-control", "no-cache")
        .with_header("x-content-type-options", "nosniff");
    if wants_json > wants_html {
        return response.with_content_type("application/json").with_body(json(&entries));
    }
    response
        .with_content_type("text/html; charset=utf-8")
        .with_header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
        .with_body(html(path, &entries))
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;\
padding:0 1rem}table{border-collapse:collapse;width:100%}th,td{padding:.2rem .8rem .2rem 0;text-align:\
left}td+td,th+th{white-space:nowrap}td:nth-child(2),th:nth-child(2){text-align:right}";

// Writing to a String cannot fail.
fn html(path: &str, entries: &[Entry]) -> String {
    let title = if path.is_empty() { "/".to_owned() } else { format!("/{}/", escape(path)) };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n\
         <table>\n<tr><th>Name<th>Bytes<th>Changed\n"
    );
    if !path.is_empty() {
        page.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    for entry in entries {
        let (slash, len) =
            if entry.is_directory { ("/", String::new()) } else { ("", entry.len.to_string()) };
        let (link, name) = (encode(&entry.name), escape(&entry.name));
        let date = entry.modified.map(date::text).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><td><a href=\"{link}{slash}\">{name}{slash}</a><td>{len}<td>{date}"
        );
    }
    page.push_str("</table>\n</html>\n");
    page
}

fn json(entries: &[Entry]) -> String {
    let mut text = String::from("[");
    for (index, entry) in entries.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\n  {{\"name\": {}", quoted(&entry.name));
        let _ = match entry.is_directory {
            true => write!(text, ", \"type\": \"directory\""),
            false => write!(text, ", \"type\": \"file\", \"bytes\": {}", entry.len),
        };
        if let Some(modified) = entry.modified {
            let _ = write!(text, ", \"modified\": \"{}\"", date::text(modified));
        }
        text.push('}');
    }
    text.push_str("\n]\n");
    text
}

/// Text as it stands in HTML, between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A JSON string (RFC 8259 §7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, is_directory: bool) -> Entry {
        Entry { name: name.to_owned(), is_directory, len: 7, modified: None }
    }

    #[test]
    fn directories_come_first_and_names_are_sorted() {
        let mut entries =
            [entry("b", false), entry("z", true), entry("a", false), entry("y", true)];
        entries.sort_unstable_by(Entry::order);
        assert_eq!(entries.map(|entry| entry.name), ["y", "z", "a", "b"]);
    }

    #[test]
    fn names_are_escaped_in_html() {
        let page = html("<i>", &[entry("<b>\"&'.txt", false), entry("javascript:x", true)]);
        assert!(page.contains("<title>/&lt;i&gt;/</title>"), "{page}");
        let link = "<a href=\"%3Cb%3E%22%26%27.txt\">&lt;b&gt;&quot;&amp;&#39;.txt</a><td>7";
        assert!(page.contains(link), "{page}");
        assert!(page.contains("<a href=\"javascript%3Ax/\">javascript:x/</a><td><td>"), "{page}");
    }

    #[test]
    fn the_root_has_no_way_up() {
        assert!(!html("", &[]).contains("../"));
        assert!(html("a", &[]).contains("href=\"../\""));
    }

    #[test]
    fn names_are_escaped_in_json() {
        let entries = [
            entry("d", true),
            Entry { modified: time_of(784_111_777), ..entry("\"\\\u{1}ä", false) },
        ];
        assert_eq!(
            json(&entries),
            "[\n  {\"name\": \"d\", \"type\": \"directory\"},\n  \
             {\"name\": \"\\\"\\\\\\u0001ä\", \"type\": \"file\", \"bytes\": 7, \
             \"modified\": \"Sun, 06 Nov 1994 08:49:37 GMT\"}\n]\n"
        );
        assert_eq!(json(&[]), "[\n]\n");
    }

    #[test]
    fn times_that_no_date_can_say_are_left_out() {
        for seconds in [i64::MIN, -1, 253_402_300_800, i64::MAX] {
            assert_eq!(time_of(seconds), None, "{seconds}");
        }
        assert_eq!(time_of(0), Some(UNIX_EPOCH));
        let last = time_of(253_402_300_799).map(date::text);
        assert_eq!(last.as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
    }
}

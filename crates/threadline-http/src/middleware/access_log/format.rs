//! How an entry of the access log is written: as text, as JSON, as an event.
//!
//! Clients choose most of what stands here: it is escaped, so that a line stays one line and a field
//! stays one field.

use std::fmt::{Display, Write};

use crate::date;
use crate::middleware::LogFormat;
use crate::middleware::access_log::entry::Entry;
use crate::middleware::access_log::{Duration, Layout};

/// One line with its end.
pub(super) fn line(entry: &Entry<'_>, layout: Layout) -> String {
    let mut line = String::with_capacity(256);
    match layout.format {
        LogFormat::Common => common(&mut line, entry),
        LogFormat::Combined => {
            common(&mut line, entry);
            for field in [&entry.referer, &entry.user_agent] {
                line.push_str(" \"");
                escape(&mut line, field.as_deref().unwrap_or("-"));
                line.push('"');
            }
        }
        LogFormat::Json => json(&mut line, entry),
    }
    if layout.format != LogFormat::Json && layout.duration == Duration::Microseconds {
        push(&mut line, format_args!(" {}", entry.duration_us()));
    }
    line.push('\n');
    line
}

/// As an event. Levels and targets are for the subscriber to choose from.
pub(super) fn event(entry: &Entry<'_>) {
    tracing::info!(
        target: "threadline::access",
        peer = entry.peer.map(tracing::field::display),
        user = entry.user.as_ref().map(tracing::field::display),
        method = &*entry.method,
        path = &*entry.path,
        query = entry.query.as_deref(),
        version = entry.version_name(),
        route = &*entry.route,
        status = entry.status.code(),
        bytes = entry.bytes,
        duration_us = entry.duration_us(),
        referer = entry.referer.as_deref(),
        user_agent = entry.user_agent.as_deref(),
        request_id = entry.request_id.as_ref().map(tracing::field::display),
    );
}

/// `host ident user [time] "request" status bytes`.
fn common(line: &mut String, entry: &Entry<'_>) {
    match entry.peer {
        Some(peer) => push(line, peer),
        None => line.push('-'),
    }
    line.push_str(" - ");
    match &entry.user {
        // Unquoted: a space in it would be one more field.
        Some(user) => escape(line, &user.name().replace(' ', "\\x20")),
        None => line.push('-'),
    }
    // `Sun, 06 Nov 1994 08:49:37 GMT`, of 29 bytes always.
    let date = date::text(entry.time);
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    push(line, format_args!(" [{day}/{month}/{year}:{time} +0000] \""));
    escape(line, &entry.method);
    line.push(' ');
    escape(line, &entry.path);
    if let Some(query) = &entry.query {
        line.push('?');
        escape(line, query);
    }
    push(line, format_args!(" {}\" {} ", entry.version_name(), entry.status.code()));
    match entry.bytes {
        Some(bytes) if bytes > 0 => push(line, bytes),
        _ => line.push('-'),
    }
}

fn json(line: &mut String, entry: &Entry<'_>) {
    line.push_str("{\"time\":\"");
    line.push_str(&timestamp(&date::text(entry.time)));
    line.push('"');
    let peer = entry.peer.map(|peer| peer.to_string());
    text(line, "peer", peer.as_deref());
    text(line, "user", entry.user.as_ref().map(|user| user.name()));
    text(line, "method", Some(&entry.method));
    text(line, "path", Some(&entry.path));
    text(line, "query", entry.query.as_deref());
    text(line, "version", Some(entry.version_name()));
    text(line, "route", Some(&entry.route));
    push(line, format_args!(",\"status\":{}", entry.status.code()));
    if let Some(bytes) = entry.bytes {
        push(line, format_args!(",\"bytes\":{bytes}"));
    }
    push(line, format_args!(",\"duration_us\":{}", entry.duration_us()));
    text(line, "referer", entry.referer.as_deref());
    text(line, "user_agent", entry.user_agent.as_deref());
    text(line, "request_id", entry.request_id.as_ref().map(|id| id.as_str()));
    line.push('}');
}

/// One member of an object, if there is something to say.
fn text(line: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    push(line, format_args!(",\"{name}\":\""));
    for character in value.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            // RFC 8259 §7, and DEL and C1, which a terminal would obey.
            control if control.is_control() => {
                push(line, format_args!("\\u{:04x}", control as u32))
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

/// As Apache and nginx do: a quote, a backslash and what is not printable ASCII become `\xhh`.
fn escape(line: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => push(line, format_args!("\\x{byte:02x}")),
            printable => line.push(char::from(printable)),
        }
    }
}

/// `1994-11-06T08:49:37Z` (RFC 3339) of an IMF-fixdate.
fn timestamp(date: &str) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(&date[8..11]).unwrap_or(0) / 3 + 1;
    format!("{}-{month:02}-{}T{}Z", &date[12..16], &date[5..7], &date[17..25])
}

/// Writing to a string cannot fail.
fn push(line: &mut String, value: impl Display) {
    let _ = write!(line, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_timestamps() {
        assert_eq!(timestamp("Sun, 06 Nov 1994 08:49:37 GMT"), "1994-11-06T08:49:37Z");
        assert_eq!(timestamp("Thu, 01 Jan 1970 00:00:00 GMT"), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let mut line = String::new();
        escape(&mut line, "a\"b\\c\r\n\x1b\u{7f}ä");
        assert_eq!(line, r"a\x22b\x5cc\x0d\x0a\x1b\x7f\xc3\xa4");
        let mut object = String::new();
        text(&mut object, "a", Some("\"\\\n\u{1b}\u{85}ä"));
        assert_eq!(object, r#","a":"\"\\\u000a\u001b\u0085ä""#);
    }
}

//! Reads the conformance cases: `*.txt` beside this file, one case per paragraph.
//!
//! Depends on nothing but std, so that a test of another crate can include it by `#[path]` and send the
//! same bytes through a socket. It refuses a file that it does not understand, by name and line: a case
//! that is skipped in silence would be worse than none. The format:
//!
//! ```text
//! # a remark; a case ends with an empty line
//! case: two chunks                      name, once in all files
//! clause: RFC 9112 §7.1                 what decides it
//! send: POST / HTTP/1.1\r\n             bytes for the server; several lines are joined
//! send-times: 3 A: b\r\n                the same so many times
//! accept: POST / HTTP/1.1               a request that a handler gets to see, with path and query
//! body: hello                           its content, if any; `body-times` as above
//! trailer: X-Sum: 5                     its trailer fields in order
//! continue: yes                         it waits for 100 Continue
//! then: next | close | wait             what the server does behind the last of them: takes another
//!                                       request; closes as that request asked; waits for more of one
//! reject: 400                           or that: refuses the next one with this status, and closes
//! ```
//!
//! In bytes, `\r \n \t \0 \\ \xHH` stand for what they do everywhere; all else is printable ASCII.

use std::fs;
use std::path::Path;

/// One conversation with a server, and what it must make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// `file:line` of its first line.
    pub(crate) place: String,
    pub(crate) name: String,
    pub(crate) clause: String,
    /// All that the client sends.
    pub(crate) input: Vec<u8>,
    pub(crate) expected: Outcome,
}

/// What a server makes of the bytes of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The requests that a handler gets to see, in order.
    pub(crate) messages: Vec<Message>,
    pub(crate) ending: Ending,
}

/// A whole request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    pub(crate) method: String,
    /// Path and query, or `host:port` for CONNECT.
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) expects_continue: bool,
    pub(crate) keep_alive: bool,
}

/// What becomes of the connection behind the last whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It takes another request.
    Next,
    /// It is closed since the last request asked for that; nothing behind that request is looked at.
    Close,
    /// A request has begun and is not whole.
    Wait,
    /// A request is refused with this status, and the connection closed.
    Reject(u16),
}

/// All cases of the `*.txt` files in a folder, in the order of their names.
///
/// # Errors
/// `file:line: what is wrong`.
pub(crate) fn load(folder: &Path) -> Result<Vec<Case>, String> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut cases: Vec<Case> = Vec::new();
    for path in paths {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        for case in parse(&file, &text)? {
            if let Some(twin) = cases.iter().find(|twin| twin.name == case.name) {
                return Err(format!(
                    "{}: the case of {} has the same name",
                    case.place, twin.place
                ));
            }
            cases.push(case);
        }
    }
    Ok(cases)
}

/// The cases in the text of one file.
///
/// # Errors
/// `file:line: what is wrong`.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let mut draft: Option<Draft> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{file}:{number}");
        if line.starts_with('#') {
            continue;
        }
        let parsed = match (line.is_empty(), draft.take()) {
            (true, None) => Ok(None),
            (true, Some(whole)) => whole.finish().map(|case| {
                cases.push(case);
                None
            }),
            (false, begun) => {
                begun.unwrap_or_else(|| Draft::new(place.clone())).line(line).map(Some)
            }
        };
        draft = parsed.map_err(|error| format!("{place}: {error}"))?;
    }
    if let Some(last) = draft {
        cases.push(last.finish().map_err(|error| format!("{file}: the last case: {error}"))?);
    }
    Ok(cases)
}

/// A case of which some lines have been read.
struct Draft {
    place: String,
    name: Option<String>,
    clause: Option<String>,
    input: Vec<u8>,
    messages: Vec<Message>,
    ending: Option<Ending>,
}

impl Draft {
    fn new(place: String) -> Self {
        let (input, messages) = (Vec::new(), Vec::new());
        Draft { place, name: None, clause: None, input, messages, ending: None }
    }

    fn line(mut self, line: &str) -> Result<Self, String> {
        let (key, value) = match line.split_once(": ") {
            Some(parts) => parts,
            None => return Err(format!("`{line}` is not of the form `key: value`")),
        };
        if value != value.trim() || value.is_empty() {
            return Err("no value, or space around it; write \\x20".to_owned());
        }
        if self.ending.is_some() {
            return Err(format!("`{key}` behind the end of the case"));
        }
        match key {
            "case" if self.name.is_none() => self.name = Some(value.to_owned()),
            "clause" if self.clause.is_none() => self.clause = Some(value.to_owned()),
            "send" if self.messages.is_empty() => self.input.extend(unescape(value)?),
            "send-times" if self.messages.is_empty() => self.input.extend(repeated(value)?),
            "accept" => self.messages.push(accepted(value)?),
            "body" => self.message()?.body.extend(unescape(value)?),
            "body-times" => self.message()?.body.extend(repeated(value)?),
            "continue" if value == "yes" => self.message()?.expects_continue = true,
            "trailer" => {
                let (name, value) = value.split_once(':').ok_or("a trailer is `name: value`")?;
                let value = unescape(value.trim_start())?;
                self.message()?.trailers.push((name.to_owned(), value));
            }
            "then" | "reject" => self.ending = Some(ending(key, value)?),
            _ => return Err(format!("`{key}` is not known, not here, or twice")),
        }
        Ok(self)
    }

    /// The request that the line is about.
    fn message(&mut self) -> Result<&mut Message, String> {
        self.messages.last_mut().ok_or_else(|| "there is no `accept` before this line".to_owned())
    }

    fn finish(mut self) -> Result<Case, String> {
        let name = self.name.ok_or("a case needs a name: `case: ...`")?;
        let clause = self.clause.ok_or("a case needs its clause: `clause: RFC 9112 §7.1`")?;
        let ending = self.ending.ok_or("a case ends with `then: ...` or `reject: ...`")?;
        if self.input.is_empty() {
            return Err("a case sends something: `send: ...`".to_owned());
        }
        let asks_for_close = match (self.messages.last_mut(), ending) {
            (Some(last), Ending::Close) => {
                last.keep_alive = false;
                true
            }
            (last, ending) => last.is_some() || !matches!(ending, Ending::Next | Ending::Close),
        };
        if !asks_for_close {
            return Err("`next` and `close` come behind an accepted request".to_owned());
        }
        let expected = Outcome { messages: self.messages, ending };
        Ok(Case { place: self.place, name, clause, input: self.input, expected })
    }
}

fn accepted(value: &str) -> Result<Message, String> {
    let [method, target, version] = value.split(' ').collect::<Vec<_>>()[..] else {
        return Err("an accepted request is `METHOD target HTTP/1.1`".to_owned());
    };
    let [method, target, version] = [method, target, version].map(str::to_owned);
    Ok(Message { method, target, version, keep_alive: true, ..Message::default() })
}

fn ending(key: &str, value: &str) -> Result<Ending, String> {
    match (key, value) {
        ("then", "next") => Ok(Ending::Next),
        ("then", "close") => Ok(Ending::Close),
        ("then", "wait") => Ok(Ending::Wait),
        ("reject", status) => match status.parse() {
            Ok(status @ 400..=599) => Ok(Ending::Reject(status)),
            _ => Err(format!("`{status}` is no status of an error")),
        },
        _ => Err(format!("`{value}` is not one of next, close, wait")),
    }
}

/// `3 text` is the text three times.
fn repeated(value: &str) -> Result<Vec<u8>, String> {
    let (count, text) = value.split_once(' ').ok_or("a count, a space and a text are needed")?;
    let count = count.parse::<usize>().map_err(|_| format!("`{count}` is no count"))?;
    Ok(unescape(text)?.repeat(count))
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        let byte = match char {
            '\\' => escaped(&mut rest).ok_or(r"an escape is one of \r \n \t \0 \\ \xHH")?,
            ' '..='~' => char as u8,
            _ => return Err(format!("{char:?} must be escaped")),
        };
        bytes.push(byte);
    }
    Ok(bytes)
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Option<u8> {
    match rest.next()? {
        'r' => Some(b'\r'),
        'n' => Some(b'\n'),
        't' => Some(b'\t'),
        '0' => Some(0),
        '\\' => Some(b'\\'),
        'x' => {
            let (high, low) = (rest.next()?.to_digit(16)?, rest.next()?.to_digit(16)?);
            u8::try_from(high * 16 + low).ok()
        }
        _ => None,
    }
}

//! [`AccessLog`]: a line for each request.
//!
//! A request is logged when its response is made; one that is streamed, when all of it has been made
//! or the client is gone, so that the line knows how much and how long. `entry.rs` is what is known of
//! a request, `format.rs` how it is written.

mod entry;
mod format;

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use threadline_engine::log::{self, Escaped, limited};
use threadline_pool::contained::catch;
use threadline_proto::response::Status;

use crate::middleware::layer::{Middleware, Next, Refused};
use crate::middleware::watched::{Watcher, is_streamed, watch};
use crate::request::Request;
use crate::response::Response;
use entry::Entry;

/// How a line of an access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// `host - user [time] "request" status bytes`: what every tool reads.
    Common,
    /// The same, with referrer and user agent.
    Combined,
    /// One object a line, with everything that is known: `time`, `peer`, `user`, `method`, `path`,
    /// `query`, `version`, `route`, `status`, `bytes`, `duration_us`, `referer`, `user_agent`,
    /// `request_id`. What is not known is left out.
    Json,
}

/// Middleware that logs each request: as events of `tracing`, or as lines to a writer.
///
/// Put it around everything but [`RequestIds`](super::RequestIds): it names the request and the
/// [`Principal`](super::Principal) if they are known by then. What clients say is escaped: a line is
/// one line. Pushed responses are logged when they begin, without a length. Requests that are refused before
/// layers see them are logged too: of a malformed one, what its first line says.
///
/// ```
/// use std::fs::File;
/// use threadline_http::Router;
/// use threadline_http::middleware::{AccessLog, LogFormat};
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("access.log");
/// let file = File::options().append(true).create(true).open(path)?;
/// let log = AccessLog::to(file, LogFormat::Combined).with_duration().without_query();
/// let router = Router::new().get("/", || "front page").layer(log);
/// # router.build().unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AccessLog {
    sink: Arc<Sink>,
    layout: Layout,
    query: Query,
    /// How many lines of refused requests may wait for the thread that writes them.
    refused_lines_max: usize,
}

/// What is to be seen of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Query {
    Logged,
    LeftOut,
}

/// How lines are written, in whole.
#[derive(Debug, Clone, Copy)]
struct Layout {
    format: LogFormat,
    duration: Duration,
}

/// Whether common and combined lines end with how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duration {
    LeftOut,
    Microseconds,
}

impl Default for AccessLog {
    fn default() -> Self {
        AccessLog::new()
    }
}

impl AccessLog {
    /// To `tracing`, as events of level `INFO` and target `threadline::access`, with a field for
    /// each thing that is known.
    pub fn new() -> Self {
        AccessLog::with(Sink::Tracing, LogFormat::Json)
    }

    /// To a writer, each line with one `write_all`, one line at a time. Handlers wait for it: let it be
    /// fast, a file opened for appending, or `threadline::logging::LogWriter`, which has a thread of its own.
    /// A line that cannot be written, by an error or a panic of the writer, is lost and counted
    /// (`threadline::logging::lost_lines`), and `tracing` is told now and then; the response is sent as if it
    /// had been written.
    pub fn to(writer: impl Write + Send + 'static, format: LogFormat) -> Self {
        let writer: Arc<Lines> = Arc::new(Mutex::new(Box::new(writer)));
        AccessLog::with(Sink::Writer { writer, apart: OnceLock::new() }, format)
    }

    fn with(sink: Sink, format: LogFormat) -> Self {
        let layout = Layout { format, duration: Duration::LeftOut };
        AccessLog {
            sink: Arc::new(sink),
            layout,
            query: Query::Logged,
            refused_lines_max: REFUSED_LINES_MAX,
        }
    }

    /// Ends common and combined lines with the duration in microseconds, from when the request came
    /// here until its response was made. JSON and `tracing` always have it.
    pub fn with_duration(mut self) -> Self {
        self.layout.duration = Duration::Microseconds;
        self
    }

    /// Leaves out what is behind the `?` of targets: it may be secret.
    pub fn without_query(mut self) -> Self {
        self.query = Query::LeftOut;
        self
    }

    /// Sets how many lines of requests that are refused by the thread which serves all connections (408, 503) may
    /// wait to be written: it must not wait for a writer, so a thread of the log's own writes them. More are lost, and
    /// counted as lines that cannot be written. Default 1024.
    pub fn refused_lines_max(mut self, lines: usize) -> Self {
        self.refused_lines_max = lines;
        self
    }

    fn entry<'r>(&self, request: &Request<'r>, began: Instant, status: Status) -> Entry<'r> {
        let mut entry = Entry::new(request, began, status);
        if self.query == Query::LeftOut {
            entry.query = None;
        }
        entry
    }
}

impl Middleware for AccessLog {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let began = Instant::now();
        let response = next.run(request);
        if !response.is_deferred() {
            return self.finish(request, response, began);
        }
        let (log, request) = (self.clone(), request.keep_head());
        response.when_ready(move |response| {
            *response = log.finish(&request.as_request(), mem::take(response), began);
        })
    }

    fn refused(&self, refused: &Refused<'_>, response: &mut Response) {
        let mut entry = Entry::refused(refused, response.status());
        if self.query == Query::LeftOut {
            entry.query = None;
        }
        let is_head = refused.line().starts_with(b"HEAD ");
        entry.bytes = if is_head { Some(0) } else { response.body().len() };
        if refused.may_wait {
            self.sink.log(&entry, self.layout);
        } else {
            self.sink.log_without_waiting(&entry, self.layout, self.refused_lines_max);
        }
    }
}

impl AccessLog {
    /// Logs the request, now or when the response is sent.
    fn finish(&self, request: &Request<'_>, mut response: Response, began: Instant) -> Response {
        let mut entry = self.entry(request, began, response.status());
        if is_streamed(&response) {
            entry.bytes = Some(0);
            let (entry, sink) = (entry.into_owned(), Arc::clone(&self.sink));
            watch(&mut response, Streamed { entry, sink, layout: self.layout });
        } else {
            entry.bytes = entry::sent_len(request, &response);
            self.sink.log(&entry, self.layout);
        }
        response
    }
}

/// The line of a response that is being sent. Logged when it is dropped.
struct Streamed {
    entry: Entry<'static>,
    sink: Arc<Sink>,
    layout: Layout,
}

impl Watcher for Streamed {
    fn made(&mut self, count: usize) {
        self.entry.bytes = self.entry.bytes.map(|bytes| bytes + count as u64);
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // Perhaps while a panic unwinds: that of a writer, or of the program's log, ends here.
        let _ = catch(|| self.sink.log(&self.entry, self.layout));
    }
}

/// Where lines go.
enum Sink {
    Tracing,
    Writer {
        writer: Arc<Lines>,
        /// The way to a thread that writes lines for those that must not wait, started for the first.
        apart: OnceLock<Option<SyncSender<String>>>,
    },
}

/// What lines are written to.
type Lines = Mutex<Box<dyn Write + Send>>;

/// How many lines of refused requests may wait to be written, by default.
const REFUSED_LINES_MAX: usize = 1024;

impl Sink {
    fn log(&self, entry: &Entry<'_>, layout: Layout) {
        match self {
            Sink::Tracing => format::event(entry),
            Sink::Writer { writer, .. } => {
                write_line(writer, &format::line(entry, layout));
            }
        }
    }

    /// Logs on a thread that must not wait, as the writer may: a thread of the log's own writes the line.
    fn log_without_waiting(&self, entry: &Entry<'_>, layout: Layout, lines_max: usize) {
        let Sink::Writer { writer, apart } = self else { return self.log(entry, layout) };
        let line = format::line(entry, layout);
        let sender = apart.get_or_init(|| {
            let (sender, lines) = sync_channel::<String>(lines_max);
            let writer = Arc::clone(writer);
            let write = move || lines.iter().for_each(|line| write_line(&writer, &line));
            let thread = thread::Builder::new().name("tl-access-log".into()).spawn(write);
            thread.is_ok().then_some(sender)
        });
        if sender.as_ref().is_none_or(|sender| sender.try_send(line).is_err()) {
            log::count_lost(1);
        }
    }
}

/// Writes one line; one that cannot be written is lost, and counted.
fn write_line(writer: &Lines, line: &str) {
    // `Write` takes one line at a time, so the lock is held in user code: that is all that it guards, and
    // nothing else of ours waits for it. A panic ends here, or it would cost the response, and the process if it
    // came while another one unwinds.
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    let written = catch(|| writer.write_all(line.as_bytes()));
    drop(writer);
    let written = written.unwrap_or_else(|panic| {
        let message = panic.message().unwrap_or("(no message)");
        Err(io::Error::other(format!("the writer panicked: {message}")))
    });
    if let Err(error) = written {
        log::count_lost(1);
        let error = Escaped(error);
        limited!(error, key: "", "the access log loses lines", %error);
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sink::Tracing => "tracing",
            Sink::Writer { .. } => "writer",
        })
    }
}

#[cfg(test)]
mod tests;

//! Log lines on standard error: coloured on a terminal, plain in a pipe.
//!
//! | file | |
//! | --- | --- |
//! | `writer.rs` | [`LogWriter`]: lines are written by a thread of their own |
//! | `filter.rs` | what `THREADLINE_LOG` says |
//! | `panics.rs` | the message of a panic goes the same way |
//!
//! A log that cannot be written ends nothing and holds up nothing. A thread that logs leaves a line in a queue;
//! one thread, `tl-log`, writes it. A reader that is gone, a full disk and a reader that stops reading cost
//! lines, which are counted ([`lost_lines`]), and the log says so when it works again. The price is that
//! lines leave a moment later. So that the last of them are not lost, a line of the main thread, the message
//! of a panic (an abort may follow) and [`flush`], which the end of `Server::run` calls, wait until all is
//! written, for at most a second.
//!
//! `tracing-appender` has such a writer. It does not count what the system refuses to write, has a bound in
//! lines and not in bytes, can be flushed only by ending it, and brings a calendar; so this one is ours.

mod filter;
mod panics;
mod writer;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::thread;

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub use filter::BadFilter;
pub use threadline_engine::log::{Bytes, Escaped, current_route, limited};
pub use threadline_engine::log::{lost_lines, report, set_limit, suppressed_lines};
pub use writer::{LogWriter, QUEUE_MAX_DEFAULT, flush};

/// The environment variable that says what is logged: a level (`off`, `error`, `warn`, `info`, `debug`,
/// `trace`) for all, or levels for modules, like `threadline_engine=trace,my_service=debug`. What is not
/// named stays at `info`.
pub const FILTER_VARIABLE: &str = "THREADLINE_LOG";

/// Why logging does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// What [`FILTER_VARIABLE`] says is not understood. The operator's mistake.
    Filter(BadFilter),
    /// The thread that writes the log cannot be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Filter(error) => error.fmt(f),
            StartError::Thread(error) => {
                write!(f, "no thread could be started to write the log: {error}")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Starts logging to standard error: `info` and above, or what [`FILTER_VARIABLE`] says. A program
/// that has set up `tracing` itself keeps its own, and this does nothing.
///
/// Colours are left out where standard error is no terminal or `NO_COLOR` is set. Control characters in
/// messages and fields are escaped. Unless the program has set a panic hook, messages of panics are written
/// the same way, on one line, and at most [so many](set_limit) for each place that panics.
///
/// `Server::run` calls it. Call it first in `main` to log before.
///
/// # Errors
/// [`StartError`], if the variable is not understood or no thread can be had.
pub fn start() -> Result<(), StartError> {
    Logging::new().start()
}

/// Logging with other than the default bounds.
///
/// ```no_run
/// use threadline_service::logging::Logging;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Logging::new().queue_max(16 << 20).start()?;
///     // ... Server::run finds logging started, and leaves it as it is.
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "logging does nothing before it is started"]
pub struct Logging {
    queue_max: usize,
}

impl Default for Logging {
    fn default() -> Self {
        Logging::new()
    }
}

impl Logging {
    /// The defaults.
    pub fn new() -> Self {
        Logging { queue_max: QUEUE_MAX_DEFAULT }
    }

    /// Sets how many bytes may wait to be written; lines beyond are lost, and counted. Default
    /// [`QUEUE_MAX_DEFAULT`].
    pub fn queue_max(mut self, bytes: usize) -> Self {
        self.queue_max = bytes;
        self
    }

    /// As [`start`].
    ///
    /// # Errors
    /// As [`start`].
    pub fn start(self) -> Result<(), StartError> {
        if tracing::dispatcher::has_been_set() {
            return Ok(());
        }
        let filter = filter::from_environment().map_err(StartError::Filter)?;
        let output = output(self.queue_max).map_err(StartError::Thread)?;
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = lines(output.clone(), filter, colours);
        // An error means that the program has set up its own at this very moment.
        if tracing_subscriber::registry().with(lines).try_init().is_ok() {
            panics::write_to(output);
        }
        Ok(())
    }
}

/// Writes a line to standard error as it is, behind what has been logged, and waits for at most a second
/// until it is written: for what a program says at its end. Never panics, as `eprintln!` does where standard
/// error is closed; a line that cannot be written is lost, and counted.
pub fn write_line(line: &str) {
    match output(QUEUE_MAX_DEFAULT) {
        Ok(output) => {
            output.put(format!("{line}\n").as_bytes());
            output.wait();
        }
        Err(_) => writer::write_here(&mut io::stderr(), format!("{line}\n").as_bytes()),
    }
}

/// What writes to standard error, one in the process.
fn output(queue_max: usize) -> io::Result<LogWriter> {
    static OUTPUT: OnceLock<LogWriter> = OnceLock::new();
    if let Some(output) = OUTPUT.get() {
        return Ok(output.clone());
    }
    let output = LogWriter::of_log(io::stderr(), queue_max)?;
    Ok(OUTPUT.get_or_init(|| output).clone())
}

/// The layer that makes lines of events.
fn lines<S>(output: LogWriter, filter: Targets, colours: bool) -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let fields = debug_fn(|writer: &mut Writer<'_>, field: &Field, value| {
        // Whatever a program logs of a client stays in its line.
        let value = Escaped(format_args!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{}={value}", name.strip_prefix("r#").unwrap_or(name)),
        }
    });
    tracing_subscriber::fmt::layer()
        .fmt_fields(fields.delimited(" "))
        .with_ansi(colours)
        .with_target(false)
        .with_writer(Output(output))
        .with_filter(filter)
}

/// Where the lines go.
struct Output(LogWriter);

impl<'w> MakeWriter<'w> for Output {
    type Writer = &'w Output;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

impl Write for &Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        // The process may end when `main` returns or exits; other threads must not wait.
        if thread::current().name() == Some("main") {
            self.0.wait();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("sound").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = LogWriter::new("test", kept.clone()).expect("a thread");
        let filter = filter::parse(filter).expect("a filter");
        let lines = lines(writer.clone(), filter, false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        assert!(writer.wait());
        let bytes = kept.0.lock().expect("sound").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let evil = "x\r\n2026-01-01T00:00:00Z  INFO all is well\u{1b}[2J\u{202e}";
        let log = logged("info", || {
            tracing::warn!(evil, shown = %evil, debugged = ?evil, "the message is {evil}");
            let span = tracing::info_span!("span", shown = %evil);
            span.in_scope(|| tracing::info!("inside"));
        });
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(
            log.trim_end_matches('\n').split('\n').all(|line| !line.contains(char::is_control))
        );
        assert!(!log.contains('\u{202e}') && log.contains(r"shown=x\r\n2026"), "{log}");
    }

    #[test]
    fn a_line_has_its_level_message_and_fields() {
        let log = logged("info", || {
            tracing::warn!(number = 7, text = "a b", r#type = "t", "a message");
            tracing::debug!("not this one");
        });
        let (_time, line) = log.split_once(' ').expect("a time");
        assert_eq!(line, " WARN a message number=7 text=\"a b\" type=\"t\"\n");
    }

    #[test]
    fn modules_are_filtered_by_name() {
        let log = logged("warn,threadline_service::logging=debug,other=off", || {
            tracing::debug!("here");
            tracing::info!(target: "third", "quiet");
            tracing::warn!(target: "third", "there");
            tracing::error!(target: "other", "silent");
        });
        assert!(log.contains("here") && log.contains("there"), "{log}");
        assert!(!log.contains("quiet") && !log.contains("silent"), "{log}");
    }
}

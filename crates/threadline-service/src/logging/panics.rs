//! Messages of panics, written like log lines.
//!
//! The standard library's hook writes to standard error by itself: it blocks where a reader has stopped to
//! read, an event loop included, and a client that can make a handler panic writes as many lines as it likes,
//! with line breaks in them. Ours takes its place, and no other hook's: one that the program has set stays,
//! and is called as ever.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

use threadline_engine::log::Site;

use super::{Escaped, LogWriter};

type Hook = dyn Fn(&PanicHookInfo<'_>) + Sync + Send;

/// Has messages of panics written to `output`, unless the program has a hook of its own.
pub(super) fn write_to(output: LogWriter) {
    // The hook can be neither looked at nor replaced while a panic unwinds.
    if thread::panicking() {
        return;
    }
    let before = panic::take_hook();
    if is_default(&*before) {
        panic::set_hook(Box::new(move |info| write(&output, info)));
    } else {
        panic::set_hook(before);
    }
}

/// Whether a hook that was taken is the standard library's.
///
/// With none set, `take_hook` makes a box of its default, always by the same line: two such boxes have the
/// same table of methods. A hook that shares the table runs the same code, so nothing can be mistaken for the
/// default. If the default is not recognised, it merely stays.
fn is_default(hook: &Hook) -> bool {
    // The hook that is in place now is the default, since the one before has been taken.
    let default = panic::take_hook();
    std::ptr::eq(hook, &*default)
}

fn write(output: &LogWriter, info: &PanicHookInfo<'_>) {
    static PANICS: Site = Site::new(|place, more| {
        tracing::error!("panicked at {place}{more}");
    });
    let place = info.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
    let Some(more) = PANICS.admit(&place) else { return };
    let thread = thread::current();
    let (name, message) = (thread.name().unwrap_or("<unnamed>"), message(info.payload()));
    let (name, message) = (Escaped(name), Escaped(message));
    let mut text = format!("thread '{name}' panicked at {place}: {message}{more}\n");
    // As `RUST_BACKTRACE` says.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text += &backtrace.to_string();
    }
    output.put(text.as_bytes());
    // It may be followed by an abort: of a second panic on the same way, or because the program is built so.
    output.wait();
}

fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a value that is not text)"
    }
}

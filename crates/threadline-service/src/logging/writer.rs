//! [`LogWriter`]: lines are written by a thread of their own, so that nobody waits for a log.
//!
//! ```text
//!   put --> queue, bounded in bytes --> tl-log: write(2) --> standard error, a file
//!            |                            |
//!            full: lost, counted          refused: lost, counted
//! ```
//!
//! The lock is held to copy bytes in and to take all of them out, never while anything is written. Lines
//! are written in pieces of whole lines, none of more than a pipe takes at once, so that processes that share
//! a pipe do not mix theirs. Must never panic, and never be waited for without a limit.

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use threadline_engine::log::{self, Escaped, limited};
use threadline_pool::contained::catch;

use crate::signals;

/// How many bytes may wait to be written, by default: 1 MB, some 8 000 lines.
pub const QUEUE_MAX_DEFAULT: usize = 1 << 20;

/// How long anybody waits until lines are written.
const WAIT_LIMIT: Duration = Duration::from_secs(1);
/// `PIPE_BUF`: so much is written to a pipe in one piece (pipe(7)).
const PIECE_MAX: usize = 4096;
/// How soon a writer that does not block, and has no room, is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Writers of the process whose threads have not ended.
static WRITERS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Hands lines to a thread that writes them: writing never waits and never fails. What cannot be written, or
/// finds the queue full because the thread is stuck, is lost, and counted by
/// [`lost_lines`](super::lost_lines); a line in the log says so.
///
/// Each call of `write` is one line with its end. Lines that wait when the last handle is dropped are
/// written still; [`flush`] waits for them, and `Server::run` calls it at its end. Handles are cheap to clone.
///
/// ```
/// use std::fs::File;
/// use std::io::Write;
/// use threadline_service::logging::LogWriter;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("threadline-doc-{}.log", std::process::id()));
/// let file = File::options().append(true).create(true).open(&path)?;
/// let mut log = LogWriter::new(path.display(), file)?;
/// writeln!(log, "a line")?; // and here is nothing to wait for
/// assert!(log.wait());
/// # std::fs::remove_file(path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LogWriter {
    handle: Arc<Handle>,
}

/// Tells the thread when nobody can write any more.
struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    role: Role,
    queue_max: usize,
    queue: Mutex<Queue>,
    /// There is something to write, or nothing will come.
    work: Condvar,
    /// What was taken is written.
    done: Condvar,
}

/// What a writer's losses are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It is the log itself, which can tell when it works again.
    Log,
    /// The log tells at once.
    Other,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes that the thread has taken and not written yet.
    taken: usize,
    /// Calls so far, and those of them whose bytes are written or lost.
    put: u64,
    settled: u64,
    /// `settled` when a wait has last ended in vain: another need not wait before it moves.
    stuck_at: Option<u64>,
    /// Lines that found no room and that the log has not told of.
    crowded_out: u64,
    /// The thread waits for work.
    sleeps: bool,
    closed: bool,
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").field("name", &self.shared().name).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Starts a thread that writes to `sink`. `name` is what the log calls it when lines are lost. At most
    /// [`QUEUE_MAX_DEFAULT`] bytes may wait.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new(name: impl fmt::Display, sink: impl Write + Send + 'static) -> io::Result<Self> {
        LogWriter::with_queue_max(name, sink, QUEUE_MAX_DEFAULT)
    }

    /// The same, with another bound on the bytes that may wait.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn with_queue_max(
        name: impl fmt::Display,
        sink: impl Write + Send + 'static,
        queue_max: usize,
    ) -> io::Result<Self> {
        LogWriter::start(name.to_string(), Role::Other, sink, queue_max)
    }

    /// For the log itself.
    pub(super) fn of_log(sink: impl Write + Send + 'static, queue_max: usize) -> io::Result<Self> {
        LogWriter::start("standard error".into(), Role::Log, sink, queue_max)
    }

    fn start(
        name: String,
        role: Role,
        mut sink: impl Write + Send + 'static,
        queue_max: usize,
    ) -> io::Result<Self> {
        signals::outlive_file_size_limit();
        let (queue, work, done) = Default::default();
        let shared = Arc::new(Shared { name, role, queue_max, queue, work, done });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("tl-log".into()).spawn(move || of_thread.run(&mut sink))?;
        let mut writers = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
        writers.retain(|writer| writer.strong_count() > 0);
        writers.push(Arc::downgrade(&shared));
        Ok(LogWriter { handle: Arc::new(Handle { shared }) })
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Leaves a line to be written.
    pub(super) fn put(&self, line: &[u8]) {
        self.shared().put(line);
    }

    /// Waits until everything is written or lost, for a second at most, and not at all if the one before has
    /// waited in vain and nothing has moved since. Returns whether it is.
    pub fn wait(&self) -> bool {
        self.shared().wait(Instant::now() + WAIT_LIMIT)
    }
}

/// Tells how many lines were left out, and waits until every [`LogWriter`] of the process, the log's own
/// included, has written what it was given, for a second at most each. Returns whether they have. Call it
/// before `std::process::exit`; `Server::run` does at its end.
pub fn flush() -> bool {
    log::report_all();
    let writers = WRITERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // The log's own was the first, and may have to tell what the others have lost.
    let in_turn = writers.iter().rev().filter_map(Weak::upgrade);
    let flushed = in_turn.map(|writer| writer.wait(Instant::now() + WAIT_LIMIT));
    flushed.fold(true, |all, one| all & one)
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    /// Does nothing; [`LogWriter::wait`] waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8]) {
        let mut queue = self.lock();
        if queue.bytes.len() + queue.taken + line.len() > self.queue_max {
            queue.crowded_out += 1;
            drop(queue);
            return log::count_lost(1);
        }
        queue.bytes.extend_from_slice(line);
        queue.put += 1;
        if mem::take(&mut queue.sleeps) {
            drop(queue);
            self.work.notify_one();
        }
    }

    fn wait(&self, deadline: Instant) -> bool {
        let mut queue = self.lock();
        let target = queue.put;
        while queue.settled < target {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || queue.stuck_at == Some(queue.settled) {
                queue.stuck_at = Some(queue.settled);
                return false;
            }
            let waited = self.done.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The thread.
    fn run(&self, sink: &mut dyn Write) {
        let (mut batch, mut torn) = (Vec::new(), Torn::No);
        while let Some(put) = self.take(&mut batch) {
            let (lost, error) = write_all(sink, &batch, &mut torn);
            log::count_lost(lost);
            let mut queue = self.lock();
            let lost = lost + mem::take(&mut queue.crowded_out);
            // What is lost while the log itself does not work is told when it does.
            if self.role == Role::Log && error.is_some() {
                queue.crowded_out = lost;
            }
            drop(queue);
            self.tell(lost, error);
            let mut queue = self.lock();
            queue.taken = 0;
            queue.settled = put;
            drop(queue);
            self.done.notify_all();
            batch.clear();
            batch.shrink_to(QUEUE_MAX_DEFAULT / 16);
        }
    }

    /// Waits for bytes, and takes all there are. Returns how many calls they are of; `None` at the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<u64> {
        let mut queue = self.lock();
        let mut rested = false;
        while queue.bytes.is_empty() {
            if queue.closed {
                return None;
            }
            queue.sleeps = true;
            // Lines are left out only after others have been written: once more after each pause, the log
            // tells how many.
            if self.role == Role::Other || rested {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.work.wait_timeout(queue, log::period());
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = again;
            if timeout.timed_out() && queue.bytes.is_empty() {
                rested = true;
                drop(queue);
                log::report();
                queue = self.lock();
            }
        }
        queue.sleeps = false;
        mem::swap(&mut queue.bytes, batch);
        queue.taken = batch.len();
        Some(queue.put)
    }

    fn tell(&self, lines: u64, error: Option<io::Error>) {
        let name = &self.name;
        match (self.role, error) {
            _ if lines == 0 => {}
            (Role::Log, None) => {
                tracing::warn!(lines, "log lines were lost: {name} could not be written in time");
            }
            // It would not be written either.
            (Role::Log, Some(_)) => {}
            (Role::Other, error) => {
                let error = error.map_or_else(|| "too many wait".into(), |error| error.to_string());
                let error = Escaped(error);
                limited!(error, key: name, "lines of a log are lost", log = ?name, lines, %error);
            }
        }
    }
}

/// Whether the last line that reached the sink lacks its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Torn {
    No,
    Yes,
}

/// Writes lines. Returns how many of them were lost, and the last error.
fn write_all(sink: &mut dyn Write, mut bytes: &[u8], torn: &mut Torn) -> (u64, Option<io::Error>) {
    let (mut lost, mut last) = (0, None);
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(piece_len(bytes));
        bytes = rest;
        if *torn == Torn::Yes && write_piece(sink, b"\n").1.is_none() {
            *torn = Torn::No;
        }
        let (written, error) = write_piece(sink, piece);
        if let Some(error) = error {
            let unwritten = &piece[written..];
            lost += unwritten.iter().filter(|byte| **byte == b'\n').count().max(1) as u64;
            let at_line_end = written == 0 || piece[written - 1] == b'\n';
            *torn = if at_line_end { *torn } else { Torn::Yes };
            last = Some(error);
        }
    }
    (lost, last)
}

/// The length of the next piece: as many whole lines as fit, or one that is longer.
fn piece_len(bytes: &[u8]) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    let within = &bytes[..bytes.len().min(PIECE_MAX)];
    let end = within.iter().rposition(is_end).or_else(|| bytes.iter().position(is_end));
    end.map_or(bytes.len(), |end| end + 1)
}

/// Writes one piece. Returns how much of it was written, and why not all.
fn write_piece(sink: &mut dyn Write, piece: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < piece.len() {
        // A sink of the program's own may panic: the thread must go on.
        let result = catch(|| sink.write(&piece[written..]));
        match result.unwrap_or_else(|_| Err(io::Error::other("the writer panicked"))) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written = (written + count).min(piece.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The descriptor is shared with a process that has made it so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Writes on the calling thread, where no other can be had.
pub(super) fn write_here(sink: &mut dyn Write, line: &[u8]) {
    let (lost, _) = write_all(sink, line, &mut Torn::No);
    log::count_lost(lost);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes each write's fate from the test, and keeps what it takes. Once the test has let go, it takes all.
    struct Scripted {
        fates: Receiver<Fate>,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    #[derive(Debug)]
    enum Fate {
        Takes(usize),
        Fails(io::ErrorKind),
        Panics,
    }

    /// Panics when it is dropped, as a value that a panic throws may.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.fates.recv().unwrap_or(Fate::Takes(usize::MAX)) {
                Fate::Takes(count) => {
                    let count = count.min(bytes.len());
                    self.kept.lock().expect("sound").extend_from_slice(&bytes[..count]);
                    Ok(count)
                }
                Fate::Fails(kind) => Err(kind.into()),
                Fate::Panics => std::panic::panic_any(Bomb),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Kept = Arc<Mutex<Vec<u8>>>;

    fn scripted(queue_max: usize) -> (LogWriter, Sender<Fate>, Kept) {
        let (script, fates) = channel();
        let kept = Kept::default();
        let sink = Scripted { fates, kept: Arc::clone(&kept) };
        let writer = LogWriter::with_queue_max("a test", sink, queue_max).expect("a thread");
        (writer, script, kept)
    }

    fn text(kept: &Kept) -> String {
        String::from_utf8(kept.lock().expect("sound").clone()).expect("text")
    }

    #[test]
    fn lines_arrive_in_order_in_whole() {
        let (writer, script, kept) = scripted(QUEUE_MAX_DEFAULT);
        drop(script);
        let mut handles = [writer.clone(), writer.clone()];
        for number in 0..1000 {
            writeln!(handles[number % 2], "line {number}").expect("never fails");
        }
        drop(handles);
        assert!(writer.wait());
        let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        assert_eq!(text(&kept), expected);
    }

    #[test]
    fn what_waits_is_written_after_the_last_handle_is_gone() {
        let (writer, script, kept) = scripted(QUEUE_MAX_DEFAULT);
        writer.put(b"one\n");
        writer.put(b"two\n");
        let shared = Arc::downgrade(&writer.handle.shared);
        drop(writer);
        drop(script);
        let deadline = Instant::now() + Duration::from_secs(20);
        while shared.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the thread ends");
            thread::yield_now();
        }
        assert_eq!(text(&kept), "one\ntwo\n");
    }

    #[test]
    fn a_sink_that_is_stuck_costs_lines_and_nobody_waits_for_it() {
        let before = log::lost_lines();
        let (writer, script, kept) = scripted(100);
        for _ in 0..50 {
            writer.put(b"0123456789\n");
        }
        // 9 lines of 11 bytes fit.
        assert!(log::lost_lines() - before >= 41);
        assert!(!writer.wait());
        // The second does not wait again.
        let began = Instant::now();
        assert!(!writer.wait());
        assert!(began.elapsed() < WAIT_LIMIT);
        drop(script);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !writer.wait() {
            assert!(Instant::now() < deadline, "it goes on");
            thread::yield_now();
        }
        assert_eq!(text(&kept), "0123456789\n".repeat(9));
        writer.put(b"more\n");
        assert!(writer.wait());
        assert!(text(&kept).ends_with("more\n"));
    }

    #[test]
    fn refused_and_torn_lines_are_lost_and_the_next_begins_afresh() {
        let before = log::lost_lines();
        let (writer, script, kept) = scripted(QUEUE_MAX_DEFAULT);
        let fate = |fate| script.send(fate).expect("a writer");
        fate(Fate::Fails(io::ErrorKind::StorageFull));
        writer.put(b"lost\n");
        assert!(writer.wait());
        fate(Fate::Takes(2));
        fate(Fate::Fails(io::ErrorKind::BrokenPipe));
        writer.put(b"torn\n");
        assert!(writer.wait());
        fate(Fate::Takes(1));
        fate(Fate::Panics);
        writer.put(b"lost too\n");
        assert!(writer.wait());
        fate(Fate::Fails(io::ErrorKind::WouldBlock));
        fate(Fate::Fails(io::ErrorKind::Interrupted));
        fate(Fate::Takes(3));
        fate(Fate::Takes(100));
        writer.put(b"written\n");
        assert!(writer.wait());
        assert_eq!(text(&kept), "to\nwritten\n");
        assert!(log::lost_lines() - before >= 3);
    }

    #[test]
    fn pieces_are_whole_lines_that_fit_a_pipe() {
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        assert_eq!(piece_len(&line.repeat(10)), 4000);
        assert_eq!(piece_len(&line), 1000);
        let long = [vec![b'x'; 5000], vec![b'\n'], line].concat();
        assert_eq!(piece_len(&long), 5001);
        assert_eq!(piece_len(b"no end"), 6);
    }
}

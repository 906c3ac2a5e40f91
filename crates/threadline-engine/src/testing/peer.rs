//! A client that a test plays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::PATIENCE;
use crate::transport::{Link, Script};

/// The other end of a connection: what it sends and takes, and how the engine's reads and writes go.
///
/// What it sends is there at once, each piece for a read of its own. What the engine writes is kept until it
/// is taken; that makes no room by itself ([`Peer::room`]). Dropping it closes the connection.
#[derive(Debug)]
pub struct Peer {
    link: Arc<Link>,
    address: SocketAddr,
}

impl Peer {
    pub(super) fn new(link: Arc<Link>, address: SocketAddr) -> Self {
        Peer { link, address }
    }

    /// Where it has connected from: no two peers of a network have the same.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one piece: the engine may read it at once, or in parts, but nothing behind it with it. After its
    /// own end, or the engine's, it is lost.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.send_pieces([bytes]);
    }

    /// Sends pieces, each of which is read by itself.
    pub fn send_pieces(&self, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        self.change(|script| pieces.into_iter().for_each(|piece| script.send(piece.as_ref())));
    }

    /// No read of the engine gets more than `most` bytes from here on.
    ///
    /// # Panics
    /// If that is 0.
    pub fn reads_at_most(&self, most: usize) {
        assert!(most > 0, "a read gets at least one byte");
        self.change(|script| script.read_max = most);
    }

    /// The next `count` reads of the engine find nothing although there is something (`EAGAIN`). Each is
    /// followed by a new event. Reads that wait do not do that.
    pub fn stall_reads(&self, count: usize) {
        self.change(|script| script.stalls += count);
    }

    /// The next `count` calls of the engine that wait are interrupted (`EINTR`).
    pub fn interrupt(&self, count: usize) {
        self.change(|script| script.interrupts += count);
    }

    /// Has room for `count` bytes more, and then no more until this is called again. At first there is room
    /// for everything; `usize::MAX` is that, too.
    pub fn room(&self, count: usize) {
        self.change(|script| script.set_room(count));
    }

    /// Has the engine send files by reading and writing them, as over TLS.
    pub fn no_files(&self) {
        self.change(|script| script.sends_files = false);
    }

    /// Closes its sending side.
    pub fn close_write(&self) {
        self.change(Script::end_input);
    }

    /// Closes the connection: the engine reads what is on the way, then the end; its writes fail.
    pub fn close(&self) {
        self.change(Script::close);
    }

    /// Resets the connection: what is on the way is lost, and the engine's next read or write says so.
    pub fn reset(&self) {
        self.change(Script::reset);
    }

    /// Takes exactly `count` bytes of what the engine has written, and waits for them.
    ///
    /// # Panics
    /// If they do not come, or the end comes first.
    pub fn take(&self, count: usize) -> Vec<u8> {
        let enough = |script: &Script| script.output.len() >= count || script.output_ended();
        let mut script = self.wait(&format!("{count} bytes"), enough);
        let there = script.output.len();
        assert!(
            there >= count,
            "the end after {there} of {count} bytes: {}",
            shown(&script.output)
        );
        self.taken(&mut script, count)
    }

    /// Takes the bytes that come next, which must be these.
    ///
    /// # Panics
    /// If they are not, or do not come.
    #[track_caller]
    pub fn expect(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let is_clear = |script: &Script| {
            let there = &script.output;
            there.len() >= bytes.len() || script.output_ended() || !bytes.starts_with(there)
        };
        let mut script = self.wait(&format!("the bytes {}", shown(bytes)), is_clear);
        let is_right = script.output.starts_with(bytes);
        assert!(is_right, "{} came instead of {}", shown(&script.output), shown(bytes));
        self.taken(&mut script, bytes.len());
    }

    /// Takes all until the engine closes its sending side.
    ///
    /// # Panics
    /// If it does not.
    pub fn take_to_end(&self) -> Vec<u8> {
        let mut script = self.wait("the end", Script::output_ended);
        let count = script.output.len();
        self.taken(&mut script, count)
    }

    /// Waits until the engine has closed its sending side, with nothing before it.
    ///
    /// # Panics
    /// If it does not, or something comes.
    #[track_caller]
    pub fn expect_end(&self) {
        let is_clear = |script: &Script| script.output_ended() || !script.output.is_empty();
        let script = self.wait("the end", is_clear);
        assert!(script.output.is_empty(), "{} came instead of the end", shown(&script.output));
    }

    /// Waits until the engine has let go of the connection.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_closed(&self) {
        drop(self.wait("the close", Script::is_dropped));
    }

    /// Takes what there is at this moment, at most `most` bytes.
    pub fn take_now(&self, most: usize) -> Vec<u8> {
        let mut script = self.link.lock();
        let count = script.output.len().min(most);
        self.taken(&mut script, count)
    }

    /// How many bytes the engine has written that were not taken.
    pub fn untaken_len(&self) -> usize {
        self.link.lock().output.len()
    }

    /// How many bytes the engine has not read.
    pub fn unread_len(&self) -> usize {
        self.link.lock().unread_len()
    }

    /// Whether the engine has closed its sending side.
    pub fn has_ended(&self) -> bool {
        self.link.lock().output_ended()
    }

    /// Whether the engine has let go of the connection.
    pub fn is_closed(&self) -> bool {
        self.link.lock().is_dropped()
    }

    fn change<R>(&self, change: impl FnOnce(&mut Script) -> R) -> R {
        let mut script = self.link.lock();
        let changed = change(&mut script);
        self.link.tell_engine(&mut script);
        changed
    }

    fn taken(&self, script: &mut MutexGuard<'_, Script>, count: usize) -> Vec<u8> {
        script.output.drain(..count).collect()
    }

    #[track_caller]
    fn wait(&self, what: &str, is_there: impl Fn(&Script) -> bool) -> MutexGuard<'_, Script> {
        let until = Instant::now() + PATIENCE;
        let mut script = self.link.lock();
        while !is_there(&script) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.link.wait_as_peer(&mut script, left) {
                let (there, ended) = (shown(&script.output), script.output_ended());
                assert!(
                    is_there(&script),
                    "{what} did not come within {PATIENCE:?}; there is {there}, ended: {ended}"
                );
            }
        }
        script
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The first bytes, as text where they are.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let rest = if bytes.len() > MOST { "…" } else { "" };
    let begin = &bytes[..bytes.len().min(MOST)];
    format!("\"{}\"{rest} ({} bytes)", begin.escape_ascii(), bytes.len())
}

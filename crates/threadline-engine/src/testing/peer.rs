//! Simulated clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::PATIENCE;
use crate::transport::{Link, Script};

/// The client's end of a simulated connection. It sends and takes bytes, and controls how the engine's reads
/// and writes behave.
///
/// What the engine writes is kept until the test takes it. Taking makes no room: see [`Peer::room`]. Dropping
/// the peer closes the connection.
#[derive(Debug)]
pub struct Peer {
    link: Arc<Link>,
    address: SocketAddr,
}

impl Peer {
    pub(super) fn new(link: Arc<Link>, address: SocketAddr) -> Self {
        Peer { link, address }
    }

    /// The peer's address, which is unique in its network.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one piece. A read of the engine never returns bytes of two pieces. Bytes are lost if either end
    /// has already closed this direction.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.send_pieces([bytes]);
    }

    /// Sends several pieces, as [`Peer::send`] for each.
    pub fn send_pieces(&self, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        self.change(|script| pieces.into_iter().for_each(|piece| script.send(piece.as_ref())));
    }

    /// Limits the engine's reads to `most` bytes each, from now on.
    ///
    /// # Panics
    /// If `most` is 0.
    pub fn reads_at_most(&self, most: usize) {
        assert!(most > 0, "a read gets at least one byte");
        self.change(|script| script.read_max = most);
    }

    /// Makes the next `count` non-blocking reads of the engine fail with `EAGAIN` despite input. A new event
    /// follows each.
    pub fn stall_reads(&self, count: usize) {
        self.change(|script| script.stalls += count);
    }

    /// Interrupts the next `count` blocking calls of the engine on this connection (`EINTR`).
    pub fn interrupt(&self, count: usize) {
        self.change(|script| script.interrupts += count);
    }

    /// Sets how many bytes the engine can write from now on before a write would block. Initially, and with
    /// `usize::MAX`, there is no bound.
    pub fn room(&self, count: usize) {
        self.change(|script| script.set_room(count));
    }

    /// Disables sending files by the kernel: the engine reads and writes them, as over TLS.
    pub fn no_files(&self) {
        self.change(|script| script.sends_files = false);
    }

    /// Closes the peer's sending side.
    pub fn close_write(&self) {
        self.change(Script::end_input);
    }

    /// Closes the connection. The engine can read what was sent before, then the end; its writes fail.
    pub fn close(&self) {
        self.change(Script::close);
    }

    /// Resets the connection. Unread bytes are lost; the engine's next read or write fails.
    pub fn reset(&self) {
        self.change(Script::reset);
    }

    /// Waits for `count` bytes and takes them.
    ///
    /// # Panics
    /// If they do not come within 10 s, or the end comes first.
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

    /// Waits for exactly these bytes and takes them.
    ///
    /// # Panics
    /// If other bytes come, or none within 10 s.
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

    /// Waits until the engine closes its sending side, and takes all bytes before it.
    ///
    /// # Panics
    /// If the end does not come within 10 s.
    pub fn take_to_end(&self) -> Vec<u8> {
        let mut script = self.wait("the end", Script::output_ended);
        let count = script.output.len();
        self.taken(&mut script, count)
    }

    /// Waits until the engine closes its sending side.
    ///
    /// # Panics
    /// If bytes come first, or the end does not come within 10 s.
    #[track_caller]
    pub fn expect_end(&self) {
        let is_clear = |script: &Script| script.output_ended() || !script.output.is_empty();
        let script = self.wait("the end", is_clear);
        assert!(script.output.is_empty(), "{} came instead of the end", shown(&script.output));
    }

    /// Waits until the engine has released the connection.
    ///
    /// # Panics
    /// If it does not within 10 s.
    #[track_caller]
    pub fn expect_closed(&self) {
        drop(self.wait("the close", Script::is_dropped));
    }

    /// Takes the bytes that are there now, at most `most`.
    pub fn take_now(&self, most: usize) -> Vec<u8> {
        let mut script = self.link.lock();
        let count = script.output.len().min(most);
        self.taken(&mut script, count)
    }

    /// The number of bytes that the engine has written and the test has not taken.
    pub fn untaken_len(&self) -> usize {
        self.link.lock().output.len()
    }

    /// The number of sent bytes that the engine has not read.
    pub fn unread_len(&self) -> usize {
        self.link.lock().unread_len()
    }

    /// Whether the engine has ended the connection by a reset. On a socket the peer's reads fail then.
    pub fn was_reset(&self) -> bool {
        self.link.lock().was_reset
    }

    /// Whether the engine has closed its sending side.
    pub fn has_ended(&self) -> bool {
        self.link.lock().output_ended()
    }

    /// Whether the engine has released the connection.
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

/// The first bytes, escaped, for messages.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let rest = if bytes.len() > MOST { "…" } else { "" };
    let begin = &bytes[..bytes.len().min(MOST)];
    format!("\"{}\"{rest} ({} bytes)", begin.escape_ascii(), bytes.len())
}

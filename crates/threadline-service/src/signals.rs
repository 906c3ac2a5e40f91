//! Waiting for the signals that end a service.

use std::io;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::logging;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM or SIGINT (Ctrl-C): finish what is in flight and end.
    Stop,
    /// A child process has ended.
    Child,
}

/// Who the signals are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A service of one process: SIGTERM and SIGINT stop it, a second one ends it on the spot.
    Single,
    /// A supervisor: as `Single`, and its children's ends.
    Supervisor,
    /// A worker: only SIGTERM stops it. Ctrl-C reaches the whole process group, and it is the
    /// supervisor's to act on it. A second SIGTERM means nothing while the supervisor is there: service
    /// managers signal every process of a service, and the supervisor passes its own on besides.
    /// `ORPHANED` stops it as well, and ends it on the spot if it was stopping already.
    Worker,
}

/// What the kernel sends to a worker whose supervisor has died. Not SIGTERM: the kernel may send it
/// once for each of the supervisor's threads, which must not look like being asked twice.
pub(crate) const ORPHANED: i32 = SIGUSR2;

/// Signals as they come. From [`listen`] on, they no longer end the process by themselves.
#[derive(Debug)]
pub struct Listening {
    events: Receiver<Event>,
}

/// Starts to listen, on a thread of its own.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn listen(role: Role) -> io::Result<Listening> {
    let mut signals = match role {
        Role::Single => Signals::new([SIGTERM, SIGINT])?,
        Role::Worker => Signals::new([SIGTERM, SIGINT, ORPHANED])?,
        Role::Supervisor => Signals::new([SIGTERM, SIGINT, SIGCHLD])?,
    };
    let (sender, events) = channel();
    thread::Builder::new().name("tl-signals".into()).spawn(move || {
        let (mut stops, mut orphaned) = (0, false);
        for signal in signals.forever() {
            let event = match (signal, role) {
                (SIGCHLD, _) => Event::Child,
                (SIGINT, Role::Worker) => continue,
                (ORPHANED, _) if orphaned => continue,
                (SIGTERM, Role::Worker) if stops > 0 && !orphaned => continue,
                _ => Event::Stop,
            };
            orphaned |= signal == ORPHANED;
            stops += u32::from(event == Event::Stop);
            if stops > 1 {
                tracing::warn!("asked twice: ending on the spot");
                logging::flush();
                process::exit(128 + if orphaned { SIGTERM } else { signal });
            }
            if sender.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(Listening { events })
}

impl Listening {
    /// Waits for the next event, for ever.
    pub fn wait(&self) -> Event {
        // The sender lives as long as the signal thread, which never ends before us.
        self.events.recv().unwrap_or(Event::Stop)
    }

    /// Waits for the next event; `None` after `limit` without one.
    pub fn wait_for(&self, limit: Duration) -> Option<Event> {
        match self.events.recv_timeout(limit) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Stop),
        }
    }
}

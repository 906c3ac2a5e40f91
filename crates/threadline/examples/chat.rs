//! A chat room over lines of text. A member who only listens holds no thread.
//!
//! Run:  cargo run --release -p threadline --example chat
//! Try:  nc 127.0.0.1 12346                       in two terminals or more
//!
//! The first line you type is your name; every line after it goes to all other members. Members who
//! do not read are closed when 256 KB wait for them, so nobody can hold the room up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use threadline::{Lines, Sender, Server, Session};

/// What a connection keeps between two lines.
struct Name(String);

#[derive(Default)]
struct Room {
    members: Mutex<HashMap<u64, Sender>>,
}

impl Room {
    fn hear(&self, line: &str, session: &mut Session) -> Option<String> {
        let id = session.id();
        if let Some(Name(name)) = session.get::<Name>() {
            let line = format!("{name}: {line}\n");
            self.tell_others(id, &line);
            return None;
        }
        let name = line.trim().to_owned();
        if name.is_empty() {
            return Some("what is your name?".into());
        }
        self.tell_others(id, &format!("* {name} has come in\n"));
        self.members().insert(id, session.sender());
        session.insert(Name(name));
        Some(format!("* {} here, with you", self.members().len()))
    }

    fn leave(&self, session: &mut Session) {
        let id = session.id();
        if self.members().remove(&id).is_none() {
            return;
        }
        if let Some(Name(name)) = session.get::<Name>() {
            let line = format!("* {name} has left\n");
            self.tell_others(id, &line);
        }
    }

    fn tell_others(&self, id: u64, line: &str) {
        for (_, sender) in self.members().iter().filter(|(other, _)| **other != id) {
            // Never blocks. One who has gone is taken out by `leave`.
            let _ = sender.send(line);
        }
    }

    fn members(&self) -> MutexGuard<'_, HashMap<u64, Sender>> {
        // Whatever panicked under the lock has left a map that is still a map.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn main() -> threadline::Result<()> {
    let room = Arc::new(Room::default());
    let closed = Arc::clone(&room);
    let lines = Lines::new(move |line, session| room.hear(line, session))
        .name("chat")
        .length_max(1024)
        .on_open(|_| Some("* welcome: what is your name?".into()))
        .on_close(move |session| closed.leave(session));
    Server::new().lines("127.0.0.1:12346", lines).run()
}

//! A chat room: each line goes to all other members.
//!
//! A member who only listens costs no thread. Lines are written by the thread that serves the member
//! who spoke; one who does not read is closed when too much waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use threadline::{Lines, Sender, Session};

/// A line here is what somebody has typed.
const LINE_MAX: usize = 1024;

#[derive(Default)]
struct Room {
    members: Mutex<HashMap<u64, Member>>,
}

struct Member {
    name: String,
    sender: Sender,
}

pub(crate) fn room() -> Lines {
    let room = Arc::new(Room::default());
    let (opened, closed) = (Arc::clone(&room), Arc::clone(&room));
    Lines::new(move |line, session| room.hear(line.trim(), session))
        .name("chat")
        .length_max(LINE_MAX)
        .on_open(move |session| Some(opened.enter(session)))
        .on_close(move |session| closed.leave(session))
}

impl Room {
    fn enter(&self, session: &mut Session) -> String {
        let (id, sender) = (session.id(), session.sender());
        let name = self.with_members(|members| {
            // The lowest number that is free.
            let taken = |name: &String| members.values().any(|member| member.name == *name);
            let names = (1..).map(|number| format!("guest{number}"));
            let name = names.into_iter().find(|name| !taken(name)).unwrap_or_default();
            members.insert(id, Member { name: name.clone(), sender });
            name
        });
        self.tell_others(id, &format!("* {name} has come in"));
        format!("* welcome, {name}: /name NAME renames you, /who lists the members, /quit leaves")
    }

    fn leave(&self, session: &mut Session) {
        let id = session.id();
        if let Some(member) = self.with_members(|members| members.remove(&id)) {
            self.tell_others(id, &format!("* {} has left", member.name));
        }
    }

    fn hear(&self, line: &str, session: &mut Session) -> Option<String> {
        let id = session.id();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => None,
            ("/quit", _) => {
                session.close_after_reply();
                Some("* good-bye".into())
            }
            ("/who", _) => Some(self.with_members(|members| {
                let mut names: Vec<_> = members.values().map(|m| m.name.as_str()).collect();
                names.sort_unstable();
                format!("* {} here: {}", names.len(), names.join(", "))
            })),
            ("/name", name) => Some(self.rename(id, name.trim())),
            (command, _) if command.starts_with('/') => {
                Some(format!("* no such command: {command}"))
            }
            _ => {
                let name = self.name_of(id);
                self.tell_others(id, &format!("{name}: {line}"));
                None
            }
        }
    }

    fn rename(&self, id: u64, name: &str) -> String {
        if name.is_empty() || name.len() > 32 || name.contains(char::is_whitespace) {
            return "* a name has 1 to 32 letters and no space".into();
        }
        let old = self.with_members(|members| {
            if members.values().any(|member| member.name == name) {
                return None;
            }
            let member = members.get_mut(&id)?;
            Some(std::mem::replace(&mut member.name, name.to_owned()))
        });
        let Some(old) = old else { return format!("* the name {name} is taken") };
        self.tell_others(id, &format!("* {old} is {name} now"));
        format!("* you are {name} now")
    }

    fn name_of(&self, id: u64) -> String {
        self.with_members(|members| {
            members.get(&id).map_or_else(|| "somebody".to_owned(), |member| member.name.clone())
        })
    }

    fn tell_others(&self, id: u64, line: &str) {
        let line = format!("{line}\n");
        self.with_members(|members| {
            for (_, member) in members.iter().filter(|(other, _)| **other != id) {
                // One who has gone is taken out by `leave`.
                let _ = member.sender.send(&line);
            }
        });
    }

    fn with_members<R>(&self, work: impl FnOnce(&mut HashMap<u64, Member>) -> R) -> R {
        // Whatever panicked under the lock has left a map that is still a map.
        work(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

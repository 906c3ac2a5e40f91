//! What has become of the clients of a crowd, as counts.
//!
//! The crowd's thread counts; scenarios take copies and wait for something in them. An answer is right if its
//! status is one that the client expects and, for a 200, its body is too.

use std::collections::BTreeMap;

/// Counts over all clients of a crowd.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Clients whose connection has not ended.
    pub open: usize,
    /// Of these, the ones whose last request has no whole answer.
    pub waiting: usize,
    /// Requests that were sent, as far as they are sent at once.
    pub sent: usize,
    /// Clients to which the first byte of an answer has come, read or not.
    pub begun: usize,
    /// Answers by status, right ones.
    statuses: BTreeMap<u16, u64>,
    /// Answers that were not right.
    pub wrong: u64,
    /// The first of these, in words.
    pub first_wrong: Option<String>,
    /// Connections that the service closed before an answer was whole.
    pub closed: u64,
    /// Connections that it reset before an answer was whole.
    pub reset: u64,
}

impl Tally {
    pub(super) fn of(clients: usize) -> Tally {
        Tally { open: clients, waiting: clients, ..Tally::default() }
    }

    /// Right answers of this status.
    pub fn answered(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    pub(super) fn count_right(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }

    pub(super) fn count_wrong(&mut self, what: String) {
        self.wrong += 1;
        self.first_wrong.get_or_insert(what);
    }

    /// In words, for a note.
    pub fn in_words(&self) -> String {
        let mut parts: Vec<_> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let others = [
            ("wrong", self.wrong),
            ("closed", self.closed),
            ("reset", self.reset),
            ("without an answer", self.waiting as u64),
        ];
        let others = others.iter().filter(|(_, count)| *count > 0);
        parts.extend(others.map(|(what, count)| format!("{what}: {count}")));
        parts.join(", ")
    }
}

//! The mailboxes of all shards, for notes from one shard to the others.
//!
//! They are the shards' [`Home`]s and not the shards themselves, which have their connections, their loops and
//! this.

use std::sync::{Arc, OnceLock};

use crate::connection::Home;
use crate::inbox::Note;

#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    /// In the order of the shards' numbers, once they are there.
    homes: OnceLock<Vec<Arc<Home>>>,
}

impl Mailboxes {
    /// Says where notes can be left, once for each engine: `homes` are in the order of the shards' numbers.
    pub(crate) fn open(&self, homes: impl Iterator<Item = Arc<Home>>) {
        let _ = self.homes.set(homes.collect());
    }

    /// The shards' homes; none before [`Mailboxes::open`].
    pub(crate) fn homes(&self) -> impl Iterator<Item = &Arc<Home>> {
        self.homes.get().into_iter().flatten()
    }

    /// Leaves a note with every shard but one, and wakes those that it is left with.
    pub(crate) fn tell_others(&self, except: usize, note: Note) {
        let homes = self.homes().enumerate();
        homes.filter(|(number, _)| *number != except).for_each(|(_, home)| home.tell(note));
    }
}

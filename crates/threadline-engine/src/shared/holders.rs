//! Who holds shared bytes of replies: outputs that wait for their peers, or the program as well.
//!
//! The count of references alone does not tell: if slow peers are the only holders, the memory is held because of
//! them; if a cache has the bytes too, it would stay without them. So outputs are counted by the bytes that they
//! wait with, from when they begin to wait. Only what waits comes here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// How many outputs wait with the same bytes, by the address of these.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    by_address: Mutex<HashMap<usize, Arc<AtomicUsize>>>,
}

/// One output that waits with shared bytes. Must not outlive them by long: their address may be used again.
#[derive(Debug)]
pub(crate) struct Holder {
    holders: Arc<Holders>,
    address: usize,
    /// Changed under the lock. Only a number: it orders nothing.
    count: Arc<AtomicUsize>,
}

impl Holders {
    /// One more output waits with these bytes.
    pub(crate) fn add(self: &Arc<Self>, bytes: &Arc<[u8]>) -> Holder {
        let address = bytes.as_ptr().addr();
        let mut by_address = self.by_address.lock();
        let count = Arc::clone(by_address.entry(address).or_default());
        count.fetch_add(1, Ordering::Relaxed);
        Holder { holders: Arc::clone(self), address, count }
    }
}

impl Holder {
    /// The share of this output in the memory of `bytes`; 0 if others hold them than outputs that wait.
    pub(crate) fn share_of(&self, bytes: &Arc<[u8]>) -> usize {
        let holders = Arc::strong_count(bytes);
        if self.count.load(Ordering::Relaxed) < holders { 0 } else { bytes.len().div_ceil(holders) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut by_address = self.holders.by_address.lock();
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            by_address.remove(&self.address);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shared_by_those_who_wait_unless_others_hold_them_too() {
        let holders = Arc::new(Holders::default());
        let kept: Arc<[u8]> = Arc::from(vec![0; 10]);
        let mut waiting: Vec<(Holder, Arc<[u8]>)> =
            (0..3).map(|_| (holders.add(&kept), Arc::clone(&kept))).collect();
        let shares = |waiting: &[(Holder, Arc<[u8]>)]| {
            waiting.iter().map(|(holder, bytes)| holder.share_of(bytes)).collect::<Vec<_>>()
        };
        assert_eq!(shares(&waiting), [0, 0, 0]);
        drop(kept);
        assert_eq!(shares(&waiting), [4, 4, 4]);
        waiting.pop();
        assert_eq!(shares(&waiting), [5, 5]);
        waiting.pop();
        assert_eq!(shares(&waiting), [10]);
        assert_eq!(holders.by_address.lock().len(), 1);
        waiting.clear();
        assert_eq!(holders.by_address.lock().len(), 0);
    }
}

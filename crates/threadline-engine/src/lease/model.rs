//! Loom models of the lease: every interleaving of a holder, a taker and a monitor's stale look.

use super::Leased;
use crate::primitive::Ordering;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

/// Counts how many threads believe that they hold the lease at once.
#[derive(Default)]
struct Watch(AtomicUsize);

impl Watch {
    fn enter(&self) {
        assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), 0, "two holders at once");
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lend, take, take back: exactly one of the two ends up with the lease.
#[test]
fn one_holder_comes_out_of_a_race_for_a_loan() {
    loom::model(|| {
        let shared = Arc::new((Leased::new(Watch::default()), Watch::default()));
        let taker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (leased, watch) = &*shared;
                let taken = leased.take(leased.look());
                if let Some(lease) = &taken {
                    watch.enter();
                    lease.0.store(0, Ordering::Relaxed);
                    watch.leave();
                }
                let won = taken.is_some();
                // A thread that took a shard keeps it here, as a successor would.
                std::mem::forget(taken);
                won
            })
        };
        let (leased, watch) = &*shared;
        let lease = leased.fill().expect("vacant");
        let lease = lease.lend().take_back();
        if lease.is_some() {
            watch.enter();
            watch.leave();
        }
        let kept = lease.is_some();
        // A second loan: a look at the first must not take it.
        let kept_second = lease.map(|lease| lease.lend().take_back().is_some());
        let taken = taker.join().expect("taker");
        assert_eq!(taken, !(kept && kept_second == Some(true)));
    });
}

/// A monitor that looked at an earlier loan takes nothing later: the sequence number rules out ABA.
#[test]
fn a_stale_look_never_takes_a_later_loan() {
    loom::model(|| {
        let leased = Arc::new(Leased::new(()));
        let loan = leased.fill().expect("vacant").lend();
        let stale = leased.look();
        let lease = loan.take_back().expect("nobody took it");
        let taker = {
            let leased = Arc::clone(&leased);
            thread::spawn(move || leased.take(stale).is_some())
        };
        let lease = lease.lend().take_back();
        assert!(!taker.join().expect("taker"), "took a loan it never saw");
        assert!(lease.is_some());
    });
}

/// Two takers of the same loan: one wins, and the holder learns of it.
#[test]
fn two_takers_do_not_share_a_shard() {
    loom::model(|| {
        let leased = Arc::new(Leased::new(()));
        let loan = leased.fill().expect("vacant").lend();
        let seen = leased.look();
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let leased = Arc::clone(&leased);
                thread::spawn(move || {
                    let lease = leased.take(seen);
                    let won = lease.is_some();
                    std::mem::forget(lease);
                    won
                })
            })
            .collect();
        let kept = loan.take_back().map(std::mem::forget).is_some();
        let taken = takers.into_iter().filter(|_| true).map(|t| t.join().expect("taker"));
        assert_eq!(taken.filter(|won| *won).count() + usize::from(kept), 1);
    });
}

/// A thread that leaves a note and a holder that goes to sleep: the note is seen before the sleep,
/// or the thread sees that it must wake the holder. (The inbox's wake-up.)
#[test]
fn no_note_is_left_to_a_sleeper() {
    loom::model(|| {
        let shared = Arc::new((Leased::new(()), AtomicUsize::new(0), AtomicUsize::new(0)));
        let sender = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (leased, notes, wakes) = &*shared;
                notes.store(1, Ordering::Relaxed);
                if leased.look().is_polling() {
                    wakes.store(1, Ordering::Relaxed);
                }
            })
        };
        let (leased, notes, wakes) = &*shared;
        let mut lease = leased.fill().expect("vacant");
        // The sleep lasts until the sender is done: nothing else would end it.
        lease.poll(
            || notes.load(Ordering::Relaxed) > 0,
            |(), sleep| {
                sender.join().expect("sender");
                assert!(!sleep || wakes.load(Ordering::Relaxed) == 1, "sleeps on a note");
            },
        );
    });
}

/// A monitor that goes to sleep and a holder that wakes from its poll: the holder sees that it must
/// ring, or the monitor sees that it must not sleep. (The bell.)
#[test]
fn no_shard_runs_while_the_monitor_sleeps_unrung() {
    loom::model(|| {
        let shared = Arc::new((Leased::new(()), AtomicUsize::new(0)));
        let monitor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (leased, asleep) = &*shared;
                asleep.store(1, Ordering::Relaxed);
                leased.look().is_polling()
            })
        };
        let (leased, asleep) = &*shared;
        let mut lease = leased.fill().expect("vacant");
        lease.poll(|| true, |(), _| ());
        let rang = asleep.load(Ordering::Relaxed) == 1;
        let sleeps = monitor.join().expect("monitor");
        assert!(!sleeps || rang, "the monitor sleeps and nobody rang");
    });
}

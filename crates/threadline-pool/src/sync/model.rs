//! Loom: what is given reaches somebody who waits.

use loom::sync::Arc;
use loom::thread;

use super::{Event, Queue, Semaphore};

#[test]
fn a_set_event_is_seen_by_all() {
    loom::model(|| {
        let event = Arc::new(Event::new());
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let event = Arc::clone(&event);
                thread::spawn(move || event.wait())
            })
            .collect();
        event.set();
        waiters.into_iter().for_each(|waiter| waiter.join().expect("waiter"));
    });
}

#[test]
fn a_permit_goes_from_hand_to_hand() {
    loom::model(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let semaphore = Arc::clone(&semaphore);
                thread::spawn(move || drop(semaphore.acquire().expect("open")))
            })
            .collect();
        drop(semaphore.acquire().expect("open"));
        threads.into_iter().for_each(|thread| thread.join().expect("thread"));
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn a_permit_that_comes_too_late_is_not_lost() {
    loom::model(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let hasty = {
            let semaphore = Arc::clone(&semaphore);
            // In the model every deadline passes at once.
            thread::spawn(move || {
                let permit = semaphore.acquire_timeout(1, std::time::Duration::ZERO);
                permit.map(super::Permit::forget).is_ok()
            })
        };
        semaphore.add_permits(1);
        let got = hasty.join().expect("hasty");
        assert_eq!(semaphore.available(), usize::from(!got));
    });
}

#[test]
fn an_item_put_is_an_item_got() {
    loom::model(|| {
        let queue = Arc::new(Queue::fifo(1));
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.put(1).expect("open");
                queue.put(2).expect("open");
                queue.close();
            })
        };
        assert_eq!((queue.get(), queue.get()), (Ok(1), Ok(2)));
        assert!(queue.get().is_err());
        producer.join().expect("producer");
    });
}

//! Producers, consumers, and a queue between them that holds both back.
//!
//! Run:  cargo run --release -p threadline-pool --example producer_consumer
//! See:  a queue that never grows beyond its bound, work that is all done when `join` returns, and
//!       orders by urgency.
//!
//! What it teaches: a bounded queue is back-pressure: a producer that is too fast waits for the
//! consumers, instead of filling the memory. `task_done` and `join` tell when all is *done*, which is
//! later than when the queue is empty. `close` ends the consumers: no special item that says "stop", of
//! which there must be as many as there are consumers.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use threadline_pool::sync::{Latch, Queue};

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 2;
const EACH: usize = 200;
const ROOM: usize = 8;

fn main() {
    back_pressure();
    by_urgency();
}

fn back_pressure() {
    let queue = Queue::fifo(ROOM);
    let (longest, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let produced = Latch::new(PRODUCERS);
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (queue, produced) = (&queue, &produced);
            scope.spawn(move || {
                for item in 0..EACH {
                    // Waits while there is no room.
                    queue.put(producer * EACH + item).expect("it is open");
                }
                produced.count_down();
            });
        }
        for _ in 0..CONSUMERS {
            scope.spawn(|| {
                // Ends when the queue is closed and empty.
                for _item in queue.iter() {
                    longest.fetch_max(queue.len(), Relaxed);
                    thread::sleep(Duration::from_micros(200));
                    done.fetch_add(1, Relaxed);
                    queue.task_done();
                }
            });
        }
        produced.wait();
        queue.join();
        let (done, longest) = (done.load(Relaxed), longest.load(Relaxed));
        println!("{done} items are done; the queue never held more than {longest} of {ROOM}");
        assert_eq!(done, PRODUCERS * EACH);
        assert!(longest <= ROOM);
        queue.close();
    });
}

fn by_urgency() {
    // Greater keys first.
    let orders = Queue::by_priority(10, |(urgency, _): &(i64, &str)| *urgency);
    for order in [(2, "the bin is full"), (9, "the house is on fire"), (5, "the milk boils")] {
        orders.put(order).expect("there is room");
    }
    orders.close();
    let in_order: Vec<_> = orders.iter().collect();
    println!("by urgency: {in_order:?}");
    assert!(in_order.is_sorted_by(|one, next| one.0 >= next.0), "the greatest first");
}

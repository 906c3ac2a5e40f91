//! Replies that come later: a bounded queue and two threads that do slow work for any number of clients.
//!
//! Run:  cargo run --release -p threadline --example deferred
//! Try:  curl http://127.0.0.1:8080/render/cat        answers after a second
//!       for n in $(seq 20); do curl -s http://127.0.0.1:8080/render/$n & done; wait
//!       curl http://127.0.0.1:8080/hello             answers at once meanwhile
//!
//! The handler of `/render` puts its reply into the queue and returns: while a request waits for its turn, its
//! connection is parked and holds no thread. A full queue is refused at once, with a 503. Ctrl-C finishes what
//! has been accepted: at two a second that takes 9 s at most, so a drain has 15. What takes longer than the
//! deadline (30 s) is answered 503 as well.

use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use threadline::Server;
use threadline::http::{Deferred, Path, Reply, Response, Router, Status};

/// A name, and the client that waits for its picture.
type Job = (String, Reply);

const QUEUE: usize = 16;

fn main() -> threadline::Result<()> {
    let (queue, jobs) = mpsc::sync_channel::<Job>(QUEUE);
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..2 {
        let jobs = Arc::clone(&jobs);
        let next = move || jobs.lock().expect("no panic").recv();
        thread::spawn(move || {
            while let Ok((name, reply)) = next() {
                // One whose connection is known to have ended need not be worked for.
                if !reply.is_closed() {
                    let _ = reply.send(render(&name));
                }
            }
        });
    }

    let render = move |Path(name): Path<String>| {
        let queue = queue.clone();
        Deferred::new(move |reply| match queue.try_send((name, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, reply)) | TrySendError::Disconnected((_, reply))) => {
                let hint = "the queue is full, try again later";
                let _ = reply.send(Response::error(Status::SERVICE_UNAVAILABLE, hint));
            }
        })
    };
    let router = Router::new().get("/render/{name}", render).get("/hello", || "hello\n");
    Server::new().http("127.0.0.1:8080", router).drain_timeout(Duration::from_secs(15)).run()
}

/// Slow, and at most two at a time.
fn render(name: &str) -> String {
    thread::sleep(Duration::from_secs(1));
    format!("a picture of {name}\n")
}

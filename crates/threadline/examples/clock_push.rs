//! Pushes the time to every client, once a second, from one thread of its own.
//!
//! Run:  cargo run --release -p threadline --example clock_push
//! Try:  nc 127.0.0.1 12347                       prints the time (UTC) every second
//!
//! Open a thousand of them: the number of threads stays the same. A `Sender` writes to a connection
//! that is parked, and a connection that somebody holds a `Sender` to is not closed for being idle.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use threadline::{Lines, Sender, Server};

type Clients = Arc<Mutex<Vec<Sender>>>;

fn main() -> threadline::Result<()> {
    let clients = Clients::default();
    let joining = Arc::clone(&clients);
    thread::spawn(move || push_for_ever(&clients));

    let lines = Lines::new(|_, _| Some("this clock only talks".into())).on_open(move |session| {
        let sender = session.sender();
        joining.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Some("the time, every second:".into())
    });
    Server::new().lines("127.0.0.1:12347", lines).run()
}

fn push_for_ever(clients: &Clients) {
    loop {
        thread::sleep(Duration::from_secs(1));
        let line = format!("{}\n", time_of_day());
        // `send` never blocks. It fails for clients that have gone or do not read: out they go.
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| client.send(&line).is_ok());
    }
}

fn time_of_day() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (hours, minutes, seconds) =
        (since_epoch / 3600 % 24, since_epoch / 60 % 60, since_epoch % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}")
}

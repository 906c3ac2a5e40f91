//! Responses that are made while they are sent: a table of any length, and news as they happen.
//!
//! Run:  cargo run --release -p threadline --example report
//! Try:  curl 'http://127.0.0.1:8080/report.csv?rows=1000000' | tail -1
//!       curl -N http://127.0.0.1:8080/progress
//!
//! The table is an iterator: a piece is made when the client has taken the one before, so a million rows
//! need no more memory than one. The news is pushed from another thread; while nothing happens, the
//! connection has no thread at all, however many wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use threadline::Server;
use threadline::http::{Body, BodySender, Query, Response, Router, State};
use threadline::pool::ThreadPool;
use threadline::pool::schedule::{Every, Scheduler};

#[derive(Deserialize)]
struct Size {
    #[serde(default = "Size::few")]
    rows: u64,
}

impl Size {
    fn few() -> u64 {
        1_000
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Server::new().http("127.0.0.1:8080", router()?).run()?;
    Ok(())
}

fn router() -> std::io::Result<Router> {
    let listeners = Listeners::default();
    let everybody = Arc::clone(&listeners);
    let scheduler = Scheduler::new(&ThreadPool::builder().name("news").threads_max(2).build()?)?;
    let told =
        scheduler.every(Every::fixed_rate(Duration::from_millis(20)), move || tell(&everybody));
    told.map_err(std::io::Error::other)?;
    // As state, the scheduler lives as long as the service.
    Ok(Router::new()
        .get("/report.csv", report)
        .get("/progress", progress)
        .state(listeners)
        .state(scheduler))
}

fn report(Query(Size { rows }): Query<Size>) -> Response {
    let header = std::iter::once(b"n,square\n".to_vec());
    // Rows in batches: each piece costs a write.
    let batches = (0..rows.div_ceil(BATCH)).map(move |batch| {
        let numbers = batch * BATCH + 1..=rows.min((batch + 1) * BATCH);
        numbers.flat_map(|n| format!("{n},{}\n", n * n).into_bytes()).collect()
    });
    Response::bytes(Body::chunks(header.chain(batches)))
        .with_content_type("text/csv")
        .with_header("content-disposition", "attachment; filename=report.csv")
}

const BATCH: u64 = 1_000;

/// How far each has come, and where it listens.
type Listeners = Arc<Mutex<Vec<(u32, BodySender)>>>;

fn progress(State(listeners): State<Listeners>) -> Response {
    let join = move |client| listeners.lock().expect("nobody panics").push((0, client));
    Response::text("").with_body(Body::push(join))
}

/// One thread for all of them. `send` never blocks, and fails for those that have gone. `finish` tells the
/// client that it has all of it: without that, curl reports an error.
fn tell(listeners: &Mutex<Vec<(u32, BodySender)>>) {
    let mut listeners = listeners.lock().expect("nobody panics");
    listeners.retain_mut(|(percent, client)| {
        *percent += 10;
        client.send(format!("{percent} % done\n")).is_ok()
    });
    for (_, client) in listeners.extract_if(.., |(percent, _)| *percent >= 100) {
        let _ = client.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadline::TestServer;

    #[test]
    fn every_row_and_all_the_news_arrive() {
        let server = TestServer::start(router().expect("a router")).expect("a server");
        let report = server.get("/report.csv?rows=25000").send();
        assert_eq!(report.text().lines().count(), 25_001);
        assert!(report.text().ends_with("25000,625000000\n"));
        let news = server.get("/progress").send();
        assert_eq!(news.text().lines().last(), Some("100 % done"));
    }
}

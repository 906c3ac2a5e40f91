//! The same handlers under the concurrency model that you name.
//!
//! Run:  cargo run --release -p threadline --example models -- adaptive
//!       (or: event-loop, pool, thread-per-connection)
//! Try:  curl http://127.0.0.1:8080/slow & curl http://127.0.0.1:8080/fast
//!
//! `/slow` blocks its thread for five seconds. Under event-loop, `/fast` may have to wait for it (always
//! with SHARDS=1 in the environment); under the other three it answers at once. The names of the
//! threads in the answers show who has served: `tl-shard-…` or `tl-spare` runs a loop, `tl-pool-…` is the
//! pool, `tl-connection` belongs to one client. Under adaptive `/fast` moves from the pool to the loop
//! once it has been fast 32 times in a row.

use std::env;
use std::process::exit;
use std::thread;
use std::time::Duration;

use threadline::http::Router;
use threadline::{Model, Server};

fn fast() -> String {
    format!("fast, on {}\n", thread_name())
}

fn slow() -> String {
    thread::sleep(Duration::from_secs(5));
    format!("slow, on {}\n", thread_name())
}

fn thread_name() -> String {
    thread::current().name().unwrap_or("a thread without a name").to_owned()
}

fn main() -> threadline::Result<()> {
    let name = env::args().nth(1).unwrap_or_else(|| Model::default().to_string());
    let model: Model = name.parse().unwrap_or_else(|error| {
        eprintln!("{error}");
        exit(2)
    });
    let mut server = Server::new()
        .http("127.0.0.1:8080", Router::new().get("/fast", fast).get("/slow", slow))
        .model(model); // the line that changes how it runs
    if let Some(shards) = env::var("SHARDS").ok().and_then(|text| text.parse().ok()) {
        server = server.shards(shards);
    }
    server.run()
}

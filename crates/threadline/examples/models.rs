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
use std::error::Error;
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

fn main() -> Result<(), Box<dyn Error>> {
    let model: Model = match env::args().nth(1) {
        Some(name) => name.parse()?,
        None => Model::default(),
    };
    let mut server = Server::new()
        .http("127.0.0.1:8080", Router::new().get("/fast", fast).get("/slow", slow))
        .model(model); // the line that changes how it runs
    if let Ok(shards) = env::var("SHARDS") {
        server = server.shards(shards.parse()?);
    }
    server.run()?;
    Ok(())
}

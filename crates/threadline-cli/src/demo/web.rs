//! The demonstration's web service: a fast route, one that blocks on purpose, and a status page.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use threadline::http::{Path, Response, Router, Status};
use threadline::{Hint, Monitor};

const FRONT_PAGE: &str = "\
threadline demo

  /hello/NAME    answers at once
  /slow/MS       blocks its thread for so many milliseconds, and nobody else
  /status        what the service is doing right now

Try them side by side:

  curl http://127.0.0.1:8080/slow/5000 &
  curl http://127.0.0.1:8080/hello/you

The echo service is on port 12345 and the chat room on port 12346:

  nc 127.0.0.1 12346
";

/// The longest that `/slow` blocks.
const SLOW_MAX_MS: u64 = 60_000;

pub(crate) fn router(monitor: Monitor) -> Router {
    let started = Instant::now();
    Router::new()
        .get("/", || FRONT_PAGE)
        .get("/hello/{name}", hello)
        .get("/slow/{ms}", slow)
        .get("/status", move || status(&monitor, started))
        // On the shard itself: it answers while every pool thread is stuck.
        .hint(Hint::Inline)
}

fn hello(Path(name): Path<String>) -> String {
    format!("hello, {name}\n")
}

fn slow(Path(ms): Path<u64>) -> Result<String, Response> {
    if ms > SLOW_MAX_MS {
        let hint = format_args!("at most {SLOW_MAX_MS} ms");
        return Err(Response::error(Status::BAD_REQUEST, hint));
    }
    thread::sleep(Duration::from_millis(ms));
    Ok(format!("slept {ms} ms\n"))
}

fn status(monitor: &Monitor, started: Instant) -> Response {
    let Some((counts, gauges)) = monitor.look() else {
        return Response::error(Status::SERVICE_UNAVAILABLE, "not running");
    };
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(page, "up for               {} s", started.elapsed().as_secs());
    let _ = writeln!(page, "process              {}", std::process::id());
    let _ =
        writeln!(page, "connections          {} of {}", gauges.connections, gauges.connections_max);
    let _ = writeln!(page, "shards               {}", gauges.shards);
    let _ = writeln!(
        page,
        "loop threads         {}, {} of them ready to take over",
        gauges.loop_threads, gauges.spares_ready
    );
    let _ = writeln!(
        page,
        "pool threads         {}, {} of them busy, {} calls waiting",
        gauges.pool_threads, gauges.pool_busy, gauges.pool_queue
    );
    page.push('\n');
    for (name, count) in counts.iter() {
        let _ = writeln!(page, "{name:<24} {count}");
    }
    Response::text(page)
}

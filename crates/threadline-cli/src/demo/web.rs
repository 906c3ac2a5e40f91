//! The demonstration's web service: a fast route, one that blocks on purpose, one that takes uploads, and
//! a status page.

use std::fmt::Write;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use threadline::http::{Path, Request, Response, Router, Status, get, post};
use threadline::{Address, Hint, Model, Monitor};

/// The longest that `/slow` blocks.
const SLOW_MAX_MS: u64 = 60_000;
/// The longest body that `/count` takes, in bytes.
const COUNT_MAX: u64 = 1 << 30;

pub(crate) fn router(monitor: Monitor, model: Model) -> Router {
    let started = Instant::now();
    let here = monitor.clone();
    Router::new()
        .get("/", move |request: &Request<'_>| front_page(request, here.addresses(), model))
        .get("/hello/{name}", hello)
        .get("/slow/{ms}", slow)
        .route("/count", post(count).body_len_max(COUNT_MAX))
        // On the shard itself: it answers while every pool thread is stuck.
        .route("/status", get(move || status(&monitor, started)).hint(Hint::Inline))
}

/// What there is, and the commands to try it with from where the client is.
fn front_page(request: &Request<'_>, addresses: &[Address], model: Model) -> String {
    let host = request.host().unwrap_or("127.0.0.1:8080");
    let meanwhile = match model {
        Model::EventLoop => "and everybody else on its event loop",
        _ => "and nobody else",
    };
    let mut page = format!(
        "\
threadline demo, model {model}

  /hello/NAME    answers at once
  /slow/MS       blocks its thread for so many milliseconds, {meanwhile}
  /count         counts the bytes that are posted to it
  /status        what the service is doing right now

Try them side by side:

  curl http://{host}/slow/5000 &
  curl http://{host}/hello/you
"
    );
    // In the order in which the demo adds them.
    for (what, address) in ["HTTP", "echo", "the chat room"].iter().zip(addresses).skip(1) {
        // Writing to a String cannot fail.
        let _ = match address {
            Address::Ip(ip) => {
                let host = if ip.ip().is_unspecified() { [127, 0, 0, 1].into() } else { ip.ip() };
                writeln!(page, "  nc {host} {:<26} # {what}", ip.port())
            }
            Address::Unix(path) => writeln!(page, "  nc -U {:<33} # {what}", path.display()),
            other => writeln!(page, "  {what} is on {other}"),
        };
    }
    page
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

/// Reads an upload piece by piece: it may be larger than the memory.
fn count(request: &Request<'_>) -> Result<String, Response> {
    match io::copy(&mut request.reader(), &mut io::sink()) {
        Ok(1) => Ok("1 byte\n".into()),
        Ok(bytes) => Ok(format!("{bytes} bytes\n")),
        Err(error) => Err(Response::error(Status::BAD_REQUEST, error).with_close()),
    }
}

fn status(monitor: &Monitor, started: Instant) -> Response {
    let Some((counts, gauges)) = monitor.look() else {
        return Response::error(Status::SERVICE_UNAVAILABLE, "not running");
    };
    let mut page = String::new();
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
    let _ = writeln!(
        page,
        "waiting bytes        {} of {}",
        gauges.waiting_bytes, gauges.waiting_bytes_max
    );
    let _ = writeln!(
        page,
        "bodies               {} in files, {} read while they arrive",
        gauges.body_files, gauges.streamed
    );
    let _ = writeln!(
        page,
        "trial threads        {}, {} of them busy",
        gauges.trial_threads, gauges.trial_busy
    );
    let _ = writeln!(
        page,
        "computing            {} calls, {} waiting for them to end",
        gauges.computing, gauges.computing_waiting
    );
    let _ = writeln!(page, "calls parked         {}\n", gauges.calls_parked);
    for route in monitor.routes() {
        // A route's name may be as long as its pattern.
        let _ = writeln!(page, "{:<20} {}", route.class(), route.name());
    }
    page.push('\n');
    for (name, count) in counts.iter() {
        let _ = writeln!(page, "{name:<24} {count}");
    }
    Response::text(page)
}

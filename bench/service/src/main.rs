//! threadline itself with the benchmarks' workload, through its public API only.
//!
//! `--help` lists its arguments. The runner looks there which settings this build has, so that it can
//! measure an older one as well.
//!
//! - `overload`: the routes of the overload scenarios

mod overload;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use threadline::http::{Body, HttpSettings, Json, Path, Request, Response, Router};
use threadline::{Connection, Lines, Model, Running, Server, Settings};
use threadline_bench_workload::{Order, User};

static CALLS: AtomicU64 = AtomicU64::new(0);

fn router() -> Router {
    Router::new()
        .get("/", || "Hello, World!")
        .get("/sleep", || {
            thread::sleep(Duration::from_millis(50));
            "slept"
        })
        .get("/mixed", || {
            if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
                thread::sleep(Duration::from_millis(5));
            }
            "mixed"
        })
        .get("/cpu", || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            "spun"
        })
        .get("/users/{id}", |Path(id): Path<u64>| Json(User::of(id)))
        .post("/orders", |Json(order): Json<Order>| Json(order))
        .post("/upload", upload)
        .get("/file", file)
}

/// Read piece by piece.
fn upload(request: &Request<'_>) -> io::Result<String> {
    io::copy(&mut request.reader(), &mut io::sink()).map(|count| count.to_string())
}

fn file() -> io::Result<Response> {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = std::env::temp_dir().join(format!("threadline-bench-{}", std::process::id()));
        fs::write(&path, threadline_bench_workload::file()).expect("the file can be written");
        path
    });
    Ok(Response::bytes(Body::file(File::open(&*PATH)?)?))
}

fn echo(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 8 * 1024];
    loop {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        connection.write_all(&buffer[..count])?;
    }
}

/// Serves the benchmarks' workload. A line on standard input asks for the counters; its end ends the
/// service.
#[derive(Debug, Parser)]
#[command(args_override_self = true)] // a scenario's own settings go before those of the command line
struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: String,
    /// What is spoken: http, line or stream
    #[arg(long, default_value = "http")]
    proto: String,
    /// Adds the routes of the overload scenarios
    #[arg(long)]
    overload: bool,
    /// The concurrency model
    #[arg(long)]
    model: Option<Model>,
    /// Event loops
    #[arg(long)]
    shards: Option<usize>,
    /// The most pool threads there may be
    #[arg(long)]
    pool_threads: Option<usize>,
    /// Seconds that a pool thread stays without work
    #[arg(long, value_parser = seconds)]
    pool_keep_alive: Option<Duration>,
    /// Nice value of pool threads
    #[arg(long)]
    nice: Option<u8>,
    /// Nice value of computing threads
    #[arg(long)]
    computing_nice: Option<u8>,
    /// Calls of computing routes at a time
    #[arg(long)]
    computing_max: Option<usize>,
    /// The most bytes that may be held because peers are slow
    #[arg(long)]
    waiting_bytes_max: Option<usize>,
    /// Where bodies go that do not fit in memory
    #[arg(long)]
    body_dir: Option<PathBuf>,
    /// Seconds that a request body may take
    #[arg(long, value_parser = seconds)]
    body_timeout: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl Arguments {
    /// Changes the settings that were asked for; the others keep their defaults.
    fn change(&self, settings: &mut Settings) {
        if let Some(model) = self.model {
            settings.model = model;
        }
        if let Some(shards) = self.shards {
            settings.shards = shards;
        }
        if let Some(threads) = self.pool_threads {
            settings.pool_threads_max = threads;
        }
        if let Some(limit) = self.pool_keep_alive {
            settings.pool_keep_alive = limit;
        }
        if let Some(nice) = self.nice {
            settings.pool_nice = nice;
        }
        if let Some(bytes) = self.waiting_bytes_max {
            settings.waiting_bytes_max = bytes;
        }
        if let Some(folder) = &self.body_dir {
            settings.body_dir.clone_from(folder);
        }
        if let Some(nice) = self.computing_nice {
            settings.computing_nice = nice;
        }
        if let Some(calls) = self.computing_max {
            settings.computing_max = Some(calls);
        }
    }

    fn http_settings(&self) -> HttpSettings {
        let mut settings = HttpSettings::default();
        if let Some(limit) = self.body_timeout {
            settings.timeouts.body = Some(limit);
        }
        settings
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let server = Server::new().settings(|settings| arguments.change(settings));
    let address = &arguments.addr;
    let server = match arguments.proto.as_str() {
        "http" if arguments.overload => {
            server.http(address, overload::routes(router()).settings(arguments.http_settings()))
        }
        "http" => server.http(address, router().settings(arguments.http_settings())),
        "line" => server.lines(address, Lines::new(|line, _| Some(line.to_owned()))),
        "stream" => server.stream(address, echo),
        proto => return Err(format!("unknown protocol: {proto}").into()),
    };
    let service = server.start()?;
    println!("listening on {}", service.addresses()[0]);
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {
        println!("{}", state(&service));
        line.clear();
    }
    Ok(())
}

/// The counters and gauges, as one line of JSON.
fn state(service: &Running) -> serde_json::Value {
    let counts: serde_json::Map<_, _> =
        service.counts().iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    let gauges = service.gauges();
    serde_json::json!({
        "counts": counts,
        "gauges": {
            "connections": gauges.connections,
            "pool_threads": gauges.pool_threads,
            "pool_busy": gauges.pool_busy,
            "pool_queue": gauges.pool_queue,
            "waiting_bytes": gauges.waiting_bytes,
            "trial_threads": gauges.trial_threads,
            "trial_busy": gauges.trial_busy,
            "computing": gauges.computing,
            "computing_waiting": gauges.computing_waiting,
            "calls_parked": gauges.calls_parked,
        },
        "sleeps": overload::SLEEPS.load(Ordering::Relaxed),
    })
}

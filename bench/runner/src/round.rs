//! One server under one load, and all of them in interleaved rounds.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scenario::{Cores, Load, Scenario};
use crate::servers;

/// What one run gave.
#[derive(Debug, Clone)]
pub struct Run {
    pub server: &'static str,
    pub load: usize,
    pub round: usize,
    /// The generator's report.
    pub report: Value,
}

impl Run {
    /// A number of the report; nested names are separated by `/`. NaN where there is none.
    pub fn number(&self, name: &str) -> f64 {
        self.report.pointer(&format!("/{name}")).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// Replies that were wrong or missing.
    pub fn errors(&self) -> u64 {
        self.report["errors"].as_u64().unwrap_or(0)
    }
}

/// Runs every server under every load, as often as the scenario says, in random order.
pub fn run_all(scenario: &Scenario) -> Result<Vec<Run>, String> {
    let mut runs = Vec::new();
    let mut missing = BTreeSet::new();
    for round in 0..scenario.rounds {
        for (number, load) in scenario.loads.iter().enumerate() {
            for server in shuffled(&scenario.servers, round as u64 * 31 + number as u64) {
                match run_one(scenario, server, load) {
                    Ok(report) => runs.push(Run { server, load: number, round, report }),
                    Err(error) if servers::is_ours(server) => return Err(error),
                    Err(error) => {
                        if missing.insert((server, error.clone())) {
                            eprintln!("{}: {server} is left out: {error}", scenario.name);
                        }
                    }
                }
            }
        }
        eprintln!("{}: round {} of {}", scenario.name, round + 1, scenario.rounds);
    }
    Ok(runs)
}

fn shuffled(servers: &[&'static str], salt: u64) -> Vec<&'static str> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut state = now.map_or(1, |now| now.as_nanos() as u64) ^ salt | 1;
    let mut servers = servers.to_vec();
    for last in (1..servers.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        servers.swap(last, (state % (last as u64 + 1)) as usize);
    }
    servers
}

fn run_one(scenario: &Scenario, server: &str, load: &Load) -> Result<Value, String> {
    let mut running = Running::start(server, scenario.cores)?;
    let mut generator = pinned(servers::generator(), scenario.cores, "1");
    generator.args(["--addr", &running.address, "--pid", &running.child.id().to_string()]);
    generator.args(["--seconds", &scenario.seconds.to_string()]).args(&load.arguments);
    if scenario.cores == Cores::Apart {
        generator.arg("--own-core");
    }
    let output = generator.output().map_err(|error| format!("cannot start lg: {error}"))?;
    running.stop();
    if !output.status.success() {
        return Err(format!("{server}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{server}: {error}"))
}

/// Reads where a server says that it listens.
pub fn said_address(stdout: &mut impl BufRead, server: &str) -> Result<String, String> {
    let line = read_line(stdout).map_err(|error| format!("{server}: {error}"))?;
    let address = line.strip_prefix("listening on ").map(str::to_owned);
    address.ok_or_else(|| format!("{server} did not say where it listens: {line}"))
}

/// Reads a line, without its end.
pub fn read_line(input: &mut impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    match input.read_line(&mut line) {
        Ok(0) => Err("its output has ended".to_owned()),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The program on its core, by util-linux's `taskset`.
fn pinned(program: impl AsRef<std::ffi::OsStr>, cores: Cores, core: &str) -> Command {
    match cores {
        Cores::Shared => Command::new(program),
        Cores::Apart => {
            let mut command = Command::new("taskset");
            command.args(["-c", core]).arg(program);
            command
        }
    }
}

struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(server: &str, cores: Cores) -> Result<Running, String> {
        let (bare, known_address) = servers::command(server)?;
        let mut command = pinned(bare.get_program(), cores, "0");
        command
            .args(bare.get_args())
            .env("GOMAXPROCS", if cores == Cores::Apart { "1" } else { "2" });
        // Some end when their standard input does.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start {server}: {error}"))?;
        let address = match known_address {
            Some(address) => address,
            None => {
                let stdout = child.stdout.as_mut().ok_or("no standard output")?;
                match said_address(&mut BufReader::new(stdout), server) {
                    Ok(address) => address,
                    Err(error) => {
                        let _ = child.kill();
                        let _ = child.wait();
                        return Err(error);
                    }
                }
            }
        };
        let mut running = Running { child, address };
        running.await_listening(server)?;
        Ok(running)
    }

    fn await_listening(&mut self, server: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(&self.address).is_err() {
            if Instant::now() > deadline {
                self.stop();
                return Err(format!("{server} does not listen on {}", self.address));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

//! threadline's service as a process: started, asked for its counters, looked at in procfs.
//!
//! Settings are passed as flags. The service's help text says which flags this build has; others are left out
//! with a note, so that the same scenario runs against an older build.

use std::fs;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::cgroup::Cgroup;
use super::{Figures, Setup};
use crate::{round, servers};

/// A setting of the service that a scenario asks for: its flag and its value.
pub type Setting<'a> = (&'a str, String);

/// The running service. Killed when it is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Service {
    /// Starts the service. A setting that its build does not have is left out, and a note says so.
    pub fn start(
        setup: &Setup,
        settings: &[Setting<'_>],
        figures: &mut Figures,
    ) -> Result<Service, String> {
        Service::start_in(None, setup, settings, figures)
    }

    /// As [`Service::start`], in a control group from its first instruction on.
    pub fn start_in(
        cgroup: Option<&Cgroup>,
        setup: &Setup,
        settings: &[Setting<'_>],
        figures: &mut Figures,
    ) -> Result<Service, String> {
        let program = program(setup)?;
        let known = flags(&program)?;
        if !known.contains("--overload") {
            return Err(format!("{} lacks the routes of these scenarios", program.display()));
        }
        let mut command = match cgroup {
            Some(cgroup) => cgroup.command(&program),
            None => Command::new(&program),
        };
        command.arg("--overload").args(&setup.service_arguments);
        for (flag, value) in settings {
            if known.split_whitespace().any(|word| word == *flag) {
                command.args([flag, value.as_str()]);
            } else {
                figures.note(format!("measured without {flag} {value}: this service lacks it"));
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start {program:?}: {error}"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, stdout) = pipes.expect("both are pipes");
        let mut answers = BufReader::new(stdout);
        let said = round::said_address(&mut answers, "the service").and_then(|address| {
            address.parse().map_err(|_| format!("not an IP address and port: {address}"))
        });
        match said {
            Ok(address) => Ok(Service { child, address, orders, answers }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process is there.
    pub fn is_up(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The counters and gauges, by the main thread, which nothing else keeps busy.
    ///
    /// # Errors
    /// If the service has ended.
    pub fn look(&mut self) -> Result<Value, String> {
        let ended = |error: String| format!("the service does not tell its state: {error}");
        self.orders.write_all(b"\n").map_err(|error| ended(error.to_string()))?;
        let line = round::read_line(&mut self.answers).map_err(ended)?;
        serde_json::from_str(&line).map_err(|error| ended(error.to_string()))
    }

    /// One of the gauges, or of the counters.
    pub fn number(&mut self, pointer: &str) -> Result<f64, String> {
        let state = self.look()?;
        let number = state.pointer(pointer).and_then(Value::as_f64);
        number.ok_or_else(|| format!("the service's state has no {pointer}"))
    }

    /// Waits until a gauge is at most `most`; how long that took.
    ///
    /// # Errors
    /// If the service has ended.
    pub fn wait_for(
        &mut self,
        pointer: &str,
        most: f64,
        limit: Duration,
    ) -> Result<Option<Duration>, String> {
        let mut failed = None;
        let took = super::wait_until(limit, || match self.number(pointer) {
            Ok(number) => number <= most,
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        failed.map_or(Ok(took), Err)
    }

    /// Pool threads that are busy while no calls come: after those that had just been running have had half a
    /// second to end.
    ///
    /// # Errors
    /// If the service has ended.
    pub fn held_threads(&mut self) -> Result<f64, String> {
        self.wait_for("/gauges/pool_busy", 0.0, Duration::from_millis(500))?;
        self.number("/gauges/pool_busy")
    }

    /// Resident memory, in MB.
    pub fn rss_mb(&self) -> f64 {
        self.status("VmRSS") / 1024.0
    }

    /// The most there has been since [`Service::forget_peak`], in MB.
    pub fn rss_peak_mb(&self) -> f64 {
        self.status("VmHWM") / 1024.0
    }

    /// Lets the peak begin with what is resident now (proc_pid_clear_refs(5)).
    pub fn forget_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid()), "5");
    }

    pub fn threads(&self) -> f64 {
        self.status("Threads")
    }

    pub fn descriptors(&self) -> f64 {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        entries.map_or(f64::NAN, |entries| entries.count() as f64)
    }

    /// A number of the process's status file; NaN once the process has ended.
    fn status(&self, name: &str) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(setup: &Setup) -> Result<PathBuf, String> {
    match &setup.service_program {
        Some(program) => Ok(program.clone()),
        None => servers::built_program("threadline-bench-service"),
    }
}

/// The help text, which names every flag that this build of the service has.
fn flags(program: &PathBuf) -> Result<String, String> {
    let output = Command::new(program).arg("--help").output();
    let output = output.map_err(|error| format!("cannot start {program:?}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

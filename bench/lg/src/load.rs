//! The loop: sends, receives, and times.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::connection::{Connection, Script};
use crate::server::Usage;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub requests: u64,
    pub seconds: f64,
    pub rps: f64,
    pub errors: u64,
    pub latency_us: Latencies,
    pub slow_requests: u64,
    pub slow_rps: f64,
    pub slow_latency_us: Latencies,
    /// Open loop: how long after it was due the generator came to send a request for which a connection
    /// was free. This part of a latency is the generator's own.
    pub lag_us: Latencies,
    /// Share of the measured time in which the generator had replies to read or requests to send.
    /// Near 1: the generator was the limit, not the server.
    pub lg_util: f64,
    pub server: Option<ServerReport>,
    /// The first error, in words.
    pub first_error: Option<String>,
}

/// What the server used.
#[derive(Debug, Serialize)]
pub struct ServerReport {
    pub cpu_seconds: f64,
    pub cpu_us_per_request: f64,
    /// From schedstat, to the nanosecond; otherwise to 10 ms, because threads have ended.
    pub cpu_exact: bool,
    pub rss_kb: u64,
    pub anon_kb: u64,
    pub threads: usize,
    /// Memory for each idle connection: the growth while they were opened.
    pub kb_per_idle_connection: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
pub struct Latencies {
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl From<&Histogram<u64>> for Latencies {
    fn from(histogram: &Histogram<u64>) -> Self {
        let us = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        Latencies {
            min: us(histogram.min()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(histogram.max()),
        }
    }
}

struct Load<'a> {
    arguments: &'a Arguments,
    /// Measured connections, and slow ones: a herd of slow replies must not keep the generator from the
    /// measured ones, or these would be charged for it.
    fast_epoll: OwnedFd,
    slow_epoll: OwnedFd,
    /// Measured connections first, then slow ones.
    connections: Vec<Connection>,
    fast: Script,
    slow: Script,
    latencies: Histogram<u64>,
    slow_latencies: Histogram<u64>,
    lags: Histogram<u64>,
    began: Instant,
    measuring: bool,
    /// Replies of either kind since the server's use was first read.
    served: u64,
    /// Open loop: connections without a request, and scheduled requests without a connection.
    free: Vec<usize>,
    late: VecDeque<u64>,
    errors: u64,
    first_error: Option<String>,
    input: Vec<u8>,
    /// Time spent looking for events while there were none.
    idle: Duration,
}

/// Whose replies are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Fast,
    Slow,
}

/// From reading what the server has used, which takes milliseconds for a thousand threads and makes
/// requests late, to the first measured request.
const SETTLING: Duration = Duration::from_millis(100);

/// How long a server may take for the first reply to a connection; some have no thread for it as long as
/// the others are open.
const FIRST_REPLY: Duration = Duration::from_secs(5);

/// So many slow replies are looked after between two looks at the measured connections.
const SLOW_AT_ONCE: usize = 1;

/// The longest sleep of a generator that sleeps: how late it may notice the end of the warm-up.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// Waits until one of the descriptors is ready or the time is over.
fn wait(descriptors: &mut [PollFd<'_>], limit: Duration) -> io::Result<()> {
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
    match poll(descriptors, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Runs the load that was asked for.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    if !arguments.addr.ip().is_loopback() {
        let message = "this generator puts load on servers of this machine only";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    if arguments.own_core {
        // Whoever else gets the core gets it for milliseconds, which count as the server's. Takes a
        // privilege; without it the figures are that much worse.
        let _ = rustix::process::setpriority_process(None, -20);
    }
    let fast = Script::new(arguments, &arguments.path);
    let mut load = Load {
        arguments,
        fast_epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        slow_epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        connections: Vec::new(),
        slow: Script::new(arguments, &arguments.slow_path),
        fast,
        latencies: histogram(),
        slow_latencies: histogram(),
        lags: histogram(),
        began: Instant::now(),
        measuring: false,
        served: 0,
        free: Vec::new(),
        late: VecDeque::new(),
        errors: 0,
        first_error: None,
        input: vec![0; 256 * 1024],
        idle: Duration::ZERO,
    };
    let (idle, kb_per_idle) = load.open_idle()?;
    let drip = load.open_drip()?;
    load.open()?;
    let report = load.measure(drip, kb_per_idle);
    drop(idle);
    report
}

fn histogram() -> Histogram<u64> {
    // 1 ns to 60 s in three digits: always valid bounds.
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds")
}

impl Load<'_> {
    /// Connections that make one request and then stay open; and what one costs the server.
    fn open_idle(&mut self) -> io::Result<(Vec<Connection>, Option<f64>)> {
        let count = self.arguments.idle;
        let mut idle = Vec::with_capacity(count);
        let mut before = None;
        for number in 0..count {
            // The first ones touch what every connection shares.
            if number == 100.min(count / 2) {
                before = self.arguments.pid.map(|pid| (number, Usage::of(pid).anon_kb));
            }
            idle.push(self.open_served(number)?);
        }
        let per_connection = match (before, self.arguments.pid) {
            (Some((first, before)), Some(pid)) if count > first => {
                let now = Usage::of(pid).anon_kb;
                Some(now.saturating_sub(before) as f64 / (count - first) as f64)
            }
            _ => None,
        };
        Ok((idle, per_connection))
    }

    /// A connection that has had its first reply. One that only waits to be accepted would make a server
    /// look fast: it then serves fewer.
    fn open_served(&mut self, number: usize) -> io::Result<Connection> {
        let mut connection = Connection::open(self.arguments.addr, number)?;
        connection.send(self.fast.request())?;
        let deadline = Instant::now() + FIRST_REPLY;
        while connection.receive(&mut self.fast, &mut self.input)? == 0 {
            if self.arguments.sleeps {
                let mut reply = [PollFd::new(&connection.stream, PollFlags::IN)];
                wait(&mut reply, SLEEP_MAX)?;
            }
            if Instant::now() > deadline {
                let message = format!("connection {number} was not served within {FIRST_REPLY:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
        Ok(connection)
    }

    fn open_drip(&self) -> io::Result<Vec<Connection>> {
        let first = self.arguments.idle;
        (first..first + self.arguments.drip)
            .map(|number| Connection::open(self.arguments.addr, number))
            .collect()
    }

    fn open(&mut self) -> io::Result<()> {
        let first = self.arguments.idle + self.arguments.drip;
        for slot in 0..self.arguments.connections + self.arguments.slow {
            let connection = self.open_served(first + slot)?;
            let data = EventData::new_u64(slot as u64);
            epoll::add(
                self.epoll_of(self.which(slot)),
                connection.stream.as_fd(),
                data,
                EventFlags::IN,
            )?;
            self.connections.push(connection);
        }
        Ok(())
    }

    fn which(&self, slot: usize) -> Which {
        if slot < self.arguments.connections { Which::Fast } else { Which::Slow }
    }

    fn epoll_of(&self, which: Which) -> &OwnedFd {
        match which {
            Which::Fast => &self.fast_epoll,
            Which::Slow => &self.slow_epoll,
        }
    }

    fn measure(
        mut self,
        mut drip: Vec<Connection>,
        kb_per_idle: Option<f64>,
    ) -> io::Result<Report> {
        let warmup = Duration::from_secs_f64(self.arguments.warmup.clamp(0.0, 10.0));
        let seconds = Duration::from_secs_f64(self.arguments.seconds.clamp(0.01, 60.0));
        self.began = Instant::now();
        self.start_all()?;
        let mut next_drip = Duration::ZERO;
        let mut used = None;
        let mut start = None;
        let mut schedule = self.arguments.rate.map(Schedule::new);
        let mut events = Vec::with_capacity(512);
        let mut slow_events = Vec::with_capacity(SLOW_AT_ONCE);
        loop {
            let now = self.began.elapsed();
            if used.is_none() && now >= warmup {
                used = Some(self.arguments.pid.map(Usage::of));
                self.served = 0;
            }
            if !self.measuring && now >= warmup + SETTLING {
                self.measuring = true;
                self.idle = Duration::ZERO;
                start = Some(now);
            }
            if now >= warmup + SETTLING + seconds {
                break;
            }
            if now >= next_drip && !drip.is_empty() {
                next_drip = now + Duration::from_secs(1);
                drip.iter_mut().for_each(|connection| drop(connection.send(b"G")));
            }
            if let Some(schedule) = &mut schedule {
                while let Some(due) = schedule.next(now) {
                    self.send_scheduled(due);
                }
            }
            let looked = Instant::now();
            let mut found = self.serve_events(Which::Fast, &mut events)?;
            if self.arguments.slow > 0 {
                found |= self.serve_events(Which::Slow, &mut slow_events)?;
            }
            if !found && self.arguments.sleeps {
                self.sleep(schedule.as_ref())?;
            }
            if !found {
                self.idle += looked.elapsed();
            }
        }
        self.report(start, used.flatten(), kb_per_idle)
    }

    /// Closed loop: every connection starts; open loop: only the slow ones do.
    fn start_all(&mut self) -> io::Result<()> {
        let open_loop = self.arguments.rate.is_some();
        for slot in 0..self.connections.len() {
            if slot >= self.arguments.connections {
                self.send(slot, 1, None);
            } else if open_loop {
                self.free.push(slot);
            } else {
                self.send(slot, self.arguments.pipeline, None);
            }
        }
        Ok(())
    }

    /// Looks for replies without ever sleeping; whether there were any. A generator that sleeps is woken
    /// by the server's writes, and on a virtual machine the waker pays 10 us and more for that: a slower
    /// server would look slower still. Clients on other machines do not cost that.
    fn serve_events(&mut self, which: Which, events: &mut Vec<epoll::Event>) -> io::Result<bool> {
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(self.epoll_of(which), spare_capacity(events), Some(&at_once)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            self.receive(event.data.u64() as usize);
        }
        Ok(!events.is_empty())
    }

    /// Waits for a reply, or until the next request is due.
    fn sleep(&self, schedule: Option<&Schedule>) -> io::Result<()> {
        let until =
            schedule.map_or(SLEEP_MAX, |schedule| schedule.until_next(self.began.elapsed()));
        let mut replies =
            [&self.fast_epoll, &self.slow_epoll].map(|epoll| PollFd::new(epoll, PollFlags::IN));
        wait(&mut replies, until.min(SLEEP_MAX))
    }

    fn receive(&mut self, slot: usize) {
        let fast = self.which(slot) == Which::Fast;
        let script = if fast { &mut self.fast } else { &mut self.slow };
        let connection = &mut self.connections[slot];
        let replies = match connection.receive(script, &mut self.input) {
            Ok(replies) => replies,
            Err(error) => return self.fail(slot, &error),
        };
        if replies == 0 {
            return;
        }
        self.served += replies as u64;
        let now = self.began.elapsed().as_nanos() as u64;
        for _ in 0..replies {
            let Some(sent) = connection.under_way.pop_front() else { break };
            if self.measuring {
                let histogram = if fast { &mut self.latencies } else { &mut self.slow_latencies };
                histogram.saturating_record((now - sent).max(1));
            }
        }
        if !fast {
            self.send(slot, 1, None);
        } else if self.arguments.rate.is_none() {
            self.send(slot, replies, None);
        } else if let Some(due) = self.late.pop_front() {
            self.send(slot, 1, Some(due));
        } else {
            self.free.push(slot);
        }
    }

    fn send_scheduled(&mut self, due: u64) {
        match self.free.pop() {
            Some(slot) => {
                if self.measuring {
                    let now = self.began.elapsed().as_nanos() as u64;
                    self.lags.saturating_record(now.saturating_sub(due).max(1));
                }
                self.send(slot, 1, Some(due));
            }
            None => self.late.push_back(due),
        }
    }

    fn send(&mut self, slot: usize, count: usize, scheduled: Option<u64>) {
        let script = match self.which(slot) {
            Which::Fast => &self.fast,
            Which::Slow => &self.slow,
        };
        let connection = &mut self.connections[slot];
        let now = scheduled.unwrap_or_else(|| self.began.elapsed().as_nanos() as u64);
        connection.under_way.extend(std::iter::repeat_n(now, count));
        let sent = match count {
            1 => connection.send(script.request()),
            _ => connection.send(&script.request().repeat(count)),
        };
        if let Err(error) = sent {
            self.fail(slot, &error);
        }
    }

    fn fail(&mut self, slot: usize, error: &io::Error) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
        let _ =
            epoll::delete(self.epoll_of(self.which(slot)), self.connections[slot].stream.as_fd());
    }

    fn report(
        self,
        start: Option<Duration>,
        used: Option<Usage>,
        kb_per_idle_connection: Option<f64>,
    ) -> io::Result<Report> {
        let Some(from) = start else {
            return Err(io::Error::other("the warm-up was longer than the run"));
        };
        let seconds = (self.began.elapsed() - from).as_secs_f64();
        let lg_util = 1.0 - self.idle.as_secs_f64() / seconds;
        let (requests, slow_requests) = (self.latencies.len(), self.slow_latencies.len());
        let server = self.arguments.pid.zip(used).map(|(pid, before)| {
            let now = Usage::of(pid);
            let (nanos, cpu_exact) = now.since(&before);
            ServerReport {
                cpu_seconds: nanos as f64 / 1e9,
                cpu_us_per_request: nanos as f64 / 1e3 / self.served.max(1) as f64,
                cpu_exact,
                rss_kb: now.rss_kb,
                anon_kb: now.anon_kb,
                threads: now.thread_count,
                kb_per_idle_connection,
            }
        });
        Ok(Report {
            requests,
            seconds,
            rps: requests as f64 / seconds,
            errors: self.errors,
            latency_us: Latencies::from(&self.latencies),
            slow_requests,
            slow_rps: slow_requests as f64 / seconds,
            slow_latency_us: Latencies::from(&self.slow_latencies),
            lag_us: Latencies::from(&self.lags),
            lg_util,
            server,
            first_error: self.first_error,
        })
    }
}

/// When the next request of an open loop is due.
struct Schedule {
    interval_nanos: f64,
    sent: u64,
}

impl Schedule {
    fn new(rate: f64) -> Self {
        Schedule { interval_nanos: 1e9 / rate.max(1e-3), sent: 0 }
    }

    /// How long until the next request is due.
    fn until_next(&self, now: Duration) -> Duration {
        let due = Duration::from_nanos((self.sent as f64 * self.interval_nanos) as u64);
        due.saturating_sub(now)
    }

    /// The next request that is due by now: when, in nanoseconds since the start.
    fn next(&mut self, now: Duration) -> Option<u64> {
        let due = (self.sent as f64 * self.interval_nanos) as u64;
        (due <= now.as_nanos() as u64).then(|| {
            self.sent += 1;
            due
        })
    }
}

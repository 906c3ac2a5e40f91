//! `non-readers`: clients that ask for 10 MB and read none of it, beside a blocking and a fast route.
//!
//! Each kind of body has a service of its own. Shows the memory that waiting replies take against the budget
//! `waiting_bytes_max`, the pool threads that they hold, and when the memory is back. What the kernel buffers
//! is counted for the whole system: with other programs on the machine it is no more than a hint.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use threadline_bench_workload::{LARGE_KINDS, large};

use super::calls::call;
use super::crowd::{Client, Crowd, Leave};
use super::service::Service;
use super::traffic::{ORDINARY, Traffic};
use super::{Figures, Setup, wait_until};

const WAITING_MAX: u64 = 256 * 1024 * 1024;
/// What the service may have beside the waiting bytes.
const REST_MB: f64 = 64.0;

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    let content = large();
    LARGE_KINDS.iter().try_for_each(|kind| of_kind(setup, figures, kind, &content))
}

fn of_kind(setup: &Setup, figures: &mut Figures, kind: &str, content: &[u8]) -> Result<(), String> {
    let count = setup.clients(600, 6);
    let settings = [("--waiting-bytes-max", WAITING_MAX.to_string())];
    let mut service = Service::start(setup, &settings, figures)?;
    let path = format!("/large/{kind}");
    // One that reads, to know that the others would get what they ask for.
    let read = call(service.address, &path, content, Duration::from_secs(60));
    figures.must(read.is_ok(), || format!("{kind}: {read:?}"));
    let what = |of: &str| format!("{kind}: {of}");
    let ordinary = what("ordinary clients alone");
    let alone = Traffic::measure(setup, &service, figures, ordinary, ORDINARY)?;
    let (resident, sockets) = (service.rss_mb(), socket_memory_mb());
    service.forget_peak();

    let crowd = Crowd::start(service.address, vec![Client::non_reader(&path); count])?;
    crowd.wait_until(Duration::from_secs(20), |tally| tally.begun + (count - tally.open) >= count);
    let ordinary = what("ordinary clients beside them");
    let beside = Traffic::measure(setup, &service, figures, ordinary, ORDINARY)?;
    let busy = service.held_threads()?;
    let waiting = service.look()?.pointer("/gauges/waiting_bytes").and_then(Value::as_f64);
    let waiting = waiting.map_or(f64::NAN, |bytes| bytes / 1024.0 / 1024.0);
    let (peak, sockets) = (service.rss_peak_mb(), socket_memory_mb() - sockets);
    let (tally, gone) = crowd.leave(Leave::Close)?;
    let limit = setup.pick(Duration::from_secs(40), Duration::from_secs(1));
    let back = wait_until(limit, || service.rss_mb() <= resident + REST_MB);
    if back.is_none() {
        let now = service.rss_mb();
        figures.note(format!("{kind}: {now:.0} MB are still resident {limit:?} after they went"));
    }
    let back = back.map_or(f64::NAN, |_| (Instant::now() - gone).as_secs_f64());

    figures.add(what("fast p99 alone"), alone.p99_ms(), "ms");
    let wanted = "at most 1 ms or twice alone";
    figures.add_wanted(what("fast p99 beside them"), beside.p99_ms(), "ms", wanted);
    figures.add(what("blocking calls/s alone"), alone.slow_rate(), "");
    figures.add_wanted(what("blocking calls/s beside them"), beside.slow_rate(), "", "as alone");
    figures.add_wanted(what("pool threads held by them"), busy, "", "0");
    let wanted = format!("at most {}", WAITING_MAX / 1024 / 1024);
    figures.add_wanted(what("waiting bytes, as the service counts"), waiting, "MB", wanted);
    figures.add(what("resident before them"), resident, "MB");
    let wanted = format!("at most {}", WAITING_MAX / 1024 / 1024 + REST_MB as u64);
    figures.add_wanted(what("resident, peak"), peak, "MB", wanted);
    figures.add(what("socket buffers of the system, more than before"), sockets, "MB");
    figures.add_wanted(what("memory back after"), back, "s", "at most 30");
    figures.note(format!(
        "{kind}: {count} clients, {} replies begun; {}",
        tally.begun,
        tally.in_words()
    ));
    figures.must(service.is_up(), || format!("{kind}: the service has ended"));
    Ok(())
}

/// What all TCP sockets of the system have in their buffers (sockstat counts pages).
fn socket_memory_mb() -> f64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:"));
    let pages = line.and_then(|line| line.split(" mem ").nth(1)?.trim().parse::<f64>().ok());
    pages.map_or(f64::NAN, |pages| pages * 4096.0 / 1024.0 / 1024.0)
}

//! `compiler`: a service beside threads that compute on every core at nice 0.
//!
//! Compares first calls of routes, and a route that blocks, with the same service under `ThreadPerConnection`,
//! whose threads have nice 0 too. Clients have the highest priority, so that only the service waits for cores.

use std::time::Duration;

use super::calls::{call, promptly};
use super::compiler::Compiler;
use super::service::{Service, Setting};
use super::traffic::Traffic;
use super::{Figures, Setup};
use crate::report::median;

const LIMIT: Duration = Duration::from_secs(30);
/// Routes whose first call is timed.
const ROUTES: usize = 30;
/// Calls of one route one after the other, until it may have been proven.
const CALLS: usize = 40;

struct Results {
    first_ms: f64,
    first_longest_ms: f64,
    further_ms: f64,
    blocking_rate: f64,
    blocking_p99_ms: f64,
}

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    let of_threads: [Setting<'_>; 1] = [("--model", "thread-per-connection".to_owned())];
    // In turn, so that both have the same neighbours.
    let reference = measure(setup, figures, "thread per connection", &of_threads)?;
    let own = measure(setup, figures, "threadline", &[])?;
    for (name, results) in [("threadline", &own), ("thread per connection", &reference)] {
        figures.add(format!("{name}: first call, median"), results.first_ms, "ms");
        figures.add(format!("{name}: first call, longest"), results.first_longest_ms, "ms");
        figures.add(format!("{name}: first {CALLS} calls, mean"), results.further_ms, "ms");
        figures.add(format!("{name}: blocking calls/s"), results.blocking_rate, "");
        figures.add(format!("{name}: blocking p99"), results.blocking_p99_ms, "ms");
    }
    let ratio = own.first_ms / reference.first_ms;
    figures.add_wanted("first call, ratio of medians", ratio, "", "at most 1.2");
    let ratio = own.further_ms / reference.further_ms;
    figures.add(format!("first {CALLS} calls, ratio of means"), ratio, "");
    let ratio = own.blocking_rate / reference.blocking_rate;
    figures.add_wanted("blocking calls/s, ratio", ratio, "", "at least 0.5");
    let ratio = own.blocking_p99_ms / reference.blocking_p99_ms;
    figures.add_wanted("blocking p99, ratio", ratio, "", "at most 2");
    Ok(())
}

fn measure(
    setup: &Setup,
    figures: &mut Figures,
    name: &str,
    settings: &[Setting<'_>],
) -> Result<Results, String> {
    let mut service = Service::start(setup, settings, figures)?;
    let address = service.address;
    let compiler = Compiler::start();
    let one = |number: usize| call(address, &format!("/cold/{number}"), b"cold", LIMIT);
    let routes = setup.pick(ROUTES, 3);
    let first = promptly(|| (0..routes).map(one).collect::<Result<Vec<_>, _>>())?;
    let further = promptly(|| (0..CALLS).map(|_| one(routes)).collect::<Result<Vec<_>, _>>())?;
    let what = format!("{name}: blocking route");
    // At the highest priority as well, which the generator takes with a core of its own.
    let load = format!("--connections {} --path /sleep --own-core", setup.clients(64, 8));
    let blocking = Traffic::measure(setup, &service, figures, what, &load)?;
    drop(compiler);
    figures.must(service.is_up(), || format!("{name}: the service has ended"));
    let ms = |took: &Duration| took.as_secs_f64() * 1000.0;
    let first: Vec<f64> = first.iter().map(ms).collect();
    Ok(Results {
        first_longest_ms: first.iter().copied().fold(f64::NAN, f64::max),
        first_ms: median(first),
        further_ms: further.iter().map(ms).sum::<f64>() / CALLS as f64,
        blocking_rate: blocking.rate(),
        blocking_p99_ms: blocking.p99_ms(),
    })
}

//! `cold-route`: first calls of routes while all pool threads are stuck in another route.
//!
//! The stuck calls are the first ones of their route as well, as after a restart with a database that does not
//! answer. First calls come one after the other, each to a route of its own.

use std::time::Duration;

use super::calls::{call, promptly};
use super::crowd::{Client, Crowd, Leave};
use super::service::Service;
use super::{Figures, Setup};
use crate::report::median;

/// How long a first call is waited for.
const LIMIT: Duration = Duration::from_secs(10);

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    beside(setup, figures, 4, 6)?;
    if !setup.smoke {
        beside(setup, figures, 512, 600)?;
    }
    Ok(())
}

fn beside(
    setup: &Setup,
    figures: &mut Figures,
    threads: usize,
    stuck: usize,
) -> Result<(), String> {
    let settings = [("--pool-threads", threads.to_string())];
    let mut service = Service::start(setup, &settings, figures)?;
    let path = format!("/sleep/{}", setup.pick(3000, 300));
    let client = Client::get(&path, b"slept").expecting(&[200, 503]).again_after(Duration::ZERO);
    let crowd = Crowd::start(service.address, vec![client; stuck])?;
    let mut busy = 0.0;
    super::wait_until(Duration::from_secs(10), || {
        busy = service.number("/gauges/pool_busy").unwrap_or(f64::MAX);
        busy >= threads as f64
    });
    let calls = setup.pick(10, 3);
    let address = service.address;
    let first_call = |number| call(address, &format!("/cold/{number}"), b"cold", LIMIT);
    let results = promptly(|| (0..calls).map(first_call).collect::<Vec<_>>());
    let (tally, _) = crowd.leave(Leave::Reset)?;
    let answered = results.iter().flatten().map(|took| took.as_secs_f64() * 1000.0);
    let answered: Vec<f64> = answered.collect();
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        figures.note(format!("{threads} threads: {error}"));
    }

    let what = |of: &str| format!("{threads} threads, {stuck} stuck: {of}");
    figures.add(what("pool threads busy"), busy, "");
    let longest = answered.iter().copied().fold(f64::NAN, f64::max);
    figures.add_wanted(what("first call, median"), median(answered.clone()), "ms", "under 50");
    figures.add_wanted(what("first call, longest"), longest, "ms", "under 50");
    let unanswered = (calls - answered.len()) as f64;
    figures.add_wanted(
        what(&format!("first calls without an answer, of {calls}")),
        unanswered,
        "",
        "0",
    );
    figures.must(service.is_up(), || "the service has ended".to_owned());
    figures.must(tally.wrong == 0, || format!("a wrong answer: {:?}", tally.first_wrong));
    Ok(())
}

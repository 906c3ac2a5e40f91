//! Minutes of everything that clients do wrong: does anything grow?
//!
//! Waves of bad clients come and go beside ordinary ones. After the first minute, and at the end, there is a
//! pause without bad clients, in which the service comes to rest; its descriptors, threads and memory are
//! compared then. More at the end than after the first minute, beyond what is explained below, fails the run,
//! and so does an ordinary client that was not served.

use std::time::{Duration, Instant};

use threadline_bench_workload::{LARGE_KINDS, UPLOAD_LEN};

use super::crowd::{Client, Crowd, Leave};
use super::service::Service;
use super::{Figures, Setup};

/// What the service is at rest.
#[derive(Debug, Clone, Copy)]
struct Sample {
    descriptors: f64,
    threads: f64,
    rss_mb: f64,
}

/// A descriptor that a slow client or a log writer happens to have.
const DESCRIPTORS_MORE: f64 = 2.0;
/// Spares and pool threads come and go: each shard's next spare, one pool thread woken late.
const THREADS_MORE: f64 = 4.0;
/// The allocator's free memory depends on what came last.
const RSS_MORE_MB: f64 = 16.0;
const RSS_MORE_SHARE: f64 = 0.1;

/// A wave of clients that do their worst in seconds; another of those that wait for deadlines.
struct Sizes {
    total: Duration,
    wave: Duration,
    long_wave: Duration,
    keep_alive: Duration,
    /// How long no thread may have come or gone at rest: longer than pool threads stay without work, and as
    /// long as memory that slow clients have used may take to go back to the system.
    calm: Duration,
    clients: usize,
}

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    let total = setup.pick(setup.minutes, Duration::from_secs(4));
    let sizes = Sizes {
        total,
        wave: setup.pick(Duration::from_secs(5), Duration::from_millis(700)),
        long_wave: setup.pick(Duration::from_secs(45), Duration::from_secs(1)),
        keep_alive: setup.pick(Duration::from_secs(10), Duration::from_millis(500)),
        calm: setup.pick(Duration::from_secs(30), Duration::from_secs(2)),
        clients: setup.clients(200, 20),
    };
    let keep_alive = sizes.keep_alive.as_secs_f64().to_string();
    let settings = [("--pool-keep-alive", keep_alive)];
    let mut service = Service::start(setup, &settings, figures)?;
    let steady = Crowd::start(service.address, ordinary())?;
    let began = Instant::now();
    let first = Duration::from_secs(60).min(sizes.total / 3);
    let mut waves = waves(&service, &sizes, began + first, figures)?;
    let before = at_rest(&mut service, &steady, &sizes)?;
    waves += self::waves(&service, &sizes, began + sizes.total, figures)?;
    let after = at_rest(&mut service, &steady, &sizes)?;
    let state = service.look()?;
    let (tally, _) = steady.leave(Leave::Close)?;

    let whens = [first, began.elapsed()];
    compare(before, after, whens, figures);
    figures.add("answers to ordinary clients", tally.answered(200) as f64, "");
    figures.add("waves of bad clients", f64::from(waves), "");
    let counts = state["counts"].as_object().into_iter().flatten();
    let counts = counts.filter(|(_, count)| count.as_u64() != Some(0));
    let counts: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    figures.note(format!("counted by the service: {}", counts.join(", ")));
    figures.must(tally.wrong + tally.closed + tally.reset == 0, || {
        format!("ordinary clients: {}; {:?}", tally.in_words(), tally.first_wrong)
    });
    let panics = state.pointer("/counts/engine_panics").and_then(serde_json::Value::as_u64);
    figures.must(panics == Some(0), || format!("panics of the engine itself: {panics:?}"));
    Ok(())
}

/// Fails the run if the service has grown, and says in what.
fn compare(before: Sample, after: Sample, whens: [Duration; 2], figures: &mut Figures) {
    let rss_more = RSS_MORE_MB.max(before.rss_mb * RSS_MORE_SHARE);
    let rows = [
        ("descriptors", before.descriptors, after.descriptors, DESCRIPTORS_MORE),
        ("threads", before.threads, after.threads, THREADS_MORE),
        ("resident MB", before.rss_mb, after.rss_mb, rss_more),
    ];
    let [first, last] = whens.map(|when| when.as_secs());
    for (what, before, after, more) in rows {
        figures.add(format!("{what} after {first} s"), before, "");
        let wanted = format!("at most {:.0}", before + more);
        figures.add_wanted(format!("{what} at the end"), after, "", wanted);
        figures.must(after <= before + more, || {
            format!(
                "{what} have grown from {before:.0} after {first} s to {after:.0} after {last} s"
            )
        });
    }
}

/// They stay from the beginning to the end.
fn ordinary() -> Vec<Client> {
    let fast = Client::get("/", b"Hello, World!").again_after(Duration::from_millis(10));
    let blocking = Client::get("/sleep", b"slept").again_after(Duration::from_millis(10));
    [vec![fast; 16], vec![blocking; 4]].concat()
}

/// Wave after wave until it is time to rest; how many there were.
fn waves(
    service: &Service,
    sizes: &Sizes,
    until: Instant,
    figures: &mut Figures,
) -> Result<u32, String> {
    let long = || Crowd::start(service.address, waiting(sizes.clients));
    let (mut long_crowd, mut long_began) = (long()?, Instant::now());
    let mut count = 0;
    while Instant::now() < until {
        let crowd = Crowd::start(service.address, hasty(sizes.clients))?;
        let ends = (Instant::now() + sizes.wave).min(until);
        std::thread::sleep(ends.saturating_duration_since(Instant::now()));
        let how = if count % 2 == 0 { Leave::Reset } else { Leave::Close };
        let (tally, _) = crowd.leave(how)?;
        figures.must(tally.wrong == 0, || format!("a wrong answer: {:?}", tally.first_wrong));
        if long_began.elapsed() > sizes.long_wave {
            let (tally, _) = std::mem::replace(&mut long_crowd, long()?).leave(how)?;
            figures.must(tally.wrong == 0, || format!("a wrong answer: {:?}", tally.first_wrong));
            long_began = Instant::now();
        }
        count += 1;
    }
    Ok(count)
}

/// Clients that hold on until a deadline ends them: bodies, slow and half, and replies that nobody reads.
fn waiting(count: usize) -> Vec<Client> {
    let mut clients = vec![Client::slow_body("/body", 1_000_000, 300.0); count / 2];
    clients.extend(vec![Client::half_body("/body", 1_000_000, 500_000); count / 10]);
    let large = LARGE_KINDS.iter().cycle().take(count / 5);
    clients.extend(large.map(|kind| Client::non_reader(&format!("/large/{kind}"))));
    clients
}

/// Clients that come, do something and go: panics, uploads, calls that are abandoned.
fn hasty(count: usize) -> Vec<Client> {
    let pause = Duration::from_millis(50);
    let panic = Client::get("/panic", b"").expecting(&[500, 503]).again_after(pause);
    let upload = Client::post("/upload", UPLOAD_LEN).expecting(&[200, 503]).again_after(pause);
    let body = Client::post("/body", 1_000_000).expecting(&[200, 503]).again_after(pause);
    let abandoned = Client::get("/sleep/1000", b"slept").expecting(&[200, 503]).again_after(pause);
    let large = LARGE_KINDS.iter().map(|kind| Client::non_reader(&format!("/large/{kind}")));
    let mut clients = vec![panic; count / 20];
    clients.extend(vec![upload; count / 20]);
    clients.extend(vec![body; count / 50]);
    clients.extend(vec![abandoned; count / 2]);
    clients.extend(large);
    clients.extend(vec![Client::slow_body("/body", 1_000_000, 3000.0); count / 4]);
    clients
}

/// Waits until only the ordinary clients are left and no thread has come or gone for some time.
fn at_rest(service: &mut Service, steady: &Crowd, sizes: &Sizes) -> Result<Sample, String> {
    let limit = Duration::from_secs(60);
    let open = steady.tally().open as f64;
    if service.wait_for("/gauges/connections", open, limit)?.is_none() {
        let left = service.number("/gauges/connections")? - open;
        return Err(format!("{left} connections are open {limit:?} after their clients have gone"));
    }
    let (mut threads, mut since) = (service.threads(), Instant::now());
    super::wait_until(3 * sizes.calm + limit, || {
        let now = service.threads();
        if now.total_cmp(&threads).is_ne() {
            (threads, since) = (now, Instant::now());
        }
        since.elapsed() > sizes.calm
    });
    Ok(Sample {
        descriptors: service.descriptors(),
        threads: service.threads(),
        rss_mb: service.rss_mb(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(after: Sample) -> Figures {
        let before = Sample { descriptors: 33.0, threads: 10.0, rss_mb: 300.0 };
        let mut figures = Figures::default();
        compare(before, after, [60, 1200].map(Duration::from_secs), &mut figures);
        figures
    }

    #[test]
    fn what_stays_about_the_same_is_right() {
        assert!(compared(Sample { descriptors: 33.0, threads: 12.0, rss_mb: 320.0 }).is_right());
    }

    #[test]
    fn each_that_grows_fails_and_is_named() {
        let same = Sample { descriptors: 33.0, threads: 10.0, rss_mb: 300.0 };
        for (name, after) in [
            ("descriptors", Sample { descriptors: 40.0, ..same }),
            ("threads", Sample { threads: 20.0, ..same }),
            ("resident MB", Sample { rss_mb: 400.0, ..same }),
            // A service that has ended has no memory that could be read.
            ("resident MB", Sample { rss_mb: f64::NAN, ..same }),
        ] {
            let text = compared(after).to_json()["failures"].to_string();
            assert!(text.contains(name) && text.contains("after 60 s"), "{name}: {text}");
        }
    }
}

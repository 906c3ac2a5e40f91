//! threadline-pool beside other pools.
//!
//! `cargo run --release --bin pools` runs every scenario with every pool that can do it, interleaved
//! in rounds, and prints medians and ratios to threadline's in the same round. `--smoke` runs it small,
//! as a test.

mod contenders;
mod memory;
mod scenarios;

use std::collections::BTreeMap;
use std::process::Command;

use clap::Parser;
use serde_json::json;

use contenders::{
    Channel, Pool, Rayon, SpawnBlocking, ThreadEach, Threadline, Threadpool, Unmeasured,
};
use scenarios::{blocking, fan_out, idle_latency, submit_and_join};

/// Compares thread pools.
#[derive(Parser)]
struct Args {
    /// Interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads of each pool, where the scenario does not say otherwise.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Small, as a test.
    #[arg(long)]
    smoke: bool,
    /// A file for every raw figure.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only ours and pools whose name contains this.
    #[arg(long, default_value = "")]
    beside: String,
}

/// How much of everything.
struct Sizes {
    joins: usize,
    fan: usize,
    sleeps: usize,
    idle: usize,
}

/// Seconds by scenario, pool and round.
type Results = BTreeMap<&'static str, BTreeMap<String, Vec<f64>>>;

const SCENARIOS: [&str; 5] = [
    "submit and join",
    "fan-out, 1 submitter",
    "fan-out, 8 submitters",
    "sleeps on 100 threads",
    "submit to an idle pool",
];

fn main() {
    let args = Args::parse();
    let sizes = if args.smoke {
        Sizes { joins: 100, fan: 1000, sleeps: 100, idle: 5 }
    } else {
        Sizes { joins: 20_000, fan: 1_000_000, sleeps: 1000, idle: 200 }
    };
    // First, while the process has no memory from before to use again.
    let memory = memory::table(args.smoke);
    let mut results = Results::new();
    for _ in 0..if args.smoke { 1 } else { args.rounds } {
        round(&args, &sizes, &mut results);
    }
    print!("{}", table(&results, &sizes));
    if args.only.is_empty() {
        print!("{memory}");
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&json!(results)).expect("numbers");
        std::fs::write(path, text).expect("the file can be written");
    }
}

fn round(args: &Args, sizes: &Sizes, results: &mut Results) {
    let wanted = |name: &str| name.contains(&*args.only);
    for scenario in SCENARIOS.into_iter().filter(|name| wanted(name)) {
        let mut note = |pool: &str, seconds: f64| {
            let pools = results.entry(scenario).or_default();
            pools.entry(pool.to_owned()).or_default().push(seconds);
        };
        let threads = args.threads;
        let mut beside = |pool: &str, run: fn(&str, usize, &Sizes) -> f64| {
            if pool == Threadline::NAME || pool.contains(&*args.beside) {
                note(pool, run(scenario, threads, sizes));
            }
        };
        beside(Threadline::NAME, plain::<Threadline>);
        beside(Unmeasured::NAME, plain::<Unmeasured>);
        beside(Rayon::NAME, plain::<Rayon>);
        beside(Threadpool::NAME, plain::<Threadpool>);
        beside(SpawnBlocking::NAME, plain::<SpawnBlocking>);
        beside(Channel::NAME, plain::<Channel>);
        // A million threads are no comparison.
        if !scenario.starts_with("fan-out") {
            beside(ThreadEach::NAME, plain::<ThreadEach>);
        }
    }
    if args.only.is_empty() {
        python(sizes, results);
    }
}

/// In the calling thread, which takes part, as rayon's `install` takes a thread of the pool.
fn plain<P: Pool>(scenario: &str, threads: usize, sizes: &Sizes) -> f64 {
    let threads = if scenario.starts_with("sleeps") { 100 } else { threads };
    let pool = P::start(threads);
    // Its threads are there before the clock starts.
    blocking(&pool, threads);
    match scenario {
        "submit and join" => submit_and_join(&pool, sizes.joins),
        "fan-out, 1 submitter" => fan_out(&pool, sizes.fan, 1),
        "fan-out, 8 submitters" => fan_out(&pool, sizes.fan, 8),
        "sleeps on 100 threads" => blocking(&pool, sizes.sleeps),
        _ => idle_latency(&pool, sizes.idle),
    }
}

/// Python in a process of its own, where it is installed. A tenth of the fan-out, scaled.
fn python(sizes: &Sizes, results: &mut Results) {
    let sizes = json!({
        "submit_and_join": sizes.joins, "fan_out": sizes.fan / 10, "blocking": sizes.sleeps,
        "idle_latency": sizes.idle,
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/executor.py");
    let output = Command::new("python3").args([script, &sizes.to_string()]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return };
    let seconds: BTreeMap<String, f64> =
        serde_json::from_slice(&output.stdout).expect("the script prints JSON");
    for (scenario, pools) in results {
        if let Some(seconds) = seconds.get(*scenario) {
            let scale = if scenario.starts_with("fan-out") { 10.0 } else { 1.0 };
            pools.entry("Python ThreadPoolExecutor".into()).or_default().push(seconds * scale);
        }
    }
}

fn table(results: &Results, sizes: &Sizes) -> String {
    let mut text = String::new();
    for (scenario, pools) in results {
        let (per, unit) = match *scenario {
            "submit and join" => (sizes.joins as f64 * 1e-6, "us a job"),
            "fan-out, 1 submitter" | "fan-out, 8 submitters" => {
                (sizes.fan as f64 * 1e-9, "ns a job")
            }
            "submit to an idle pool" => (1e-6, "us, median"),
            _ => (1e-3, "ms"),
        };
        text += &format!(
            "\n**{scenario}** ({unit})\n\n| pool | median (min..max) | ratio |\n|---|---|---|\n"
        );
        let ours = &pools[Threadline::NAME];
        for (pool, seconds) in pools {
            let ratios = seconds.iter().zip(ours).map(|(other, ours)| other / ours).collect();
            let shown: Vec<f64> = seconds.iter().map(|seconds| seconds / per).collect();
            let (least, most) =
                shown.iter().fold((f64::MAX, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
            let (middle, ratio) = (median(shown), median(ratios));
            text += &format!("| {pool} | {middle:.1} ({least:.1}..{most:.1}) | {ratio:.2} |\n");
        }
    }
    text
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

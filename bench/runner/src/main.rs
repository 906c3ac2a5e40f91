//! `bench`: starts servers and the load generator, in interleaved rounds, and reports.
//!
//! - `scenario`: what is measured, and with which parameters
//! - `servers`: what is measured against what, and how each is started
//! - `round`: one server, one load
//! - `overload`: slow clients and overload: scenarios with phases, a file for each
//! - `report`: medians, spread and ratios, as a table and as a JSON file
//!
//! Each round runs every server of a scenario once, in random order, pinned to other cores than the
//! generator. A ratio is always against the reference of the same round. Overload scenarios have the service, its
//! bad clients and the generator on all cores.

mod overload;
mod report;
mod round;
mod scenario;
mod servers;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use overload::{Figures, Overload, Setup};
use scenario::Scenario;

/// Measures threadline against references and peers, and what slow clients and overload do to it.
#[derive(Debug, Parser)]
#[command(after_help = scenarios())]
struct Arguments {
    /// Which to run
    #[arg(required = true)]
    scenarios: Vec<String>,
    /// Rounds; the default is the scenario's own
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds measured in each run
    #[arg(long)]
    seconds: Option<f64>,
    /// Only these servers, separated by commas; not for overload scenarios
    #[arg(long, value_delimiter = ',')]
    servers: Option<Vec<String>>,
    /// Where the JSON files go
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// As small as they can be: checks that everything answers, and writes no file
    #[arg(long)]
    smoke: bool,
    /// Overload: the number of bad clients
    #[arg(long)]
    clients: Option<usize>,
    /// Overload: minutes of the soak
    #[arg(long, default_value = "20", value_parser = minutes)]
    minutes: Duration,
    /// Overload: further arguments of the service, as one text: "--model pool --shards 1"
    #[arg(long, allow_hyphen_values = true, default_value = "")]
    service: String,
    /// Overload: the service's program, of another commit for example; default: the one built with this
    #[arg(long)]
    service_program: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes".to_owned())?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}

/// The list of scenarios for `--help`.
fn scenarios() -> String {
    let mut text = String::from(
        "Scenarios: hello routed orders upload file pipelined echo echo-stream blocking mixed cpu idle \
         quiet\n  all of these: all\n\nSlow clients and overload:\n",
    );
    for overload in overload::ALL {
        let _ = writeln!(text, "  {:<12} {}", overload.name, overload.about);
    }
    text.push_str("  all of these but the soak: overload\n\nA quick check of everything: smoke");
    text
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: some replies were wrong or missing, or a check failed: see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether every reply was right.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let smoke = arguments.smoke || arguments.scenarios.iter().any(|name| name == "smoke");
    let (mut plain, mut overloads) = (Vec::new(), Vec::new());
    for name in &arguments.scenarios {
        overloads.extend(overload::named(name));
        if name == "smoke" || overload::named(name).is_empty() {
            plain.push(name.clone());
        }
    }
    let mut right = true;
    if !plain.is_empty() {
        for scenario in scenario::named(&plain)? {
            right &= run_plain(arguments, scenario, smoke)?;
        }
    }
    for overload in overloads {
        right &= run_overload(arguments, &overload, smoke)?;
    }
    Ok(right)
}

fn run_plain(arguments: &Arguments, mut scenario: Scenario, smoke: bool) -> Result<bool, String> {
    if let Some(wanted) = &arguments.servers {
        scenario.servers.retain(|name| wanted.iter().any(|wanted| wanted == name));
    }
    scenario.rounds = arguments.rounds.unwrap_or(scenario.rounds);
    scenario.seconds = arguments.seconds.unwrap_or(scenario.seconds);
    if smoke {
        scenario.shrink();
    }
    let runs = round::run_all(&scenario)?;
    println!("{}", report::table(&scenario, &runs));
    if !smoke {
        let file = report::save(&arguments.results, &scenario, &runs)?;
        println!("raw runs: {}\n", file.display());
    }
    Ok(runs.iter().all(|run| run.errors() == 0))
}

fn run_overload(arguments: &Arguments, overload: &Overload, smoke: bool) -> Result<bool, String> {
    let setup = Setup {
        smoke,
        clients: arguments.clients,
        seconds: arguments.seconds,
        minutes: arguments.minutes,
        service_program: arguments.service_program.clone(),
        service_arguments: arguments.service.split_whitespace().map(str::to_owned).collect(),
    };
    let rounds = overload.run(&setup, arguments.rounds.unwrap_or(1))?;
    println!("{}", overload::table(overload.name, overload.about, &setup, &rounds));
    if !smoke {
        let file = report::save_rounds(&arguments.results, overload.name, &rounds, &setup)?;
        println!("raw runs: {}\n", file.display());
    }
    Ok(rounds.iter().all(Figures::is_right))
}

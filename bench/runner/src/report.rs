//! Medians, spread and ratios: a table to read, and a file with every raw run.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::overload::{Figures, Setup};
use crate::round::Run;
use crate::scenario::Scenario;

/// The scenario's table, in Markdown.
pub fn table(scenario: &Scenario, runs: &[Run]) -> String {
    let mut text = format!(
        "## {}\n\n{} rounds of {} s; ratios against `{}` of the same round.\n",
        scenario.name,
        scenario.rounds,
        scenario.seconds,
        scenario.servers.first().unwrap_or(&"nothing")
    );
    for (number, load) in scenario.loads.iter().enumerate() {
        let _ = writeln!(
            text,
            "\n**{}**\n\n| server | requests/s (min..max) | ratio | CPU us/request | ratio | p50 us \
             | p99 us | p99.9 us | generator busy |\n|---|---|---|---|---|---|---|---|---|",
            load.label
        );
        for server in &scenario.servers {
            let of = |server: &str| -> Vec<&Run> {
                let here = |run: &&Run| run.server == server && run.load == number;
                runs.iter().filter(here).collect()
            };
            let (own, reference) = (of(server), of(scenario.servers[0]));
            if own.is_empty() {
                continue;
            }
            text.push_str(&row(server, &own, &reference));
        }
        if load.slow > 0 {
            text.push_str(&slow_lines(scenario, runs, number, load.slow));
        }
        if scenario.list_all {
            text.push_str(&every_run(scenario, runs, number));
        }
    }
    text.push_str(&memory_lines(scenario, runs));
    text
}

fn row(server: &str, own: &[&Run], reference: &[&Run]) -> String {
    let of = |name: &str| -> Vec<f64> { own.iter().map(|run| run.number(name)).collect() };
    let ratio = |name: &str| {
        let same_round = |run: &&Run| {
            let other = reference.iter().find(|other| other.round == run.round)?;
            Some(run.number(name) / other.number(name))
        };
        median(own.iter().filter_map(same_round).collect())
    };
    let rps = of("rps");
    let (least, most) = rps.iter().fold((f64::MAX, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
    let busy = median(of("lg_util"));
    let limit = if busy > 0.9 { " (the limit)" } else { "" };
    let errors: u64 = own.iter().map(|run| run.errors()).sum();
    let errors = if errors > 0 { format!(" **{errors} errors**") } else { String::new() };
    format!(
        "| {server}{errors} | {:.0} ({least:.0}..{most:.0}) | {:.3} | {:.2} | {:.3} | {:.0} | {:.0} | \
         {:.0} | {busy:.2}{limit} |\n",
        median(rps.clone()),
        ratio("rps"),
        median(of("server/cpu_us_per_request")),
        ratio("server/cpu_us_per_request"),
        median(of("latency_us/p50")),
        median(of("latency_us/p99")),
        median(of("latency_us/p999")),
    )
}

/// Throughput of the connections in a handler that blocks 50 ms, against the ideal.
fn slow_lines(scenario: &Scenario, runs: &[Run], load: usize, slow: usize) -> String {
    let ideal = slow as f64 / 0.05;
    let mut text = format!("\nBlocking calls a second (ideal {ideal:.0}): ");
    for server in &scenario.servers {
        let of = runs.iter().filter(|run| run.server == *server && run.load == load);
        let rates: Vec<_> = of.map(|run| run.number("slow_rps")).collect();
        if !rates.is_empty() {
            let rate = median(rates);
            let _ = write!(text, "{server} {rate:.0} ({:.1} %), ", rate / ideal * 100.0);
        }
    }
    text.trim_end_matches(", ").to_owned() + "\n"
}

fn every_run(scenario: &Scenario, runs: &[Run], load: usize) -> String {
    let mut text = String::from("\nEvery run, p50/p99/p99.9 in us:\n\n");
    for server in &scenario.servers {
        let of = runs.iter().filter(|run| run.server == *server && run.load == load);
        let one = |run: &Run| {
            let us = |name: &str| run.number(&format!("latency_us/{name}"));
            format!("{:.0}/{:.0}/{:.0}", us("p50"), us("p99"), us("p999"))
        };
        let all: Vec<_> = of.map(one).collect();
        if !all.is_empty() {
            let _ = writeln!(text, "- {server}: {}", all.join(", "));
        }
    }
    let of_load = runs.iter().filter(|run| run.load == load);
    let lags: Vec<_> = of_load.map(|run| run.number("lag_us/p99")).collect();
    if !lags.is_empty() {
        let worst = lags.iter().copied().fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "\nThe generator's own part in them, p99: {:.0} us in the median run, {worst:.0} in the worst.",
            median(lags)
        );
    }
    text
}

/// Memory for each idle connection, and CPU of an idle service, where they were measured.
fn memory_lines(scenario: &Scenario, runs: &[Run]) -> String {
    let mut text = String::new();
    for server in &scenario.servers {
        let own = || runs.iter().filter(|run| run.server == *server);
        let of = |name: &str| -> Vec<f64> {
            own().map(|run| run.number(name)).filter(|number| !number.is_nan()).collect()
        };
        let memory = of("server/kb_per_idle_connection");
        if scenario.name == "idle" && !memory.is_empty() {
            let _ = writeln!(text, "- {server}: {:.3} KB for each idle connection", median(memory));
        }
        if scenario.name == "quiet" {
            let share =
                |run: &Run| run.number("server/cpu_seconds") / run.number("seconds") * 100.0;
            let shares = own().map(share).collect();
            let _ = writeln!(text, "- {server}: {:.4} % of a core while idle", median(shares));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// The median, without what is not a number.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.retain(|number| !number.is_nan());
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => numbers[odd / 2],
        even => f64::midpoint(numbers[even / 2 - 1], numbers[even / 2]),
    }
}

/// Writes every raw run, with when, where and of what commit.
pub fn save(folder: &Path, scenario: &Scenario, runs: &[Run]) -> Result<PathBuf, String> {
    let raw: Vec<Value> = (runs.iter())
        .map(|run| {
            let load = &scenario.loads[run.load].label;
            json!({"server": run.server, "load": load, "round": run.round, "report": run.report})
        })
        .collect();
    let further = [("rounds", json!(scenario.rounds)), ("seconds", json!(scenario.seconds))];
    write(folder, scenario.name, raw, &further)
}

/// Writes every round of an overload scenario, with the same particulars.
pub fn save_rounds(
    folder: &Path,
    name: &str,
    rounds: &[Figures],
    setup: &Setup,
) -> Result<PathBuf, String> {
    let raw: Vec<Value> = rounds.iter().map(Figures::to_json).collect();
    let further = [
        ("rounds", json!(rounds.len())),
        ("seconds", json!(setup.seconds())),
        ("clients", json!(setup.clients)),
        ("service_arguments", json!(setup.service_arguments)),
    ];
    write(folder, name, raw, &further)
}

fn write(
    folder: &Path,
    name: &str,
    raw: Vec<Value>,
    further: &[(&str, Value)],
) -> Result<PathBuf, String> {
    let say = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let date = say("date", &["-u", "+%Y-%m-%dT%H%M"]);
    let mut document = json!({
        "scenario": name,
        "date": date,
        "commit": say("git", &["rev-parse", "HEAD"]),
        "machine": {
            "cpu": cpu.trim_start_matches([' ', '\t', ':']),
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "kernel": say("uname", &["-sr"]),
            "rustc": say("rustc", &["--version"]),
        },
        "runs": raw,
    });
    for (key, value) in further {
        document[*key] = value.clone();
    }
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let file = folder.join(format!("{date}-{name}.json"));
    let text = serde_json::to_string(&document).map_err(|error| error.to_string())?;
    fs::write(&file, text).map_err(|error| error.to_string())?;
    Ok(file)
}

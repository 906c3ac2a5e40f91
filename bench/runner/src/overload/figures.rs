//! What one round of a scenario gave: figures with their goals, notes, and failed checks.
//!
//! Goals are printed and not checked, since they depend on the machine. A check is for what must hold on every
//! machine; one that fails fails the run.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Setup;
use crate::report::median;

/// Collected by a scenario while it runs.
#[derive(Debug, Default)]
pub struct Figures {
    list: Vec<Figure>,
    notes: Vec<String>,
    failures: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    what: String,
    /// NaN if it could not be measured; a note says why.
    value: f64,
    unit: &'static str,
    wanted: String,
}

impl Figures {
    /// Adds a figure for which there is no goal.
    pub fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.add_wanted(what, value, unit, "");
    }

    /// Adds a figure, and what it should be.
    pub fn add_wanted(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        wanted: impl Into<String>,
    ) {
        self.list.push(Figure { what: what.into(), value, unit, wanted: wanted.into() });
    }

    /// Adds a remark, printed below the table.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Checks what has to hold whatever the machine.
    pub fn must(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.failures.push(otherwise());
        }
    }

    /// Whether all checks held.
    pub fn is_right(&self) -> bool {
        self.failures.is_empty()
    }

    /// For the file with the raw runs.
    pub fn to_json(&self) -> Value {
        let figure = |figure: &Figure| json!({"what": figure.what, "value": figure.value, "unit": figure.unit, "wanted": figure.wanted});
        let list: Vec<_> = self.list.iter().map(figure).collect();
        json!({"figures": list, "notes": self.notes, "failures": self.failures})
    }
}

/// The table of some rounds, in Markdown.
pub fn table(name: &str, about: &str, setup: &Setup, rounds: &[Figures]) -> String {
    let size = match setup.clients {
        Some(count) => format!(" With {count} bad clients."),
        None if setup.smoke => " At the smallest size.".to_owned(),
        None => String::new(),
    };
    let mut text = format!(
        "## {name}\n\n{about}.{size} Median of {} rounds (min..max).\n\n| what | measured | wanted |\n|---|---|---|\n",
        rounds.len()
    );
    let Some(first) = rounds.first() else { return text };
    for figure in &first.list {
        let same = |round: &Figures| {
            round.list.iter().find(|other| other.what == figure.what).map(|other| other.value)
        };
        let values: Vec<f64> = rounds.iter().filter_map(same).filter(|v| !v.is_nan()).collect();
        let (least, most) =
            values.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        let measured = match values.len() {
            0 => "not measured".to_owned(),
            1 => format!("{} {}", short(least), figure.unit),
            _ => format!(
                "{} ({}..{}) {}",
                short(median(values)),
                short(least),
                short(most),
                figure.unit
            ),
        };
        let _ = writeln!(text, "| {} | {} | {} |", figure.what, measured.trim(), figure.wanted);
    }
    let notes = rounds.iter().flat_map(|round| round.notes.iter().map(|note| ("", note)));
    let failures =
        rounds.iter().flat_map(|round| round.failures.iter().map(|text| ("**failed**: ", text)));
    let mut lines: Vec<String> = Vec::new();
    for (mark, line) in notes.chain(failures) {
        let line = format!("- {mark}{line}\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if !lines.is_empty() {
        text.push('\n');
        text.extend(lines);
    }
    text
}

/// Three significant digits, but all of those before the point.
fn short(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rate: f64) -> Figures {
        let mut figures = Figures::default();
        figures.add("rate", rate, "");
        figures.add_wanted("latency", f64::NAN, "ms", "at most 1");
        figures.must(rate > 1.0, || "it is too slow".to_owned());
        figures.note("a remark".to_owned());
        figures
    }

    #[test]
    fn the_table_has_medians_and_what_could_not_be_measured() {
        let text = table("name", "About", &Setup::default(), &[3.0, 5.0, 400.0].map(round));
        assert!(text.contains("| rate | 5.00 (3.00..400) |  |"), "{text}");
        assert!(text.contains("| latency | not measured | at most 1 |"), "{text}");
        assert_eq!(text.matches("a remark").count(), 1, "{text}");
        assert!(!text.contains("failed"), "{text}");
    }

    #[test]
    fn a_failed_check_is_in_the_table() {
        let rounds = [5.0, 0.5].map(round);
        assert_eq!([true, false], [0, 1].map(|at: usize| rounds[at].is_right()));
        let text = table("name", "About", &Setup::default(), &rounds);
        assert!(text.contains("- **failed**: it is too slow"), "{text}");
    }
}

//! What `THREADLINE_LOG` says: a level for all, or levels for modules.
//!
//! A word that is not a level is a mistake, and never taken for a module's name: `debgu` would select a
//! module that does not exist, and nothing would be logged that was not logged before.

use std::env::{self, VarError};
use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::{Escaped, FILTER_VARIABLE};

/// What is not named.
const DEFAULT: LevelFilter = LevelFilter::INFO;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// What [`FILTER_VARIABLE`] says is not understood. The message names the part, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFilter {
    said: String,
    mistake: String,
}

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FILTER_VARIABLE}={}: {}", Escaped(&self.said), Escaped(&self.mistake))
    }
}

impl std::error::Error for BadFilter {}

pub(super) fn from_environment() -> Result<Targets, BadFilter> {
    match env::var(FILTER_VARIABLE) {
        Ok(said) => parse(&said),
        Err(VarError::NotPresent) => parse(""),
        Err(VarError::NotUnicode(said)) => {
            let said = said.to_string_lossy().into_owned();
            Err(BadFilter { said, mistake: "this is not UTF-8".into() })
        }
    }
}

/// Parts are separated by commas; of two for the same module the later one holds.
pub(super) fn parse(said: &str) -> Result<Targets, BadFilter> {
    let mut filter = Targets::new().with_default(DEFAULT);
    for part in said.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let mistake = |mistake| BadFilter { said: said.to_owned(), mistake };
        filter = match part.split_once('=') {
            None => match level(part) {
                Some(level) => filter.with_default(level),
                None => {
                    return Err(mistake(format!(
                        "{}, or `{part}=debug` for a module",
                        no_level(part)
                    )));
                }
            },
            Some((module, word)) => {
                let (module, word) = (module.trim(), word.trim());
                if module.is_empty() || module.contains(['[', '{', ' ']) {
                    return Err(mistake(format!("`{module}` is not the name of a module")));
                }
                let level = level(word).ok_or_else(|| mistake(no_level(word)))?;
                filter.with_target(module, level)
            }
        };
    }
    Ok(filter)
}

fn level(word: &str) -> Option<LevelFilter> {
    LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
}

fn no_level(word: &str) -> String {
    format!("`{word}` is not a level: use off, error, warn, info, debug or trace")
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn what_is_named_changes_and_the_rest_stays() {
        let enables = |said: &str, module: &str, level| {
            parse(said).expect("a filter").would_enable(module, &level)
        };
        for (said, module, most) in [
            ("", "a", Level::INFO),
            ("debug", "a", Level::DEBUG),
            ("DEBUG", "a", Level::DEBUG),
            (" warn , ", "a", Level::WARN),
            ("b=trace", "a", Level::INFO),
            ("b=trace", "b::c", Level::TRACE),
            ("b = trace,error", "b", Level::TRACE),
            ("b=trace,error", "a", Level::ERROR),
            ("debug,warn", "a", Level::WARN),
        ] {
            assert!(enables(said, module, most), "{said}: {module} at {most}");
            let beyond = [Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            let next = beyond.into_iter().find(|level| *level > most);
            assert!(next.is_none_or(|next| !enables(said, module, next)), "{said}: {module}");
        }
        assert!(!enables("off", "a", Level::ERROR));
        assert!(!enables("b=off", "b", Level::ERROR));
    }

    #[test]
    fn a_mistake_is_named_with_what_is_expected() {
        let mistake = |said| parse(said).expect_err(said).to_string();
        let levels = "use off, error, warn, info, debug or trace";
        assert_eq!(
            mistake("debgu"),
            format!(
                "THREADLINE_LOG=debgu: `debgu` is not a level: {levels}, or `debgu=debug` for a module"
            )
        );
        assert!(mistake("threadline_engine").contains("or `threadline_engine=debug` for a module"));
        assert!(
            mistake("debug,engine=loud").ends_with(&format!("`loud` is not a level: {levels}"))
        );
        assert!(mistake("engine=").contains("`` is not a level"));
        assert!(mistake("engine=debug=info").contains("`debug=info` is not a level"));
        assert!(mistake("5").contains("`5` is not a level"));
        assert!(mistake("=debug").contains("`` is not the name of a module"));
        assert!(mistake("[span]=debug").contains("`[span]` is not the name of a module"));
        assert!(!mistake("a\nb\u{1b}").contains(char::is_control));
    }
}

//! What a shard is made of: the engine's plan for each.

use crate::listener::Source;
use crate::model::Model;
use crate::settings::Settings;

/// A shard that is yet to be made.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) number: usize,
    pub(super) model: Model,
    pub(super) connections_max: usize,
    pub(crate) sources: Vec<Source>,
}

impl Plan {
    /// For what the service is there for.
    pub(crate) fn usual(number: usize, settings: &Settings) -> Plan {
        let Settings { model, connections_max, .. } = *settings;
        Plan { number, model, connections_max, sources: Vec::new() }
    }

    /// For isolated endpoints. An event loop needs nobody: no spare, no pool thread, no monitor.
    pub(crate) fn isolated(number: usize, settings: &Settings) -> Plan {
        let connections_max =
            settings.connections_max.saturating_add(settings.connections_isolated);
        Plan { number, model: Model::EventLoop, connections_max, sources: Vec::new() }
    }
}

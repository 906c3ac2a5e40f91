//! A protocol's hooks, `opened` and `closed`. They are user code that may block: where the connection has no
//! thread of its own, they run on the pool.

use std::sync::Arc;

use super::queued::Work;
use super::{Core, Shard};
use crate::connection::{Claim, State};
use crate::lease::Lease;
use crate::protocol::Refusal;
use crate::service::Service;
use crate::turn::contain;

impl Shard {
    /// Sends the connection to the pool for `Protocol::opened`; it comes back to the shard then.
    pub(super) fn open_hook<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
    ) {
        if let Err(claim) = self.pass_to_pool(lease, claim, Work::Open) {
            self.refuse_at_hook(lease, claim);
        }
    }

    /// Turns away a connection for whose opening hook there is no thread.
    pub(super) fn refuse_at_hook<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        mut claim: Claim<'s>,
    ) {
        let mut out = Vec::new();
        self.refusal(&claim.service, Refusal::Overloaded, &[], &mut out);
        // If the peer is gone, its turn finds that out.
        let _ = claim.session.reply(&out);
        claim.end_after_output();
        lease.batch.push_ready(claim);
    }

    /// A pool thread's part.
    pub(super) fn serve_open_hook(self: &Arc<Self>, mut claim: Claim<'_>) {
        self.run_open_hook(&mut claim);
        self.serve_upgrade(claim);
    }

    pub(super) fn run_open_hook(&self, claim: &mut Claim<'_>) {
        let State { service, session, opened, .. } = &mut **claim;
        let Service::Messages(service) = service else { return };
        if !service.has_hooks() {
            return;
        }
        *opened = true;
        let mut out = Vec::new();
        let opened = contain(&self.shared.hooks, || service.protocol().opened(session, &mut out));
        // A session that is half set up serves nobody.
        let failed = opened.is_none() || claim.session.reply(&out).is_err();
        let closes = claim.session.closes() && !claim.session.has_calls();
        if failed || closes {
            claim.end_after_output();
        }
        claim.session.end_turn();
    }

    pub(super) fn run_close_hook(&self, claim: &mut Claim<'_>) {
        if !std::mem::take(&mut claim.opened) {
            return;
        }
        let State { service, session, .. } = &mut **claim;
        if let Service::Messages(service) = service {
            contain(&self.shared.hooks, || service.protocol().closed(session));
        }
    }
}

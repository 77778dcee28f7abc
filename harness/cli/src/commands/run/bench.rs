//! Where a plan is carried out: everything that one boot and its verdict need, so that it can be done once, or again
//! and again, and each time is judged alike. Reads no arguments and prints no result.
use recrash_machine::qemu::accel::AccelChoice;
use recrash_machine::run::snapshot::Snapshot;
use recrash_machine::run::{self, CampaignNote, Extras, RunError, RunRecord, RunRequest, StopFlag};
use recrash_machine::setup::Provisioned;
use recrash_signature::store::Golden;
use std::time::Instant;

use super::plan::Plan;
use crate::aftermath::Aftermath;
use crate::expect::Expect;
use crate::progress::Progress;
use crate::watch;

/// A plan with what set-up provides for it and what its outcome is held against.
#[derive(Clone, Copy)]
pub(in crate::commands) struct Bench<'a> {
    pub(in crate::commands) plan: &'a Plan,
    pub(in crate::commands) provisioned: &'a Provisioned,
    pub(in crate::commands) golden: &'a Golden,
    pub(in crate::commands) expect: Expect,
    pub(in crate::commands) accel: AccelChoice,
    /// Where a run goes on from, instead of booting.
    pub(in crate::commands) snapshot: Option<&'a Snapshot>,
}

impl Bench<'_> {
    /// One run, its analysis and its verdict; if it is one of many, which.
    pub(in crate::commands) fn run_once(
        &self,
        progress: &Progress,
        stop: &StopFlag,
        campaign: Option<CampaignNote>,
    ) -> Aftermath {
        let begin = Instant::now();
        let ended = self.boot(progress, stop, campaign, Extras::default());
        self.judge(ended, progress, begin)
    }

    /// One run to its end, not judged.
    pub(super) fn boot(
        &self,
        progress: &Progress,
        stop: &StopFlag,
        campaign: Option<CampaignNote>,
        extras: Extras,
    ) -> Result<RunRecord, RunError> {
        let ended = run::run(
            &RunRequest {
                campaign,
                extras,
                ..self.request()
            },
            &mut |record: &_| watch::show(progress, record),
            stop,
        );
        if ended.is_err() {
            progress.fail();
        }
        ended
    }

    /// Its analysis and its verdict.
    pub(super) fn judge(
        &self,
        ended: Result<RunRecord, RunError>,
        progress: &Progress,
        begin: Instant,
    ) -> Aftermath {
        Aftermath::of(ended, self.golden, self.expect, progress, begin)
    }

    /// What the machine is asked for.
    pub(in crate::commands) fn request(&self) -> RunRequest<'_> {
        let plan = self.plan;
        RunRequest {
            target: &plan.target,
            provisioned: self.provisioned,
            device_name: &plan.device_name,
            device: &plan.device,
            scenario_name: &plan.scenario_name,
            scenario: &plan.scenario,
            append: &plan.append,
            capture: plan.capture,
            accel: self.accel,
            root: &plan.root,
            module_params: &plan.module_params,
            campaign: None,
            extras: Extras::default(),
            snapshot: self.snapshot,
        }
    }
}

//! The document of a campaign that was made here: what [`campaign::document`] makes of it. Prints nothing.
use super::{Made, Source};
use crate::campaign;
use crate::campaign::document::About;
use crate::report::document::{self, Document, GoldenRef, Kind};

/// The document; paths in it are relative to the campaign's folder.
pub(super) fn document(made: &Made<'_>) -> Document {
    let Made {
        series,
        folder,
        started,
        notes,
        tally,
        records,
    } = made;
    let bench = &series.bench;
    let plan = bench.plan;
    let about = About {
        target: &plan.target.name,
        kernel: &bench.provisioned.kernel_release,
        scenario: &plan.scenario_name,
        fault: &plan.scenario.fault,
        device: &plan.device_name,
        append: &plan.append,
        golden: GoldenRef::of(bench.golden),
        expect: bench.expect,
        from_snapshot: series.source != Source::Boots,
        of: series.of,
        how: format!("{} at once", series.jobs),
        started: started.timestamp().to_string(),
        notes,
    };
    campaign::document::document(
        (Kind::Campaign, folder.name()),
        &about,
        tally,
        records,
        &|run| document::relative(folder.path(), run),
    )
}

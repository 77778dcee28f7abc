//! `recrash run` with lists of targets, controllers, speeds, faults or captures: every combination, one after another,
//! and one table of what was expected and what came. Each is judged as a single run is, by [`Bench`].
mod axes;
pub(in crate::commands) mod cell;
pub(in crate::commands) mod document;
mod expected;
mod paper;
mod part;
pub(in crate::commands) mod table;

use recrash_machine::run::StopFlag;
use recrash_machine::setup::{self, Provisioned};
use recrash_signature::store::Golden;
use std::collections::BTreeMap;
use std::time::Instant;

use super::super::{Outcome, capture_args, checkout, target};
use super::Args;
use super::bench::Bench;
use super::hardware;
use super::plan::Plan;
use super::reproduction::Reproduction;
use super::share::Share;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::partition::Partition;
use crate::progress::Progress;
use crate::{golden, interrupt, output};
use axes::{Axes, Point};
use cell::{Cell, Counts, Got, Key, State, Wanted, worst};
use expected::Rules;
use paper::Paper;
use table::Waiting;

/// Options of a matrix.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct MatrixArgs {
    /// Boot nothing: print which runs this is, what each is expected to give, and which are impossible and why
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// The last object that `--json` prints.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "matrix")]
struct Line<'a> {
    exit: u8,
    dry_run: bool,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<&'a std::path::Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<Partition>,
}

/// A combination, and what is needed to run it if that is possible.
struct Prepared {
    /// Its number in the whole matrix, from 1.
    number: u32,
    cell: Cell,
    /// Name of its golden.
    golden: String,
    ready: Option<Ready>,
}

struct Ready {
    plan: Plan,
    golden: Golden,
}

/// Whether these arguments are a matrix's.
pub(super) fn is_wanted(args: &Args) -> bool {
    args.matrix.dry_run || has_lists(args.target.name(), &args.what)
}

/// Whether an option has a list.
pub(super) fn has_lists(target: &str, what: &Reproduction) -> bool {
    let lists = [&what.fault, &what.hardware.controller, &what.hardware.speed];
    let mut texts = lists.into_iter().flatten().map(String::as_str);
    axes::is_list(target) || texts.any(axes::is_list) || what.capture.modes().len() > 1
}

/// Runs it, or prints what it would run.
pub(super) fn run(args: &Args) -> Outcome {
    if args.many.attempts.is_some() {
        return Err(Failure::usage(anyhow::anyhow!(
            "--attempts repeats one combination; the options name a matrix of them"
        )));
    }
    if args.timings {
        return Err(Failure::usage(anyhow::anyhow!(
            "--timings: the table has the time of each run; their reports have the rest"
        )));
    }
    if args.matrix.dry_run && !args.report.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "--dry-run boots nothing, so there is no result that --report could write"
        )));
    }
    let rules = Rules::load(&checkout()?.join("qemu/matrix.toml")).map_err(Failure::usage)?;
    let points = Axes::of(args)?.points();
    let prepared = (1..).zip(&points);
    let prepared = prepared.map(|(number, point)| prepare(args, number, point, &rules));
    let mut all = prepared.collect::<Result<Vec<_>, _>>()?;
    let partition = args.part.settle()?;
    let share = partition.map(|partition| part::share(args, partition, &all));
    let share = share.transpose()?;
    if let Some(share) = &share {
        part::keep(share, &mut all);
    }
    // Standard output has a line a combination and a last one: stages would only hide them.
    let progress = Progress::new(false, args.verbose);
    if args.matrix.dry_run {
        let unknown = look_for_drivers(&mut all)?;
        return dry_run(args, all, &unknown);
    }
    let provisioned = provision(args, &all, &progress)?;
    for one in &mut all {
        rule_out(one, &provisioned)?;
    }
    if share.is_none() {
        some_possible(&all)?;
    }
    let stop = StopFlag::from(interrupt::stop_flag()?);
    play(args, all, &provisioned, &progress, &stop, share.as_ref())
}

/// Finds what a combination comes to; whatever is wrong with the arguments is an error, a combination whose parts do
/// not go together is not.
fn prepare(args: &Args, number: u32, point: &Point, rules: &Rules) -> Result<Prepared, Failure> {
    let mut one = args.what.clone();
    one.hardware.controller.clone_from(&point.controller);
    one.hardware.speed.clone_from(&point.speed);
    one.capture = args.what.capture.with_mode(point.capture);
    if point.fault.is_some() {
        one.fault.clone_from(&point.fault);
    }
    let (plan, misfit) = match one.resolve_parts(target::load(&point.target)?)? {
        (plan, Ok(())) => (plan, None),
        (plan, Err(misfit)) => (plan, Some(misfit.chain())),
    };
    let target = &plan.target;
    let left_out = target.left_out.as_ref();
    let misfit = left_out
        .map(|why| format!("target {} is left out: {why}", target.name))
        .or(misfit);
    let golden = one.golden(&plan)?;
    let speed = plan.device.speed().map(|speed| speed.name());
    let key = Key {
        target: plan.target.name.clone(),
        controller: plan.target.machine.usb_controller.name().into(),
        // Of an impossible one, the speed that was asked for.
        speed: match (&misfit, &one.hardware.speed) {
            (Some(_), Some(asked)) => asked.clone(),
            _ => speed.unwrap_or("low").to_owned(),
        },
        fault: plan.scenario.fault.clone(),
        capture: plan.capture.mode.to_string(),
        device: plan.device_name.clone(),
        scenario: plan.scenario_name.clone(),
    };
    let state = match misfit {
        Some(why) => State::Impossible(why),
        None => State::Waiting(match args.exact.expect(args.expect) {
            Some(expect) => Wanted {
                expect,
                reason: "--expect says so".into(),
            },
            None => {
                let rule = rules.find(&key)?;
                Wanted {
                    expect: rule.expect(),
                    reason: rule.reason.clone(),
                }
            }
        }),
    };
    let possible = matches!(state, State::Waiting(_));
    Ok(Prepared {
        number,
        cell: Cell { key, state },
        golden: golden::name(&golden),
        ready: possible.then_some(Ready { plan, golden }),
    })
}

/// Rules out what only a target that is set up can tell; without complaint where it is not. Gives the targets that are
/// not.
fn look_for_drivers(all: &mut [Prepared]) -> Result<Vec<String>, Failure> {
    let mut provisioned = BTreeMap::new();
    let mut unknown: Vec<String> = Vec::new();
    for one in &mut *all {
        let Some(Ready { plan, .. }) = &one.ready else {
            continue;
        };
        let name = &plan.target.name;
        if provisioned.contains_key(name) || unknown.contains(name) {
            continue;
        }
        match setup::load(&plan.target) {
            Ok(found) => drop(provisioned.insert(name.clone(), found)),
            Err(_) => unknown.push(name.clone()),
        }
    }
    for one in all {
        rule_out(one, &provisioned)?;
    }
    Ok(unknown)
}

/// Makes a combination impossible whose kernel lacks the driver. A physical device that cannot be had is an error:
/// it is the same for all.
fn rule_out(
    one: &mut Prepared,
    provisioned: &BTreeMap<String, Provisioned>,
) -> Result<(), Failure> {
    let Some(Ready { plan, .. }) = &one.ready else {
        return Ok(());
    };
    let Some(provisioned) = provisioned.get(&plan.target.name) else {
        return Ok(());
    };
    match hardware::missing_driver(&plan.target, provisioned)? {
        Some(why) => {
            one.cell.state = State::Impossible(why);
            one.ready = None;
            Ok(())
        }
        None => {
            capture_args::check(&plan.capture, provisioned)?;
            hardware::check(&plan.target, provisioned, &plan.device)
        }
    }
}

fn dry_run(args: &Args, all: Vec<Prepared>, unknown: &[String]) -> Outcome {
    let cells: Vec<Cell> = all.into_iter().map(|one| one.cell).collect();
    if args.json {
        for cell in &cells {
            output::print_json(&cell.line(Waiting::Planned.name()))?;
        }
        output::print_json(&Line {
            exit: Exit::Met as u8,
            dry_run: true,
            counts: Counts::of(&cells),
            table: None,
            partition: args.part.settle()?,
        })?;
    } else {
        output::print(&table::text(&cells, Waiting::Planned))?;
    }
    if !unknown.is_empty() {
        output::note(&format!(
            "not set up, so whether their kernels have the drivers is not known: {}\n",
            unknown.join(", ")
        ));
    }
    Ok(Exit::Met)
}

/// What set-up provides, by target; all that is missing is named at once.
fn provision(
    args: &Args,
    all: &[Prepared],
    progress: &Progress,
) -> Result<BTreeMap<String, Provisioned>, Failure> {
    let mut provisioned = BTreeMap::new();
    let mut missing: Vec<(String, Failure)> = Vec::new();
    for Ready { plan, .. } in all.iter().filter_map(|one| one.ready.as_ref()) {
        let name = &plan.target.name;
        if provisioned.contains_key(name) || missing.iter().any(|(known, _)| known == name) {
            continue;
        }
        match args.what.provision(&plan.target, progress) {
            Ok(found) => drop(provisioned.insert(name.clone(), found)),
            Err(failure) if args.what.setup => return Err(failure),
            Err(failure) => missing.push((name.clone(), failure)),
        }
    }
    if missing.is_empty() {
        return Ok(provisioned);
    }
    let whys: Vec<String> = missing.iter().map(|(_, why)| why.chain()).collect();
    let names: Vec<String> = missing.into_iter().map(|(name, _)| name).collect();
    let commands = names
        .iter()
        .map(|name| format!("recrash setup --target {name}"));
    Err(Failure::usage(anyhow::anyhow!(
        "targets that are not set up: {} ({})",
        names.join(", "),
        whys.join("; ")
    ))
    .hint(format!(
        "{}; or run with --setup",
        commands.collect::<Vec<_>>().join(" && ")
    )))
}

fn some_possible(all: &[Prepared]) -> Result<(), Failure> {
    let first = all.iter().find_map(|one| match &one.cell.state {
        State::Impossible(why) => Some(why.clone()),
        _ => None,
    });
    match first {
        Some(why) if all.iter().all(|one| one.ready.is_none()) => Err(Failure::usage(
            anyhow::anyhow!("no combination is possible: {why}"),
        )
        .hint("--dry-run shows why for each")),
        _ => Ok(()),
    }
}

/// Runs one after another; what there is, is on paper after each.
fn play(
    args: &Args,
    all: Vec<Prepared>,
    provisioned: &BTreeMap<String, Provisioned>,
    progress: &Progress,
    stop: &StopFlag,
    share: Option<&Share>,
) -> Outcome {
    let numbers: Vec<u32> = all.iter().map(|one| one.number).collect();
    let (mut cells, ready): (Vec<Cell>, Vec<Option<Ready>>) =
        all.into_iter().map(|one| (one.cell, one.ready)).unzip();
    let root = args.what.root()?;
    let paper = Paper::create(&root)?;
    let began = (jiff::Timestamp::now(), Instant::now());
    let runs = ready.iter().flatten().count();
    let mut number = 0;
    for (at, ready) in ready.iter().enumerate() {
        if let Some(Ready { plan, golden }) = ready
            && let Some(provisioned) = provisioned.get(&plan.target.name)
            && let Some(cell) = cells.get_mut(at)
            && let State::Waiting(wanted) = &cell.state
            && !stop.is_stopped()
        {
            number += 1;
            let wanted = wanted.clone();
            progress.heading(&format!("run {number} of {runs}: {}", cell.key));
            let begin = Instant::now();
            let bench = Bench {
                plan,
                provisioned,
                golden,
                expect: wanted.expect,
                accel: args.what.accel.into(),
                snapshot: None,
            };
            let aftermath = bench.run_once(progress, stop, None);
            let run = aftermath.folder().map(Into::into);
            // A run that was cut short by the same signal has no result.
            if !stop.is_stopped() {
                let got = Got::new(wanted.expect, aftermath.comparison(), begin.elapsed(), run);
                let got = Got {
                    case: aftermath.case().cloned().map(Box::new),
                    ..got
                };
                cell.state = State::Done(wanted, got);
            }
        }
        if let Some(cell) = cells.get(at)
            && args.json
        {
            output::print_json(&cell.line(Waiting::NotRun.name()))?;
        }
        paper.write(&cells);
    }
    super::prune(&root, args.what.keep);
    if let Some(share) = share {
        let part = part::of(share, began, &numbers, &cells, provisioned);
        paper.part(&part).map_err(Failure::inconclusive)?;
    }
    let exit = worst(&cells);
    let document = paper.document(&cells);
    args.report.emit(&document)?;
    if args.report.takes_stdout() {
        return Ok(exit);
    }
    if args.json {
        output::print_json(&Line {
            exit: exit as u8,
            dry_run: false,
            counts: Counts::of(&cells),
            table: Some(paper.table()),
            partition: share.map(|share| share.partition),
        })?;
    } else {
        let part = share.map(|share| format!("{}\n", share.note()));
        output::print(&format!(
            "\n{}{}table: {}\n{}",
            table::text(&cells, Waiting::NotRun),
            part.unwrap_or_default(),
            paper.table().display(),
            paper
                .page()
                .map_or_else(String::new, |page| format!("page: {}\n", page.display()))
        ))?;
    }
    Ok(exit)
}

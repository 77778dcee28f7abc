//! The document of a single run, from what its folder keeps and, where it has just ended, from what its analysis and its
//! comparison gave. What is not there is named with its reason. Boots nothing, analyses no dump.
use recrash_machine::run::Manifest;
use recrash_machine::run::manifest::Ending;
use recrash_signature::Signature;
use recrash_signature::compare::Comparison;
use recrash_signature::model::Site;
use std::path::Path;

use super::document::crash::{Mark, Timeline};
use super::document::{Case, CrashPart, Document, GoldenRef, Kind, Outcome, Section};
use super::{CrashReport, Fact, console, device, sides, timeline};
use crate::captures;
use crate::exit::Exit;

/// How a run was judged.
#[derive(Debug)]
pub(crate) struct Judgement<'a> {
    /// The comparison.
    pub(crate) comparison: &'a Comparison,
    /// The golden's facts.
    pub(crate) golden: &'a Signature,
    /// Which golden that is.
    pub(crate) named: GoldenRef,
    /// What was expected.
    pub(crate) expected: &'a str,
    /// What that comes to.
    pub(crate) exit: Exit,
}

/// What there is of a run.
#[derive(Debug, Default)]
pub(crate) struct Parts<'a> {
    /// Its folder, if it got so far.
    pub(crate) folder: Option<&'a Path>,
    /// What it says about itself.
    pub(crate) manifest: Option<&'a Manifest>,
    /// What identifies its crash.
    pub(crate) signature: Option<&'a Signature>,
    /// How it was judged; absent of a run that is only looked at again.
    pub(crate) judgement: Option<Judgement<'a>>,
    /// The account of its crash; absent where its dump was not analysed.
    pub(crate) account: Option<CrashReport>,
    /// Last lines of the console of a run that says nothing.
    pub(crate) console_tail: &'a [String],
}

/// The document.
pub(crate) fn document(parts: Parts<'_>) -> Document {
    let Parts {
        folder,
        manifest,
        signature,
        judgement,
        account,
        console_tail,
    } = parts;
    let case = case(manifest, signature, judgement.as_ref());
    let name = folder.and_then(Path::file_name).map_or_else(
        || "run".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let exit = match (&judgement, case.outcome) {
        (Some(judgement), _) => judgement.exit,
        (None, Outcome::Unjudged) => Exit::Met,
        (None, _) => Exit::Inconclusive,
    };
    let headline = headline(&case, signature);
    let mut document = Document::new(Kind::Run, name, headline, exit);
    document.verdict.clone_from(&case.verdict);
    document.expected.clone_from(&case.expected);
    document.base = folder.map(Path::to_owned);
    if let Some(manifest) = manifest {
        document.when = Some(manifest.started.clone());
        document.took_ms = Some(manifest.total_ms);
        document.environment = environment(manifest);
        document.sections.extend(sections(manifest));
    } else {
        document
            .missing
            .push("environment: the run ended before it wrote down what it was".into());
    }
    if !console_tail.is_empty() {
        let section = Section::new("Last lines of the console").lines(console_tail.to_vec());
        document.sections.push(section);
    }
    document.crash = Some(Box::new(crash(
        folder,
        manifest,
        signature,
        judgement.as_ref(),
        account,
        &mut document.missing,
    )))
    .filter(|crash| **crash != CrashPart::default());
    document.cases.push(case);
    document
}

fn case(
    manifest: Option<&Manifest>,
    signature: Option<&Signature>,
    judgement: Option<&Judgement<'_>>,
) -> Case {
    let name = manifest.map_or_else(
        || "run".to_owned(),
        |manifest| format!("{}, {}", manifest.scenario, manifest.fault),
    );
    let mut case = match judgement {
        Some(j) => Case {
            expected: Some(j.expected.into()),
            ..Case::compared(name, j.exit, j.comparison, j.named.clone())
        },
        None => kept(name, manifest),
    };
    case.group = manifest.map(|manifest| manifest.target.clone());
    case.title = signature.map(|signature| signature.title.clone());
    case.bug = signature.and_then(|signature| signature.bug.clone());
    case.took_ms = manifest.map(|manifest| manifest.total_ms);
    case.folder = Some(".".into());
    case
}

/// Of a run that is only looked at again: what its manifest says.
fn kept(name: String, manifest: Option<&Manifest>) -> Case {
    let why = match manifest.and_then(|manifest| manifest.outcome.as_ref()) {
        Some(Ending::Crashed { .. }) => "the kernel died in the scenario".to_owned(),
        Some(Ending::NoCrash) => "the scenario ended and the kernel was alive".into(),
        Some(Ending::Dumped { .. }) => crate::subject::DUMPED.into(),
        Some(Ending::Inconclusive { stage, reason, .. }) => format!("{stage}: {reason}"),
        None => "the run has not ended, or its harness was killed".into(),
    };
    // What was expected of it is not kept, so neither is whether that came.
    let mut case = Case::new(name, Outcome::Unjudged, why);
    case.verdict = manifest.and_then(|manifest| manifest.verdict.clone());
    if manifest.is_some_and(|manifest| {
        matches!(manifest.outcome, None | Some(Ending::Inconclusive { .. }))
    }) {
        case.outcome = Outcome::Error;
    }
    case
}

fn headline(case: &Case, signature: Option<&Signature>) -> String {
    let verdict = case.verdict.as_deref().unwrap_or("no verdict");
    let title = signature.map(|signature| &*signature.title);
    let what = match (title, case.verdict.as_deref()) {
        (Some(title), _) => title.to_owned(),
        (None, _) => case.why.clone(),
    };
    match (&case.expected, case.outcome) {
        (Some(expected), Outcome::Failed) => format!("{verdict} instead of {expected}: {what}"),
        _ => format!("{verdict}: {what}"),
    }
}

/// What a run was made of.
fn environment(manifest: &Manifest) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("target", manifest.target.as_str()),
        Fact::new("kernel", manifest.kernel_release.as_str()),
        Fact::new("scenario", manifest.scenario.as_str()),
        Fact::new("fault", manifest.fault.as_str()),
        Fact::new("device", manifest.device.as_str()),
    ];
    let controller = manifest.controller.map(|one| one.name().to_owned());
    let speed = manifest.speed.map(|speed| speed.name().to_owned());
    facts.extend(controller.map(|name| Fact::new("controller", name)));
    facts.extend(speed.map(|name| Fact::new("speed", name)));
    facts.push(Fact::new("capture", manifest.capture.mode.to_string()));
    let accel = Fact::new("accelerator", manifest.accel.to_string());
    facts.push(match &manifest.why_not_kvm {
        Some(why) => accel.proven_by(format!("not KVM: {why}")),
        None => accel,
    });
    facts.push(Fact::new("QEMU", manifest.qemu_version.as_str()));
    if !manifest.append.is_empty() {
        facts.push(Fact::new("added words", manifest.append.join(" ")));
    }
    facts.push(Fact::new("command line", manifest.cmdline.as_str()));
    if let Some(note) = &manifest.campaign {
        let value = format!("attempt {} of {} of {}", note.attempt, note.of, note.name);
        facts.push(Fact::new("campaign", value));
    }
    if let Some(snapshot) = &manifest.snapshot {
        facts.push(Fact::new("snapshot of", snapshot.as_str()));
    }
    facts.extend(
        manifest
            .packages
            .iter()
            .map(|package| Fact::new("package", format!("{} {}", package.name, package.version))),
    );
    facts
}

fn sections(manifest: &Manifest) -> Vec<Section> {
    let mut out = Vec::new();
    if let Some(physical) = &manifest.physical {
        out.push(Section::new("Physical device").facts(device::facts(physical)));
    }
    if !manifest.capture.dumps.is_empty() {
        let mut facts: Vec<Fact> = manifest
            .capture
            .dumps
            .iter()
            .map(|dump| {
                Fact::new(dump.file.as_str(), captures::form(dump))
                    .proven_by(format!("SHA-256 {}", dump.sha256))
            })
            .collect();
        facts.extend(manifest.capture.equal.map(|equal| {
            let value = if equal {
                "the same in both"
            } else {
                "not the same: the run says nothing"
            };
            Fact::new("signature", value)
        }));
        out.push(Section::new("Capture").facts(facts).detail());
    }
    let rows = manifest
        .stages
        .iter()
        .map(|time| {
            vec![
                time.stage.to_string(),
                format!("{:.3}", seconds(time.from_ms)),
                format!("{:.3}", seconds(time.took_ms)),
            ]
        })
        .collect();
    out.push(
        Section::new("Stages")
            .table(
                "where the time went, in seconds",
                ["stage", "from", "took"],
                rows,
            )
            .detail(),
    );
    out
}

#[expect(clippy::cast_precision_loss, reason = "shown with three decimals")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn crash(
    folder: Option<&Path>,
    manifest: Option<&Manifest>,
    signature: Option<&Signature>,
    judgement: Option<&Judgement<'_>>,
    account: Option<CrashReport>,
    missing: &mut Vec<String>,
) -> CrashPart {
    let mut part = CrashPart::default();
    if let Some(signature) = signature {
        part.title.clone_from(&signature.title);
        part.bug.clone_from(&signature.bug);
        part.sides = match judgement {
            Some(j) => sides::rows_of(Some((j.golden, j.comparison)), signature),
            None => {
                missing.push(
                    "golden: what this run was compared with is not kept; recrash compare tells"
                        .into(),
                );
                sides::rows_of(None, signature)
            }
        };
    }
    match account {
        Some(account) => part.account = account,
        None if signature.is_some() => missing.push(
            "backtrace, registers, memory: only the signature of this run is kept; \
             recrash analyze --report VMCORE tells them"
                .into(),
        ),
        None => {}
    }
    if let Some(folder) = folder {
        match timeline::of_run(folder, manifest) {
            Ok(mut timeline) => {
                if let Some(signature) = signature {
                    allocation(signature, &mut timeline);
                }
                part.timeline = Some(timeline);
            }
            Err(why) => missing.push(format!("time line: {why}")),
        }
        match console::of_run(folder) {
            Ok(console) => part.console = Some(console),
            Err(why) => missing.push(format!("console: {why}")),
        }
    }
    part
}

/// The allocation that took the overwritten pointer: no event tells of it, since the kernel died in it.
fn allocation(signature: &Signature, timeline: &mut Timeline) {
    let Some(Site::FreelistPointer { cache }) = signature.corruption.site.value() else {
        return;
    };
    let death = timeline
        .marks
        .iter()
        .position(|mark| mark.label == timeline::FAULT);
    let Some((at, death)) = death.and_then(|at| Some((at, timeline.marks.get(at)?.clone()))) else {
        return;
    };
    let context = &signature.context;
    let size = context.requested_size.value();
    let size = size.map_or_else(|| "an object".to_owned(), |size| format!("{size} bytes"));
    let flags = context.gfp_flags.value();
    let flags = flags.map_or_else(String::new, |flags| format!(", {flags}"));
    timeline.marks.insert(
        at,
        Mark {
            label: "allocation takes the pointer".into(),
            detail: format!("{size} of {cache}{flags}; the kernel dies in it"),
            ..death
        },
    );
}

//! A diagnosis in sections for people: the conclusion and what it rests on, the experiments, the explanations, the
//! object. The same sections make the terminal's text and the document.
use super::conclude::{Conclusion, Findings, Writer};
use super::experiment::Experiment;
use super::record::{self, Diagnosis, Entry, Run, State};
use super::seen::{Effect, Hand, WrittenObject};
use super::weigh::SILENT_RUNS;
use crate::report::Fact;
use crate::report::document::Section;

/// Bytes of an object that are shown.
const SHOWN: usize = 64;

/// Everything, in order.
pub(crate) fn sections(diagnosis: &Diagnosis) -> Vec<Section> {
    let findings = &diagnosis.findings;
    let entries = &diagnosis.experiments;
    let mut sections = vec![conclusion(findings, entries), experiments(entries)];
    if findings
        .explanations
        .iter()
        .any(|one| !one.predictions.is_empty())
    {
        sections.push(explanations(findings));
    }
    sections.extend(findings.object.as_ref().map(object));
    sections
}

/// The table of experiments alone: what is offered, and what it asks.
pub(crate) fn offered(entries: &[Entry]) -> Section {
    let rows = entries.iter().map(|entry| {
        vec![
            entry.experiment.name().to_owned(),
            match &entry.state {
                State::NotOffered { reason } => format!("not offered: {reason}"),
                State::LeftOut => "left out (--only)".into(),
                State::Waiting | State::Done { .. } => "offered".into(),
            },
            entry.adds.join(" "),
            entry.experiment.question().to_owned(),
        ]
    });
    Section::new("Experiments").table(
        "Which experiments this kernel and machine offer",
        ["experiment", "offered", "adds", "asks"],
        rows.collect(),
    )
}

fn conclusion(findings: &Findings, entries: &[Entry]) -> Section {
    let conclusion = &findings.conclusion;
    let mut facts = Vec::new();
    match conclusion {
        Conclusion::FreedEarly { freed, .. } => facts.push(by("freed by", freed)),
        Conclusion::NotFreedEarly { freed, writer, .. } => {
            facts.push(by("freed by", freed));
            let fact = Fact::new("written by", writer.label());
            facts.push(match writer {
                Writer::ControllerOrCpu => fact.proven_by(would_tell(entries)),
                Writer::Controller | Writer::Cpu => fact,
            });
        }
        Conclusion::Undecided { next, .. } => facts.push(Fact::new("next", next.clone())),
    }
    if let Some(hand) = findings
        .object
        .as_ref()
        .and_then(|object| object.allocated.as_ref())
    {
        facts.push(by("allocated by", hand));
    }
    if let Some(order) = &findings.order {
        if let Some(transfer) = &order.transfer {
            let answered = transfer.answered_ms;
            let answered = answered.map(|at| format!(", answered at {at} ms"));
            facts.push(
                Fact::new(
                    "transfer",
                    format!(
                        "URB {} to the device: {}, asked at {} ms{}",
                        transfer.number,
                        transfer.asked(),
                        transfer.asked_ms,
                        answered.unwrap_or_default()
                    ),
                )
                .proven_by(match findings.object.as_ref() {
                    Some(object) => format!(
                        "bytes {} to {} of its answer lie over the poison of the freed object",
                        object.start, object.end
                    ),
                    None => String::new(),
                }),
            );
        }
        let when = [("allocated", order.allocated_ms), ("freed", order.freed_ms)];
        let when: Vec<String> = when
            .into_iter()
            .filter_map(|(what, at)| Some(format!("{what} at {} ms", at?)))
            .collect();
        if !when.is_empty() {
            facts.push(Fact::new("clock", when.join(", ")).proven_by(
                "jiffies of the tracks, counted back from the kernel's death as the host saw it",
            ));
        }
        let known = if conclusion.is_there() {
            "known by"
        } else {
            "open"
        };
        facts.push(Fact::new(known, order.because.join("\n")));
    }
    if findings.object.is_some() {
        facts.push(Fact::new(
            "evidence",
            "the vmcore of the run with SLUB debugging, and what the host saw of the device; repro-module's own reports were \
             not read",
        ));
    }
    Section::new("Conclusion")
        .text(conclusion.headline())
        .facts(facts)
}

/// What would tell the controller from the CPU, by what was made of it.
fn would_tell(entries: &[Entry]) -> String {
    let silent: Vec<String> = entries
        .iter()
        .filter(|entry| matches!(entry.experiment, Experiment::Swiotlb | Experiment::Iommu))
        .filter(|entry| entry.effect() == Some(&Effect::NoCrash))
        .map(|entry| format!("{}: {}", entry.experiment, silence(entry.runs())))
        .collect();
    if silent.is_empty() {
        return "control with swiotlb or iommu would tell them apart".into();
    }
    format!(
        "{}; {SILENT_RUNS} silent runs would tell them apart, if the control's first run crashes",
        silent.join(", ")
    )
}

/// `1 silent run of 1`.
fn silence(runs: &[Run]) -> String {
    let silent = record::silent(runs);
    let noun = if silent == 1 { "run" } else { "runs" };
    format!("{silent} silent {noun} of {}", runs.len())
}

fn by(name: &str, hand: &Hand) -> Fact {
    let mut path: Vec<String> = hand
        .path
        .iter()
        .map(|function| format!("← {}", function.long()))
        .collect();
    if let Some(why) = &hand.no_path {
        path.push(format!("no call path: {why}"));
    }
    let value = format!(
        "{}, pid {} on CPU {}, at jiffy {}",
        hand.function.long(),
        hand.pid,
        hand.cpu,
        hand.jiffies
    );
    Fact::new(name, value).proven_by(path.join("\n"))
}

fn experiments(entries: &[Entry]) -> Section {
    let rows = entries.iter().map(|entry| {
        let took = match entry.took_ms() {
            0 => String::new(),
            // A tenth of a second is as much as anybody reads.
            ms => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        };
        vec![
            entry.experiment.name().to_owned(),
            entry.adds.join(" "),
            became(&entry.state),
            took,
        ]
    });
    Section::new("Experiments").table(
        "What each experiment changed",
        ["experiment", "adds", "effect", "took"],
        rows.collect(),
    )
}

/// What became of an experiment, in a few words.
pub(crate) fn became(state: &State) -> String {
    match state {
        State::NotOffered { reason } => format!("not offered: {reason}"),
        State::LeftOut => "left out (--only)".into(),
        State::Waiting => "not made".into(),
        State::Done { effect, runs } => {
            let what = effect_text(effect);
            match runs.len() {
                _ if *effect == Effect::NoCrash => format!("{what} ({})", silence(runs)),
                0 | 1 => what,
                many => format!("{what} ({many} runs)"),
            }
        }
    }
}

fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Same { title } => format!("crash: {title}"),
        Effect::Other { title } => format!("another crash: {title}"),
        Effect::NoCrash => "no crash".into(),
        Effect::Read { title: Some(title) } => {
            format!("memory read; the kernel had found it: {title}")
        }
        Effect::Read { title: None } => "memory read; the kernel had not noticed".into(),
        Effect::Nothing { why } => format!("says nothing: {why}"),
    }
}

fn explanations(findings: &Findings) -> Section {
    let mut section = Section::new("Explanations");
    for weighed in &findings.explanations {
        let rows: Vec<Vec<String>> = weighed
            .predictions
            .iter()
            .map(|one| {
                vec![
                    one.experiment.name().to_owned(),
                    one.predicts.clone(),
                    one.standing.name().to_owned(),
                ]
            })
            .collect();
        let label = weighed.hypothesis.label();
        section = section.text(format!("{}: {label}", weighed.standing.name()));
        if !rows.is_empty() {
            section = section.table(
                "What it predicts",
                ["experiment", "it predicts", "says"],
                rows,
            );
        }
    }
    section
}

fn object(object: &WrittenObject) -> Section {
    let bytes: Vec<&str> = (0..object.bytes.len())
        .step_by(2)
        .take(SHOWN)
        .filter_map(|at| object.bytes.get(at..at + 2))
        .collect();
    let more = if object.bytes.len() > SHOWN * 2 {
        " …"
    } else {
        ""
    };
    let mut facts = vec![
        Fact::new(
            "object",
            format!(
                "{} of {} ({} bytes)",
                object.address, object.cache, object.object_size
            ),
        ),
        Fact::new(
            "written",
            format!(
                "bytes {} to {} of the freed object: {}",
                object.start, object.end, object.what
            ),
        )
        .proven_by(format!("{}{more}", bytes.join(" "))),
        Fact::new(
            "around it",
            if object.alone {
                "the red zones and the padding are whole: nothing ran into the object or out of it"
            } else {
                "the red zones or the padding are overwritten too"
            },
        ),
    ];
    for urb in &object.urbs {
        let state = if urb.in_flight {
            "in flight"
        } else {
            "not in flight"
        };
        let memory = if urb.allocated {
            ""
        } else {
            ", its own memory is free"
        };
        // What a freed request points to is somebody else's by now.
        let setup = urb.setup.as_deref().filter(|_| urb.allocated);
        let setup = setup.map_or_else(String::new, |setup| format!("{setup}\n"));
        facts.push(
            Fact::new(
                "buffer of",
                format!(
                    "struct urb at {}, device {}: {state}{memory}, status {}, {} bytes",
                    urb.address, urb.device, urb.status, urb.actual_length
                ),
            )
            .proven_by(format!("{setup}calls {} at its end", urb.complete)),
        );
    }
    Section::new("The object").facts(facts)
}

//! The account in short, and who ran: process, CPU, system call, kernel, call chain.
use recrash_kernel::decode::Kind;

use crate::explain::facts::{Facts, KernelReport, line, proofs};
use crate::explain::findings::{Finding, Proof, Word};
use crate::explain::message::Hex;
use crate::explain::story::{Block, Draft, FrameRow, MAX_FRAMES, Section, Topic};

/// Reports after the first that are named.
const MAX_LATER: usize = 4;

pub(super) fn summary(facts: &Facts) -> Option<Section> {
    let account = &facts.account;
    let mut draft = Draft::new(Topic::Summary);
    if let (Ok(exception), Ok(place)) = (&account.exception, &account.place)
        && let (Some(mnemonic), Some(vector)) = (&exception.value.mnemonic, exception.value.vector)
    {
        let finding = Finding::Died {
            mnemonic: mnemonic.clone(),
            name: super::vector::name(vector),
            function: place.value.function.clone(),
        };
        draft.say(finding, Vec::new());
    }
    reports(facts, &mut draft);
    if let Some(text) = &facts.panic {
        draft.say(Finding::Panicked { text: text.clone() }, Vec::new());
    }
    if let Some(why) = &facts.calm {
        draft.say(Finding::NoException { why: why.clone() }, Vec::new());
    }
    if let (Some(cache), Ok(list)) = (facts.cache(), &account.freelist)
        && !super::vector::kernel_pointer(list.value.value)
    {
        let finding = Finding::ListOverwritten {
            cache: cache.into(),
            value: Hex(list.value.value),
        };
        draft.say(finding, Vec::new());
        draft_overwriter(facts, &mut draft);
    }
    if let (Some(field), Some(cache), Some(value)) = (&facts.field, facts.cache(), facts.value()) {
        let finding = Finding::FieldOverwritten {
            field: field.clone(),
            cache: cache.into(),
            value: Hex(value),
        };
        draft.say(finding, Vec::new());
        draft_overwriter(facts, &mut draft);
    }
    draft.finish()
}

fn draft_overwriter(facts: &Facts, draft: &mut Draft) {
    let Ok(decoded) = &facts.account.decoded else {
        return;
    };
    let (kind, begins) = match decoded.value.best().map(|best| &best.kind) {
        Some(Kind::Descriptor(found)) => (Some(found.kind), found.begins == 0),
        Some(Kind::Device(found)) => (found.kind, found.at == found.kind_at && found.at == 0),
        _ => return,
    };
    let what = match kind {
        Some(super::value::STRING) => Word::StringDescriptor,
        Some(_) => Word::OtherDescriptor,
        None => return,
    };
    let finding = if begins {
        Finding::OverwrittenBy { what }
    } else {
        Finding::OverwrittenByPart { what }
    };
    draft.say(finding, Vec::new());
}

fn reports(facts: &Facts, draft: &mut Draft) {
    let Some((first, later)) = facts.reports.split_first() else {
        return;
    };
    let title = first.title.clone();
    draft.say(Finding::Reported { title }, evidence(first));
    for title in &first.alternatives {
        let title = title.clone();
        draft.say(Finding::AlsoTitled { title }, Vec::new());
    }
    if let Some(why) = &first.corrupted {
        draft.say(Finding::ReportDamaged { why: why.clone() }, Vec::new());
    }
    for report in later.iter().take(MAX_LATER) {
        let title = report.title.clone();
        draft.say(Finding::LaterReport { title }, evidence(report));
    }
}

fn evidence(report: &KernelReport) -> Vec<Proof> {
    if report.line == 0 {
        return Vec::new();
    }
    vec![Proof::AtLine { line: report.line }]
}

pub(super) fn context(facts: &Facts) -> Option<Section> {
    let account = &facts.account;
    let mut draft = Draft::new(Topic::Context);
    if let Ok(call) = &account.syscall {
        draft.say(syscall(&call.value), proofs(&call.basis));
    }
    if let Ok(task) = &account.task {
        let unknown = || "?".to_owned();
        let finding = Finding::Process {
            comm: task.value.comm.clone().unwrap_or_else(unknown),
            pid: task.value.pid.map_or_else(unknown, |pid| pid.to_string()),
            cpu: task.value.cpu.map_or_else(unknown, |cpu| cpu.to_string()),
        };
        draft.say(finding, proofs(&task.basis));
    }
    if let Ok(release) = &account.release {
        let finding = Finding::Release {
            release: release.value.clone(),
        };
        draft.say(finding, proofs(&release.basis));
    }
    if let Ok(kaslr) = &account.kaslr {
        let finding = if kaslr.value {
            Finding::Kaslr {}
        } else {
            Finding::NoKaslr {}
        };
        draft.say(finding, proofs(&kaslr.basis));
    }
    if let Ok(frames) = &account.frames {
        let rows: Vec<FrameRow> = frames
            .value
            .iter()
            .take(MAX_FRAMES)
            .map(|frame| FrameRow {
                function: match &frame.module {
                    Some(module) => format!("{} [{module}]", frame.function),
                    None => frame.function.clone(),
                },
                inlined: frame.inlined,
                line: line(&frame.basis),
            })
            .collect();
        if !rows.is_empty() {
            draft.add(Block::Frames(rows));
        }
    }
    draft.finish()
}

fn syscall(call: &recrash_transcript::account::Syscall) -> Finding {
    let name = call.name.clone();
    match (call.fd, &call.request) {
        (Some(fd), Some(request)) => Finding::SyscallRequest {
            name,
            fd,
            request: request.clone(),
        },
        (Some(fd), None) => Finding::SyscallFd { name, fd },
        _ => Finding::Syscall {
            name,
            number: call.number,
        },
    }
}

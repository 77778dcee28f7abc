//! What experiments showed, in; what is concluded, out. The numbers are those of real runs.
use super::conclude::{Conclusion, Writer, conclude};
use super::experiment::Experiment;
use super::order::First;
use super::record::{self, Diagnosis, Entry, Run, State};
use super::seen::{Effect, Function, Hand, Memory, Request, Seen, WrittenObject};
use super::weigh::{Hypothesis, Made, SILENT_RUNS, Standing, most_runs};
use super::wire::{Transfer, Wire};
use recrash_agent::plan::Setup;

const STRING: Setup = Setup {
    request_type: 0x80,
    request: 6,
    value: 0x0302,
    index: 0x0409,
    length: 254,
};
/// The product string's first bytes.
const BYTES: &str = "3803560069007200";
/// Jiffies when the kernel died, at 250 a second.
const DEATH: u64 = 4_294_893_839;

fn function(name: &str, module: Option<&str>) -> Function {
    Function {
        name: name.into(),
        offset: 0x80,
        module: module.map(Into::into),
    }
}

fn hand(name: &str, module: Option<&str>, jiffies_before: u64, path: &[&str]) -> Hand {
    Hand {
        function: function(name, module),
        pid: 87,
        cpu: 1,
        jiffies: DEATH - jiffies_before,
        path: path.iter().map(|name| function(name, None)).collect(),
        no_path: None,
    }
}

fn transfer(id: u64, asked_ms: u64, answered_ms: u64) -> Transfer {
    Transfer {
        number: id,
        id,
        setup: STRING,
        asked_ms,
        answered_ms: Some(answered_ms),
        cancelled: false,
        bytes: format!("{BYTES}0000"),
    }
}

fn object(allocated: Hand, freed: Hand) -> WrittenObject {
    WrittenObject {
        address: "0xffff89eb02752200".into(),
        cache: "kmalloc-256".into(),
        object_size: 256,
        start: 0,
        end: 8,
        bytes: BYTES.into(),
        what: "a string".into(),
        sent_by_device: true,
        alone: true,
        allocated: Some(allocated),
        freed: Some(freed),
        urbs: Vec::new(),
    }
}

fn seen(object: WrittenObject, transfers: Vec<Transfer>) -> Seen {
    Seen {
        memory: Some(Memory {
            objects: vec![object],
            caches: vec!["kmalloc-256".into()],
            jiffies: Some(DEATH),
            tick_ns: Some(4_000_000),
            missing: Vec::new(),
        }),
        wire: Some(Wire {
            transfers,
            death_ms: Some(10_000),
            reaped: 1,
            missing: Vec::new(),
        }),
    }
}

/// A module freed the buffer a second before the device answered; another transfer of the same bytes had ended before.
fn early_free() -> Seen {
    let allocated = hand("submit", Some("repro"), 259, &[]);
    let freed = hand(
        "repro_early_free_fire",
        Some("repro"),
        259,
        &["recrash_write", "vfs_write"],
    );
    let mut found = object(allocated, freed);
    found.urbs.push(Request {
        address: "0xffff89eb02600000".into(),
        device: "1-1".into(),
        setup: None,
        in_flight: false,
        status: 0,
        actual_length: 254,
        complete: "on_complete [repro]".into(),
        allocated: true,
    });
    seen(
        found,
        vec![transfer(7, 8_950, 8_952), transfer(8, 8_964, 9_965)],
    )
}

/// usbfs freed the buffer when the program reaped it; the bytes came once more.
fn duplicate_dma() -> Seen {
    let allocated = hand("proc_do_submiturb", Some("usbcore"), 6, &[]);
    let freed = hand("free_async", Some("usbcore"), 4, &["usbdev_ioctl"]);
    seen(object(allocated, freed), vec![transfer(7, 9_976, 9_977)])
}

fn same() -> Effect {
    Effect::Same {
        title: "general protection fault in __kmalloc".into(),
    }
}

fn read() -> Effect {
    Effect::Read { title: None }
}

/// An experiment that crashed in its first run, or was silent as often as is needed.
fn made(experiment: Experiment, effect: &Effect) -> Made<'_> {
    Made {
        experiment,
        effect,
        at_once: matches!(effect, Effect::Same { .. }),
        silent: match effect {
            Effect::NoCrash => SILENT_RUNS,
            _ => 0,
        },
    }
}

/// What the experiments gave, and what they showed, in; the conclusion's word, its function, and who is refuted, out.
fn check(
    effects: &[(Experiment, Effect)],
    seen: &Seen,
    expected: &str,
    refuted: &[Hypothesis],
) -> Conclusion {
    let all: Vec<Made<'_>> = effects
        .iter()
        .map(|(one, effect)| made(*one, effect))
        .collect();
    check_made(&all, seen, expected, refuted)
}

fn check_made(all: &[Made<'_>], seen: &Seen, expected: &str, refuted: &[Hypothesis]) -> Conclusion {
    let findings = conclude(all, seen);
    let (word, function) = match &findings.conclusion {
        Conclusion::FreedEarly { function, .. } => ("freed-early", function.as_str()),
        Conclusion::NotFreedEarly { function, .. } => ("not-freed-early", function.as_str()),
        Conclusion::Undecided { why, .. } => ("undecided", why.as_str()),
    };
    let found = format!("{word}: {function}");
    assert!(found.starts_with(expected), "{found}, expected {expected}");
    let of: Vec<Hypothesis> = findings
        .explanations
        .iter()
        .filter(|one| one.standing == Standing::Refuted)
        .map(|one| one.hypothesis)
        .collect();
    assert_eq!(of, refuted);
    findings.conclusion
}

#[test]
fn a_module_that_frees_in_flight_is_named() {
    use Experiment::{Control, SlubDebug, Swiotlb};
    let effects = [(Control, same()), (SlubDebug, read()), (Swiotlb, same())];
    let conclusion = check(
        &effects,
        &early_free(),
        "freed-early: repro_early_free_fire [repro]",
        &[Hypothesis::LateDma, Hypothesis::Overrun],
    );
    let Conclusion::FreedEarly {
        transfer, freed, ..
    } = conclusion
    else {
        panic!("{conclusion:?}");
    };
    assert_eq!(
        transfer.unwrap().id,
        8,
        "the one that was in flight, not the one before"
    );
    assert_eq!(freed.path[0].name, "recrash_write");
    // The tracks are enough by themselves.
    let refuted = [Hypothesis::LateDma, Hypothesis::Overrun];
    check(
        &[(SlubDebug, read())],
        &early_free(),
        "freed-early: repro_early_free_fire",
        &refuted,
    );
}

#[test]
fn a_late_dma_is_freed_by_its_owner_and_stopped_by_what_stops_dma() {
    use Experiment::{Control, InitOnFree, Iommu, SlubDebug, Swiotlb};
    for stopped in [Swiotlb, Iommu] {
        let effects = [
            (Control, same()),
            (SlubDebug, read()),
            (stopped, Effect::NoCrash),
            (InitOnFree, same()),
        ];
        let conclusion = check(
            &effects,
            &duplicate_dma(),
            "not-freed-early: free_async [usbcore]",
            &[
                Hypothesis::EarlyFree,
                Hypothesis::CpuStore,
                Hypothesis::Overrun,
            ],
        );
        let Conclusion::NotFreedEarly {
            writer, transfer, ..
        } = conclusion
        else {
            panic!("{conclusion:?}");
        };
        assert_eq!(writer, Writer::Controller);
        assert_eq!(transfer.unwrap().id, 7);
    }
}

#[test]
fn without_what_stops_dma_the_writer_is_not_told_apart() {
    let refuted = [Hypothesis::EarlyFree, Hypothesis::Overrun];
    let effects = [(Experiment::SlubDebug, read())];
    let conclusion = check(
        &effects,
        &duplicate_dma(),
        "not-freed-early: free_async",
        &refuted,
    );
    assert!(matches!(
        conclusion,
        Conclusion::NotFreedEarly {
            writer: Writer::ControllerOrCpu,
            ..
        }
    ));
    // A silence of a run that never crashes says nothing either.
    let effects = [
        (Experiment::Control, Effect::NoCrash),
        (Experiment::SlubDebug, read()),
        (Experiment::Swiotlb, Effect::NoCrash),
    ];
    let conclusion = check(
        &effects,
        &duplicate_dma(),
        "not-freed-early: free_async",
        &refuted,
    );
    assert!(matches!(
        conclusion,
        Conclusion::NotFreedEarly {
            writer: Writer::ControllerOrCpu,
            ..
        }
    ));
}

#[test]
fn a_silence_convicts_only_if_the_control_crashes_at_once_and_it_was_seen_often() {
    let (crash, read, silence) = (same(), read(), Effect::NoCrash);
    // Whether the control crashed in its first run, the silent runs, and who wrote then.
    for (at_once, silent, expected) in [
        (true, SILENT_RUNS, Writer::Controller),
        (true, SILENT_RUNS + 1, Writer::Controller),
        (true, SILENT_RUNS - 1, Writer::ControllerOrCpu),
        (true, 1, Writer::ControllerOrCpu),
        (false, SILENT_RUNS, Writer::ControllerOrCpu),
    ] {
        for experiment in [Experiment::Swiotlb, Experiment::Iommu] {
            let all = [
                Made {
                    at_once,
                    ..made(Experiment::Control, &crash)
                },
                made(Experiment::SlubDebug, &read),
                Made {
                    silent,
                    ..made(experiment, &silence)
                },
            ];
            let mut refuted = vec![Hypothesis::EarlyFree, Hypothesis::Overrun];
            if expected == Writer::Controller {
                refuted.insert(1, Hypothesis::CpuStore);
            }
            let free = "not-freed-early: free_async";
            let conclusion = check_made(&all, &duplicate_dma(), free, &refuted);
            let Conclusion::NotFreedEarly { writer, .. } = conclusion else {
                panic!("{conclusion:?}");
            };
            assert_eq!(writer, expected, "{experiment}: {at_once}, {silent}");
        }
    }
    // Nor is a module cleared by one run that did not crash.
    let all = [
        made(Experiment::Control, &crash),
        made(Experiment::SlubDebug, &read),
        Made {
            silent: 1,
            ..made(Experiment::Swiotlb, &silence)
        },
    ];
    let refuted = [Hypothesis::LateDma, Hypothesis::Overrun];
    check_made(&all, &early_free(), "freed-early: ", &refuted);
}

#[test]
fn what_is_weighed_by_its_silence_is_repeated_by_itself() {
    use Experiment::{Control, InitOnFree, Iommu, Kasan, NoFault, SlubDebug, Swiotlb};
    for experiment in [Swiotlb, Iommu, InitOnFree] {
        assert_eq!(most_runs(experiment, None, true), SILENT_RUNS);
        assert_eq!(
            most_runs(experiment, None, false),
            1,
            "it would say nothing"
        );
        assert_eq!(most_runs(experiment, Some(1), true), 1);
    }
    for experiment in [Control, NoFault, SlubDebug, Kasan] {
        assert_eq!(most_runs(experiment, None, true), 1, "{experiment}");
        assert_eq!(most_runs(experiment, Some(5), false), 5, "{experiment}");
    }
}

#[test]
fn a_crash_that_bounce_buffers_do_not_stop_is_no_late_dma() {
    let effects = [
        (Experiment::Control, same()),
        (Experiment::SlubDebug, read()),
        (Experiment::Swiotlb, same()),
    ];
    let refuted = [
        Hypothesis::LateDma,
        Hypothesis::EarlyFree,
        Hypothesis::Overrun,
    ];
    let conclusion = check(
        &effects,
        &duplicate_dma(),
        "not-freed-early: free_async",
        &refuted,
    );
    assert!(matches!(
        conclusion,
        Conclusion::NotFreedEarly {
            writer: Writer::Cpu,
            ..
        }
    ));
}

#[test]
fn experiments_that_contradict_each_other_conclude_nothing() {
    let effects = [
        (Experiment::Control, same()),
        (Experiment::SlubDebug, read()),
        (Experiment::Swiotlb, Effect::NoCrash),
    ];
    let conclusion = check(
        &effects,
        &early_free(),
        "undecided: the experiments contradict each other",
        &[
            Hypothesis::LateDma,
            Hypothesis::EarlyFree,
            Hypothesis::CpuStore,
            Hypothesis::Overrun,
        ],
    );
    let Conclusion::Undecided { next, .. } = conclusion else {
        panic!("{conclusion:?}");
    };
    assert!(next.contains("--attempts"), "{next}");
}

#[test]
fn clocks_that_are_too_near_each_other_order_nothing() {
    // A function of which nothing is known, freed when the device answered.
    let mut near = duplicate_dma();
    let found = &mut near.memory.as_mut().unwrap().objects[0];
    found.freed = Some(hand("some_driver_free", Some("driver"), 4, &[]));
    let effects = [(Experiment::SlubDebug, read())];
    check(
        &effects,
        &near,
        "undecided: the device's answer and the free lie within 254 ms",
        &[Hypothesis::Overrun],
    );
    // Freed a second after the answer the same function freed what had ended.
    near.wire.as_mut().unwrap().transfers = vec![transfer(7, 8_900, 8_901)];
    let refuted = [Hypothesis::EarlyFree, Hypothesis::Overrun];
    check(
        &effects,
        &near,
        "not-freed-early: some_driver_free [driver]",
        &refuted,
    );
}

#[test]
fn a_request_that_is_still_in_flight_in_the_dump_is_enough() {
    let mut flying = early_free();
    let memory = flying.memory.as_mut().unwrap();
    memory.objects[0].urbs[0].in_flight = true;
    memory.tick_ns = None;
    let refuted = [Hypothesis::LateDma, Hypothesis::Overrun];
    check(
        &[(Experiment::SlubDebug, read())],
        &flying,
        "freed-early: repro_early_free_fire",
        &refuted,
    );
}

#[test]
fn a_clone_of_a_function_is_that_function() {
    let mut cloned = duplicate_dma();
    let found = &mut cloned.memory.as_mut().unwrap().objects[0];
    found.freed.as_mut().unwrap().function.name = "free_async.part.0".into();
    let findings = conclude(&[made(Experiment::SlubDebug, &read())], &cloned);
    assert_eq!(findings.order.unwrap().first, First::End);
}

#[test]
fn a_write_that_ran_on_is_not_refuted_as_an_overrun() {
    let mut wide = duplicate_dma();
    wide.memory.as_mut().unwrap().objects[0].alone = false;
    check(
        &[(Experiment::SlubDebug, read())],
        &wide,
        "not-freed-early",
        &[Hypothesis::EarlyFree],
    );
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let nothing = Seen::default();
    check(
        &[],
        &nothing,
        "undecided: the run with SLUB debugging, which says who freed what, was not made",
        &[],
    );
    let failed = Effect::Nothing {
        why: "boot: stalled".into(),
    };
    let effects = [(Experiment::SlubDebug, failed)];
    check(
        &effects,
        &nothing,
        "undecided: the run with SLUB debugging says nothing: boot: stalled",
        &[],
    );
    let effects = [(Experiment::SlubDebug, read())];
    let mut empty = duplicate_dma();
    empty.memory.as_mut().unwrap().objects.clear();
    check(
        &effects,
        &empty,
        "undecided: no free object of the debugged caches has been written to",
        &[],
    );
    empty.memory.as_mut().unwrap().caches.clear();
    check(
        &effects,
        &empty,
        "undecided: no cache of the dump has SLUB debugging",
        &[],
    );
    let mut untracked = duplicate_dma();
    untracked.memory.as_mut().unwrap().objects[0].freed = None;
    let refuted = [Hypothesis::Overrun];
    check(
        &effects,
        &untracked,
        "undecided: nothing says who freed the object",
        &refuted,
    );
}

#[test]
fn of_several_objects_the_one_with_a_devices_answer_is_meant() {
    let mut several = duplicate_dma();
    let memory = several.memory.as_mut().unwrap();
    let mut other = object(hand("a", None, 9, &[]), hand("b", None, 9, &[]));
    other.sent_by_device = false;
    other.bytes = "0000000000000000".into();
    memory.objects.insert(0, other.clone());
    memory.objects.push(other);
    let refuted = [Hypothesis::EarlyFree, Hypothesis::Overrun];
    check(
        &[(Experiment::SlubDebug, read())],
        &several,
        "not-freed-early: free_async",
        &refuted,
    );
}

/// What people read of both.
#[test]
fn the_text_names_function_path_transfer_and_how_it_is_known() {
    for (seen, name) in [
        (early_free(), "early-free"),
        (duplicate_dma(), "duplicate-dma"),
    ] {
        let swiotlb = if name == "early-free" {
            vec![same()]
        } else {
            vec![Effect::NoCrash; 3]
        };
        let diagnosis = diagnosis(name, seen, swiotlb);
        let plain = plain(&diagnosis);
        insta::assert_snapshot!(name, plain);
        let json = serde_json::to_value(&diagnosis).unwrap();
        assert_eq!(
            serde_json::from_value::<Diagnosis>(json).unwrap(),
            diagnosis
        );
    }
}

#[test]
fn a_silence_that_was_seen_too_rarely_is_told_with_its_runs() {
    let diagnosis = diagnosis("duplicate-dma", duplicate_dma(), vec![Effect::NoCrash]);
    let text = plain(&diagnosis);
    for words in [
        "swiotlb: 1 silent run of 1; 3 silent runs would tell them apart",
        "no crash (1 silent run of 1)",
        "or code on the CPU through a pointer that it had kept",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

/// A control that crashed, the memory, and these runs with bounce buffers.
fn diagnosis(fault: &str, seen: Seen, swiotlb: Vec<Effect>) -> Diagnosis {
    let entries = [
        (Experiment::Control, vec![same()]),
        (Experiment::SlubDebug, vec![read()]),
        (Experiment::Swiotlb, swiotlb),
    ]
    .map(|(experiment, effects)| {
        let runs = effects.into_iter().map(|effect| Run {
            folder: None,
            effect,
            took_ms: 0,
        });
        let runs: Vec<Run> = runs.collect();
        Entry {
            experiment,
            adds: experiment.append(&["kmalloc-256".into()]),
            state: State::Done {
                effect: record::together(&runs),
                runs,
            },
        }
    });
    Diagnosis {
        recrash_diagnosis: record::SCHEMA,
        started: String::new(),
        target: "debian".into(),
        kernel_release: "6.1".into(),
        device: "d".into(),
        scenario: "s".into(),
        fault: fault.into(),
        append: Vec::new(),
        golden: "g".into(),
        findings: conclude(&record::made(&entries), &seen),
        experiments: entries.to_vec(),
        seen,
        interrupted: false,
        took_ms: 0,
        exit: 0,
    }
}

fn plain(diagnosis: &Diagnosis) -> String {
    let text = super::text::sections(&super::present::sections(diagnosis));
    anstream::adapter::strip_str(&text).to_string()
}

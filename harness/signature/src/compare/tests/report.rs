//! Identity of crashes in which nothing is known to be overwritten: class, report and place.

use super::*;

/// A crash without corruption, of this class, report and chain.
fn plain(class: FaultClass, report: &str, chain: &str) -> Signature {
    let mut s = golden();
    let gone = "there is none";
    s.corruption = Corruption {
        site: Fact::absent(gone),
        bytes: Fact::absent(gone),
        observed: Fact::absent(gone),
        decoded: Fact::absent(gone),
        confidence: Fact::absent(gone),
        proof: Fact::absent(gone),
    };
    s.slab = Slab {
        cache: Fact::absent(gone),
        object_size: Fact::absent(gone),
        freelist_offset: Fact::absent(gone),
        hardened: Fact::absent(gone),
    };
    s.fault.class = known(class);
    s.fault.report = known(report.into());
    s.frames.chain = known(chain.split('|').map(|f| f.parse().unwrap()).collect());
    Signature::new(s.fault, s.frames, s.slab, s.corruption, s.context)
}

const CLASSES: [(FaultClass, &str); 7] = [
    (FaultClass::Bug, "kernel BUG in f"),
    (FaultClass::Warning, "WARNING in f"),
    (FaultClass::Sanitizer, "KASAN: use-after-free Read in f"),
    (FaultClass::Stall, "INFO: task hung in f"),
    (FaultClass::Panic, "kernel panic: out of memory"),
    (FaultClass::Other, "possible deadlock in f"),
    (
        FaultClass::Null,
        "BUG: unable to handle kernel NULL pointer dereference in f",
    ),
];

fn verdict(golden: &Signature, found: &Signature, expected: Verdict) -> Comparison {
    for (a, b) in [(golden, found), (found, golden)] {
        let comparison = compare(a, b);
        assert_eq!(comparison.verdict, expected, "{comparison:#?}");
    }
    compare(golden, found)
}

#[test]
fn class_report_and_place_make_the_same_crash() {
    for (class, report) in CLASSES {
        let one = plain(class, report, "f|g|h");
        verdict(&one, &one, Verdict::SameCrash);
    }
}

#[test]
fn another_place_is_the_same_bug_and_another_report_another_one() {
    for (class, report) in CLASSES {
        let one = plain(class, report, "f|g|h");
        verdict(&one, &plain(class, report, "f|x|h"), Verdict::SameBug);
        let other = format!("{report}_other");
        verdict(&one, &plain(class, &other, "f|g|h"), Verdict::Different);
    }
}

#[test]
fn another_class_is_different_whatever_the_report() {
    let bug = plain(FaultClass::Bug, "kernel BUG in f", "f|g");
    let warning = plain(FaultClass::Warning, "kernel BUG in f", "f|g");
    verdict(&bug, &warning, Verdict::Different);
}

#[test]
fn an_alternative_title_is_the_same_report() {
    let one = plain(
        FaultClass::Sanitizer,
        "KASAN: use-after-free Read in f",
        "f|g",
    );
    let other = plain(
        FaultClass::Sanitizer,
        "KASAN: slab-out-of-bounds Read in f",
        "f|g",
    );
    verdict(&one, &other, Verdict::Different);
    let told = other.with_alternatives(["KASAN: use-after-free Read in f".to_owned()]);
    verdict(&one, &told, Verdict::SameCrash);
}

#[test]
fn a_report_that_is_missing_leaves_it_open_unless_trap_and_function_name_it() {
    let warning = plain(FaultClass::Warning, "WARNING in f", "f|g");
    let mut silent = warning.clone();
    silent.fault.report = Fact::absent("no log");
    let comparison = verdict(&warning, &silent, Verdict::Inconclusive);
    assert!(
        comparison.why.starts_with("fault.report is not known"),
        "{}",
        comparison.why
    );
    let title = "BUG: unable to handle kernel NULL pointer dereference in __kmalloc";
    let null = plain(FaultClass::Null, title, "__kmalloc|g");
    let mut silent = null.clone();
    silent.fault.report = Fact::absent("no log");
    verdict(&null, &silent, Verdict::SameCrash);
}

#[test]
fn a_report_that_names_no_place_is_none() {
    for title in ["WARNING in corrupted", "general protection fault"] {
        let one = plain(FaultClass::Warning, title, "f|g");
        verdict(&one, &one, Verdict::Inconclusive);
    }
}

#[test]
fn a_corruption_is_still_demanded_where_one_side_has_it_or_a_wild_pointer_struck() {
    let report = "general protection fault in f";
    let wild = plain(FaultClass::NonCanonical, report, "f|g");
    verdict(&wild, &wild.clone(), Verdict::Inconclusive);
    let jump = plain(FaultClass::BadJump, report, "f|g");
    verdict(&jump, &jump.clone(), Verdict::Inconclusive);
    let mut with = golden();
    with.fault.report = known(report.into());
    verdict(&with, &wild, Verdict::Inconclusive);
    let mut null = golden();
    null.fault.class = known(FaultClass::Null);
    let without = plain(FaultClass::Null, &null.title, "__kmalloc|g");
    verdict(&null, &without, Verdict::Inconclusive);
}

#[test]
fn the_words_of_a_report_do_not_count_beside_a_corruption() {
    let mut found = stock();
    found.fault.report = known("BUG: unable to handle kernel paging request in x".into());
    check(&found, Verdict::SameCrash);
}

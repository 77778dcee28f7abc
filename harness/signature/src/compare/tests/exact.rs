//! The same crash with the golden's value is more than the same crash.
use super::*;
use crate::compare::exact::Exactness;

fn check(change: fn(&mut Signature), expected: &str) {
    let mut found = golden();
    change(&mut found);
    let comparison = compare(&golden(), &found);
    let said = match comparison.exactness() {
        Exactness::Exact => "exact".to_owned(),
        Exactness::OtherValue(row) => format!("{} there, {} here", row.golden, row.found),
        Exactness::UnknownValue(gap) => format!("not known: {}", gap.reason),
        Exactness::OtherCrash => format!("{}", comparison.verdict),
    };
    assert_eq!(said, expected);
}

#[test]
fn the_golden_itself_is_exact() {
    check(|_| {}, "exact");
}

#[test]
fn a_difference_elsewhere_that_a_rule_explains_leaves_it_exact() {
    check(
        |found| {
            found.context.accelerator = known("tcg".into());
            found.fault.vector = known(13);
            found.fault.trap = known("#GP".into());
        },
        "exact",
    );
}

#[test]
fn another_value_is_never_exact_even_where_a_rule_explains_it() {
    let comparison = compare(&golden(), &stock());
    assert_eq!(comparison.verdict, Verdict::SameCrash);
    let Exactness::OtherValue(row) = comparison.exactness() else {
        panic!("{comparison:#?}")
    };
    assert_eq!(row.found, "74 00 61 00 20 00 30 00");
    assert_eq!(row.rule, Some("freelist-mid-object"));
}

#[test]
fn a_value_that_is_not_known_is_not_exact() {
    check(
        |found| found.corruption.observed = Fact::absent("coded"),
        "not known: coded",
    );
}

#[test]
fn another_crash_is_not_exact_whatever_its_value() {
    check(
        |found| found.frames.syscall = known("read".into()),
        "same-bug",
    );
}

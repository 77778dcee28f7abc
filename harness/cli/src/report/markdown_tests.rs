use super::*;
use crate::exit::Exit;
use crate::report::document::{Difference, GoldenRef, Kind};

fn failed() -> Document {
    let mut document = Document::new(
        Kind::Run,
        "20260101-debian-none",
        "same-bug instead of same-crash",
        Exit::Differs,
    );
    document.verdict = Some("same-bug".into());
    document.expected = Some("same-crash".into());
    document.took_ms = Some(31_250);
    let mut case = Case::new("string, duplicate-dma", Outcome::Failed, "another | place");
    case.group = Some("debian".into());
    case.verdict = Some("same-bug".into());
    case.expected = Some("same-crash".into());
    case.golden = Some(GoldenRef {
        name: "case/name".into(),
        file: Some("golden/case/name.snap".into()),
    });
    case.unexplained.push(Difference {
        field: "frames.chain".into(),
        part: "place".into(),
        golden: "a\nb".into(),
        found: "`c` | d".into(),
        rule: None,
        reason: "the chain is another".into(),
    });
    document.cases.push(case);
    document
}

#[test]
fn a_failed_run_says_first_what_came_instead_of_what() {
    insta::assert_snapshot!(document(&failed()), @r"
    ## ❌ same-bug instead of same-crash

    | | |
    |---|---|
    | run | `20260101-debian-none` |
    | verdict | **same-bug**, expected `same-crash`: not as expected |
    | golden | `case/name` |
    | time | 31.2 s |

    ### debian: string, duplicate-dma

    same-bug instead of same-crash: another \| place

    | differs | golden | found | |
    |---|---|---|---|
    | `frames.chain` | `a b` | `` `c` \| d `` | the chain is another |

    Golden: `golden/case/name.snap`
    ");
}

/// No text gets out of its place: neither a cell nor a heading ends early, and nothing becomes markup.
#[test]
fn hostile_text_stays_text() {
    assert_eq!(
        plain("a|b <img> @who https://x *y*\nz"),
        "a\\|b \\<img\\> @\u{2060}who https:/\u{2060}/x \\*y\\* z"
    );
    assert_eq!(code("a`b``c|d"), "```a`b``c\\|d```");
    assert_eq!(code("`"), "`` ` ``");
    assert_eq!(code("\x1b[2J"), "`\u{fffd}[2J`");
    assert_eq!(code(""), "–");
    let fence = fenced(&["```".into(), "<b>".into()]);
    assert!(fence.starts_with("````text\n") && fence.ends_with("````\n"));
    assert_eq!(
        folded("</summary><b>", "x"),
        "<details><summary>&lt;/summary&gt;&lt;b&gt;</summary>\n\nx\n\n</details>\n"
    );
}

#[test]
fn a_document_of_any_size_fits_into_a_summary() {
    let mut long = failed();
    for number in 0..5000 {
        let mut case = Case::new(
            format!("case {number}"),
            Outcome::Failed,
            "why ".repeat(500),
        );
        for _ in 0..50 {
            case.unexplained.push(Difference {
                field: "f".into(),
                part: "detail".into(),
                golden: "g".repeat(10_000),
                found: "f".repeat(10_000),
                rule: None,
                reason: "r".repeat(10_000),
            });
        }
        long.cases.push(case);
    }
    let text = document(&long);
    assert!(text.len() < MAX_BYTES + 1024, "{}", text.len());
    assert!(
        text.contains("more sections are in report.html"),
        "{}",
        &text[text.len() - 300..]
    );
    assert!(text.contains("4901 more cases"));
}

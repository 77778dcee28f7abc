use super::*;
use crate::exit::Exit;
use crate::report::document::crash::{Console, ConsoleLine};
use crate::report::document::{Case, CrashPart, Kind, Outcome, Section};
use crate::report::memory::{Bytes, Field, Memory, ObjectBytes, Span};
use crate::report::{CrashReport, Fact, Frame};

const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m' -->";

/// A document of which every text is hostile.
fn hostile() -> Document {
    let mut document = Document::new(Kind::Run, HOSTILE, HOSTILE, Exit::Differs);
    document.verdict = Some(HOSTILE.into());
    document.environment = vec![Fact::new(HOSTILE, HOSTILE).proven_by(HOSTILE)];
    document.missing = vec![HOSTILE.into()];
    document.sections = vec![
        Section::new(HOSTILE)
            .text(HOSTILE)
            .list(vec![HOSTILE.into()])
            .lines(vec![HOSTILE.into(); 40])
            .table(HOSTILE, [HOSTILE], vec![vec![HOSTILE.into()]]),
    ];
    let mut case = Case::new(HOSTILE, Outcome::Failed, HOSTILE);
    case.folder = Some(HOSTILE.into());
    document.cases = vec![case.clone(), case];
    document.crash = Some(Box::new(CrashPart {
        title: HOSTILE.into(),
        account: CrashReport {
            frames: vec![Frame {
                address: 1,
                symbol: HOSTILE.into(),
                found_by: HOSTILE.into(),
                source: Vec::new(),
            }],
            memory: Memory {
                object: Some(ObjectBytes {
                    address: HOSTILE.into(),
                    cache: HOSTILE.into(),
                    size: 64,
                    known_by: HOSTILE.into(),
                    in_dump: Some(Bytes {
                        from: u64::MAX,
                        hex: "zz00é1".into(),
                        what: HOSTILE.into(),
                    }),
                    written: Some(Bytes {
                        from: 40,
                        hex: "0303".into(),
                        what: HOSTILE.into(),
                    }),
                    pointer: Some(Span {
                        from: u64::MAX,
                        to: 0,
                        what: HOSTILE.into(),
                    }),
                    fields: vec![Field {
                        from: 40,
                        to: 42,
                        name: HOSTILE.into(),
                        value: HOSTILE.into(),
                        of: HOSTILE.into(),
                    }],
                }),
                ..Memory::default()
            },
            ..CrashReport::default()
        },
        console: Some(Console {
            from: 1,
            lines: vec![ConsoleLine {
                text: HOSTILE.into(),
                oops: true,
            }],
            left_out: 0,
        }),
        ..CrashPart::default()
    }));
    document
}

#[test]
fn no_text_of_a_guest_s_becomes_markup() {
    let page = page(&hostile(), &Links::NONE);
    assert!(
        !page.contains("<script") && !page.contains("<img"),
        "{page}"
    );
    assert!(!page.contains('\x1b'));
    assert!(page.contains("&lt;script&gt;"));
}

#[test]
fn the_page_says_what_came_instead_of_what_before_anything_else() {
    let mut document = Document::new(Kind::Run, "run-1", "different: a crash", Exit::Differs);
    document.verdict = Some("different".into());
    document.expected = Some("same-crash".into());
    let page = page(&document, &Links::NONE);
    let body = page.split_once("<body>").unwrap().1;
    let text: String = body
        .split('<')
        .filter_map(|part| part.split_once('>'))
        .map(|(_, text)| text)
        .collect();
    assert!(
        text.starts_with(
            "Skip to the result✗ not as expected: different, expected same-crashdifferent: a crash"
        ),
        "{text}"
    );
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn parts_of_the_same_name_have_anchors_of_their_own() {
    let mut document = Document::new(Kind::Verify, "v", "h", Exit::Met);
    document.sections = vec![Section::new("a").text("x"), Section::new("a").text("y")];
    let page = page(&document, &Links::NONE);
    assert!(page.contains("id=\"part-1\"") && page.contains("id=\"part-2\""));
}

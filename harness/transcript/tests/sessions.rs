//! Sessions of crash 8.0.2 and 8.0.6 on dumps of three kernels: what is read is held against the lines themselves, and
//! stays what it is however the text was handed on. `RECRASH_SESSIONS` may name a folder of more sessions.
#![expect(
    clippy::unwrap_used,
    reason = "a test's own evidence that does not read is the test's failure"
)]
use proptest::prelude::*;
use recrash_transcript::evidence::{Evidence, read};
use recrash_transcript::without_prose;

const SESSIONS: [(&str, &str); 3] = [
    ("5.10", include_str!("sessions/linux-5.10.txt")),
    ("6.1", include_str!("sessions/linux-6.1.txt")),
    ("6.12", include_str!("sessions/linux-6.12.txt")),
];

fn sessions() -> Vec<(String, String)> {
    let kept = SESSIONS.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let more = std::env::var_os("RECRASH_SESSIONS")
        .into_iter()
        .flat_map(|folder| {
            let files = std::fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().path());
            let texts = files.filter(|path| path.extension().is_some_and(|end| end == "txt"));
            let text =
                |path: &_| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            texts
                .map(|path| (path.display().to_string(), text(&path)))
                .collect::<Vec<_>>()
        });
    kept.into_iter().chain(more).collect()
}

/// Each line with its number, as a terminal shows it.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.rsplit('\r').next().unwrap()))
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_address(word: &str) -> bool {
    word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The two lists are the same; the first difference is shown.
fn check<T: PartialEq + std::fmt::Debug>(name: &str, printed: &[T], found: &[T]) {
    let differs = printed.iter().zip(found).find(|(a, b)| a != b);
    assert_eq!(differs, None, "{name}");
    let longer = if printed.len() > found.len() {
        printed
    } else {
        found
    };
    let rest = longer.get(printed.len().min(found.len()));
    assert_eq!(
        rest,
        None,
        "{name}: {} printed, {} found",
        printed.len(),
        found.len()
    );
    assert!(!printed.is_empty(), "{name}: nothing to compare");
}

#[test]
fn every_frame_is_read_and_none_is_invented() {
    for (name, text) in sessions() {
        let printed: Vec<_> = lines(&text)
            .filter(|(_, line)| line.trim_start().starts_with('#') && line.contains(" at "))
            .map(|(number, line)| {
                let words: Vec<_> = line.split_whitespace().collect();
                let mut words: Vec<_> = words.into_iter().map(str::to_owned).collect();
                words[2] = words[2].split('+').next().unwrap().to_owned();
                (number, words.join(" "))
            })
            .collect();
        let found: Vec<_> = read(&text)
            .backtraces
            .iter()
            .flat_map(|backtrace| &backtrace.frames)
            .map(|frame| {
                let module = frame
                    .module
                    .as_ref()
                    .map_or(String::new(), |m| format!(" [{m}]"));
                let (number, at, function, address) =
                    (frame.number, frame.at, &frame.function, frame.address);
                (
                    frame.line,
                    format!("#{number} [{at:016x}] {function} at {address:016x}{module}"),
                )
            })
            .collect();
        check(&name, &printed, &found);
    }
}

#[test]
fn every_register_is_read_and_none_is_invented() {
    for (name, text) in sessions() {
        let mut printed = Vec::new();
        for (number, line) in lines(&text).filter(|(_, line)| line.starts_with("    ")) {
            let words: Vec<_> = line.split_whitespace().collect();
            let label =
                |word: &str| word.ends_with(':') && word.bytes().all(|b| !b.is_ascii_lowercase());
            let hex = |word: &str| u64::from_str_radix(word, 16).ok();
            if words.len() % 2 == 0
                && words
                    .chunks(2)
                    .all(|p| label(p[0]) && p[1].len() >= 4 && hex(p[1]).is_some())
            {
                printed.extend(words.chunks(2).map(|pair| {
                    let name = pair[0].trim_end_matches(':').to_ascii_lowercase();
                    (number, name, hex(pair[1]).unwrap())
                }));
            }
        }
        let found: Vec<_> = read(&text)
            .backtraces
            .iter()
            .flat_map(|backtrace| &backtrace.registers)
            .flat_map(|block| &block.registers)
            .map(|(name, value, line)| (*line, name.clone(), *value))
            .collect();
        check(&name, &printed, &found);
    }
}

#[test]
fn every_register_block_is_whole() {
    for (name, text) in sessions() {
        let evidence = read(&text);
        let blocks: Vec<_> = evidence
            .backtraces
            .iter()
            .flat_map(|b| &b.registers)
            .collect();
        let exceptions = blocks
            .iter()
            .filter(|block| block.exception.is_some())
            .count();
        assert_eq!(
            exceptions,
            text.matches("[exception RIP:").count(),
            "{name}"
        );
        let cut = blocks
            .iter()
            .filter(|block| block.registers.len() != 21)
            .count();
        assert!(
            cut <= 4,
            "{name}: {cut} blocks are not whole, of which the file cuts some off"
        );
    }
}

#[test]
fn every_word_of_the_stack_is_read_and_none_is_invented() {
    for (name, text) in sessions() {
        let mut printed = Vec::new();
        for (number, line) in lines(&text) {
            let Some((at, rest)) = line.trim_start().split_once(": ") else {
                continue;
            };
            let words: Vec<_> = rest.split_whitespace().take(2).collect();
            if !line.starts_with("    ffff") || !is_address(at) {
                continue;
            }
            let at = u64::from_str_radix(at, 16).unwrap();
            for (index, word) in words.iter().enumerate() {
                let word = word.trim_start_matches('[').split(':').next().unwrap();
                if is_address(word) {
                    let value = u64::from_str_radix(word, 16).unwrap();
                    printed.push((number, at + 8 * index as u64, value));
                }
            }
        }
        let stack: std::collections::BTreeSet<_> = lines(&text)
            .filter(|(_, line)| line.starts_with("    ffff"))
            .map(|(number, _)| number)
            .collect();
        let words = read(&text).words;
        let found: Vec<_> = words
            .iter()
            .filter(|word| stack.contains(&word.line))
            .map(|word| (word.line, word.at, word.value))
            .collect();
        check(&name, &printed, &found);
    }
}

#[test]
fn every_instruction_is_read_and_none_is_invented() {
    for (name, text) in sessions() {
        let printed: Vec<_> = lines(&text)
            .filter(|(_, line)| line.trim_start().starts_with("0xffffffff") && line.contains(">:"))
            .filter_map(|(number, line)| {
                let (head, rest) = line.split_once(">:")?;
                let words: Vec<_> = rest
                    .split_whitespace()
                    .skip_while(|word| {
                        word.len() == 2 && word.bytes().all(|b| b.is_ascii_hexdigit())
                    })
                    .collect();
                let text = words.join(" ").replace(" [FTRACE NOP]", "");
                let offset = head.rsplit_once('+').map_or("0", |(_, offset)| offset);
                // `dis -x` has it in hexadecimal.
                let offset = match offset.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16),
                    None => offset.parse(),
                }
                .unwrap();
                (!text.starts_with("0x") && !text.starts_with('"'))
                    .then_some((number, offset, text))
            })
            .collect();
        let found: Vec<_> = read(&text)
            .instructions
            .into_iter()
            .map(|found| (found.line, found.place.expect("a function").1, found.text))
            .collect();
        check(&name, &printed, &found);
    }
}

#[test]
fn every_member_of_a_structure_is_read_and_none_is_invented() {
    for (name, text) in sessions() {
        let evidence = read(&text);
        let members: Vec<_> = evidence
            .structs
            .iter()
            .flat_map(|found| &found.members)
            .collect();
        for (number, line) in
            lines(&text).filter(|(_, line)| line.starts_with("  ") && !line.contains('$'))
        {
            let Some((field, value)) = line.trim().split_once(" = ") else {
                continue;
            };
            let value = value.trim_end_matches(',');
            if value.starts_with('{') || line.contains("*)") || field.contains(' ') {
                continue;
            }
            // crash 8.0.2 does not print the command, and of `struct NAME.member` it prints no head.
            if evidence.lost.iter().any(|lost| lost.line == number) {
                continue;
            }
            let here = members.iter().find(|member| member.line == number);
            let here = here.unwrap_or_else(|| panic!("{name}: {number}: {line}"));
            assert_eq!(here.text, value, "{name}: {number}");
            assert!(
                here.path.rsplit(['.']).next() == Some(field),
                "{name}: {number}: {}",
                here.path
            );
        }
        for member in &members {
            let (_, line) = lines(&text).nth(member.line - 1).unwrap();
            assert!(
                squeezed(line).contains(&squeezed(&member.text)),
                "{name}: {member:?}"
            );
            assert!(
                !member.path.is_empty() && !member.path.contains(".."),
                "{name}: {member:?}"
            );
        }
    }
}

#[test]
fn every_cache_is_read_and_no_slab_is_taken_for_one() {
    for (name, text) in sessions() {
        let printed: Vec<_> = lines(&text)
            .filter(|(_, line)| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.len() == 7 && is_address(words[0]) && words[5].ends_with('k')
            })
            .map(|(number, line)| {
                (
                    number,
                    squeezed(line).split(' ').next_back().unwrap().to_owned(),
                )
            })
            .collect();
        let found: Vec<_> = read(&text)
            .caches
            .into_iter()
            .map(|cache| (cache.line, cache.name))
            .collect();
        check(&name, &printed, &found);
    }
}

#[test]
fn nothing_of_a_session_is_lost_but_what_has_no_form() {
    for (name, text) in SESSIONS {
        for lost in read(text).lost {
            let (_, line) = lines(text).nth(lost.line - 1).unwrap();
            // `rd -d`, `x/…wx` of one word, and a structure whose head the file leaves out.
            let known = line.starts_with("ffffffff") && line.contains(":  ");
            assert!(known, "{name}: {lost:?}: {line}");
        }
    }
}

/// Evidence without the numbers of its lines.
fn numberless(text: &str) -> Evidence {
    let mut found = read(text);
    let system = &mut found.system;
    for (_, line) in [
        &mut system.release,
        &mut system.panic,
        &mut system.comm,
        &mut system.date,
    ]
    .into_iter()
    .flatten()
    {
        *line = 0;
    }
    for (_, line) in [&mut system.cpus, &mut system.cpu].into_iter().flatten() {
        *line = 0;
    }
    if let Some((_, line)) = &mut system.pid {
        *line = 0;
    }
    found.tasks.iter_mut().for_each(|task| task.line = 0);
    for backtrace in &mut found.backtraces {
        backtrace.frames.iter_mut().for_each(|frame| frame.line = 0);
        for block in &mut backtrace.registers {
            block.line = 0;
            block
                .registers
                .iter_mut()
                .for_each(|(_, _, line)| *line = 0);
        }
    }
    for found in &mut found.structs {
        found.line = 0;
        found.members.iter_mut().for_each(|member| member.line = 0);
    }
    found
        .instructions
        .iter_mut()
        .for_each(|found| found.line = 0);
    found.words.iter_mut().for_each(|word| word.line = 0);
    found
        .translations
        .iter_mut()
        .for_each(|found| found.line = 0);
    found.caches.iter_mut().for_each(|cache| cache.line = 0);
    // They are told where the text still has them.
    found.lost.clear();
    found
}

#[test]
fn the_text_without_prose_says_the_same() {
    for (name, text) in SESSIONS {
        let clean = without_prose(text);
        assert_eq!(without_prose(&clean), clean, "{name}");
        assert_eq!(numberless(&clean), numberless(text), "{name}");
    }
}

#[test]
fn however_a_session_is_handed_on_it_says_the_same() {
    for (name, text) in SESSIONS {
        let plain = numberless(text);
        let each = |change: &dyn Fn(&str) -> String| {
            text.lines().map(change).collect::<Vec<_>>().join("\n")
        };
        let changes = [
            ("quoted", each(&|line| format!("> > {line}"))),
            ("ends of DOS", each(&|line| format!("{line}\r"))),
            (
                "recorded",
                each(&|line| format!("2026-11-24T13:35:25.120Z {line}")),
            ),
            ("clock", each(&|line| format!("[13:35:25] {line}"))),
            (
                "coloured",
                each(&|line| format!("\u{1b}[0;32m{line}\u{1b}[0m")),
            ),
            (
                "fenced",
                format!("# Report\n\nSome words.\n\n````text\n{text}````\n\nMore words.\n"),
            ),
            ("indented", each(&|line| format!("    {line}"))),
        ];
        for (how, changed) in changes {
            assert_eq!(numberless(&changed), plain, "{name}, {how}");
        }
    }
}

/// Wrapped as `fold` does, at words or not.
fn wrapped(text: &str, words: bool) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while rest.len() > 80 {
            let blank = rest[..80].rfind(' ').filter(|at| words && *at > 40);
            let (head, tail) = rest.split_at(blank.map_or(80, |at| at + 1));
            out.push_str(head);
            out.push('\n');
            rest = tail;
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

#[test]
fn a_session_wrapped_at_eighty_columns_says_the_same() {
    for (name, text) in SESSIONS {
        for words in [false, true] {
            let (found, plain) = (items(&wrapped(text, words)), items(text));
            let lost: Vec<_> = plain.iter().filter(|item| !found.contains(item)).collect();
            let invented: Vec<_> = found.iter().filter(|item| !plain.contains(item)).collect();
            assert_eq!(
                (lost, invented),
                (vec![], vec![]),
                "{name}, at words: {words}"
            );
        }
    }
}

/// Every item of a text, to tell what another one of the same lines lost or invented.
fn items(text: &str) -> Vec<String> {
    let found = read(text);
    let frames = found
        .backtraces
        .iter()
        .flat_map(|b| &b.frames)
        .map(|f| format!("{f:?}"));
    let words = found.words.iter().map(|w| format!("{w:?}"));
    let code = found
        .instructions
        .iter()
        .map(|i| format!("{:?} {} {}", i.address, i.text, i.line));
    let caches = found.caches.iter().map(|c| format!("{c:?}"));
    let mut all: Vec<_> = frames.chain(words).chain(code).chain(caches).collect();
    for item in &mut all {
        let end = item.rfind("line: ").map_or(item.rfind(' '), Some).unwrap();
        item.truncate(end);
    }
    all.iter_mut()
        .for_each(|item| *item = item.split(", source:").next().unwrap().to_owned());
    all.sort();
    all
}

fn contains(all: &[String], some: &[String]) -> Result<(), String> {
    some.iter()
        .find(|item| all.binary_search(item).is_err())
        .map_or(Ok(()), |item| Err(item.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_line_that_is_dropped_takes_only_itself_along(which in 0usize..3, drop in 0usize..700) {
        let (_, text) = SESSIONS[which];
        let left: Vec<_> = text.lines().enumerate().filter(|(n, _)| *n != drop).map(|(_, line)| line).collect();
        let (all, some) = (items(text), items(&left.join("\n")));
        prop_assert_eq!(contains(&all, &some), Ok(()));
        prop_assert!(some.len() + 4 >= all.len(), "{} of {}", some.len(), all.len());
    }

    #[test]
    fn sections_may_stand_in_any_order(first in 0usize..40, second in 0usize..40) {
        let (_, text) = SESSIONS[2];
        let mut parts: Vec<_> = text.split("crash> ").collect();
        let count = parts.len();
        parts.swap(1 + first % (count - 1), 1 + second % (count - 1));
        prop_assert_eq!(items(&parts.join("crash> ")), items(text));
    }

    #[test]
    fn a_text_that_is_cut_off_keeps_what_is_whole(which in 0usize..3, at in 0usize..40_000) {
        let (_, text) = SESSIONS[which];
        let cut: String = text.chars().take(at).collect();
        let last = cut.rfind('\n').map_or(0, |end| end + 1);
        let all = items(text);
        let whole = items(&cut[..last]);
        prop_assert_eq!(contains(&all, &whole), Ok(()));
        prop_assert_eq!(contains(&items(&cut), &whole), Ok(()));
    }

    #[test]
    fn a_text_without_its_prose_says_the_same(which in 0usize..3, at in 0usize..700, words in "[a-z ,.:=0-9]{0,60}") {
        let (_, text) = SESSIONS[which];
        let mut lines: Vec<_> = text.lines().collect();
        lines.insert(at.min(lines.len()), &words);
        let mixed = lines.join("\n");
        let clean = without_prose(&mixed);
        prop_assert_eq!(&without_prose(&clean), &clean);
        prop_assert_eq!(items(&clean), items(&mixed));
    }
}

#[test]
fn twice_the_text_has_twice_the_items() {
    let (_, text) = SESSIONS[2];
    let once = items(text).len();
    assert_eq!(items(&text.repeat(8)).len(), 8 * once);
}

#[test]
fn hostile_texts_end() {
    let deep = format!("struct a {{\n{}", "  b = {\n".repeat(100_000));
    let arrays = format!("struct a {{\n  b = {}\n", "{".repeat(1 << 20));
    let fences = "```\n".repeat(200_000);
    let quotes = format!("{}\n", ">".repeat(1 << 20)).repeat(4);
    let endless = "ffffffff81000000: 0000000000000001 ".repeat(100_000);
    let brackets = format!("ffffffff81000000: {}", "[".repeat(1 << 20));
    let binary: String = (0u8..=255).cycle().take(1 << 20).map(char::from).collect();
    for text in [deep, arrays, fences, quotes, endless, brackets, binary] {
        let found = read(&text);
        assert!(found.lost.len() <= 1002);
        let clean = without_prose(&text);
        assert!(clean.len() <= text.len() + 1);
    }
    let long = format!(
        "    ffffffff81000000: 0000000000000001 {}\n",
        " ".repeat(1 << 16)
    );
    let found = read(&long);
    assert_eq!((found.words.len(), found.lost.len()), (1, 1));
}

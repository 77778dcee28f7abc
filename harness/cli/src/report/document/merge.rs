//! Several documents as one: their cases one after another, each under the name of what it came from, and one exit code.
//! Whether all parts are there, whoever merges parts of one thing has to know.
use super::{Document, Kind, relative};
use crate::exit::Exit;

/// The exit code of several together: the first of 1, 3, 4, 2 that any of them has, else 0. What one proves, others that
/// failed do not take back.
pub(crate) fn exit(exits: impl IntoIterator<Item = u8>) -> Exit {
    let exits: Vec<u8> = exits.into_iter().collect();
    let order = [
        Exit::Differs,
        Exit::CrashOrNot,
        Exit::Inconclusive,
        Exit::Usage,
    ];
    let none = if exits.is_empty() {
        Exit::Inconclusive
    } else {
        Exit::Met
    };
    order
        .into_iter()
        .find(|exit| exits.contains(&(*exit as u8)))
        .unwrap_or(none)
}

/// One document; a single one stays as it is. Paths become relative to the first one's folder.
pub(crate) fn merged(mut documents: Vec<Document>) -> Option<Document> {
    if documents.len() < 2 {
        return documents.pop();
    }
    let exit = exit(documents.iter().map(|one| one.exit));
    let names: Vec<&str> = documents.iter().map(|one| &*one.name).collect();
    let name = match names.as_slice() {
        [first, .., last] => format!("{first} … {last} ({} reports)", names.len()),
        _ => String::new(),
    };
    let mut merged = Document::new(Kind::Merged, name, String::new(), exit);
    merged.base = documents.first().and_then(|one| one.base.clone());
    merged.when = documents.iter().filter_map(|one| one.when.clone()).min();
    let took = documents.iter().filter_map(|one| one.took_ms);
    merged.took_ms = took.reduce(u64::saturating_add);
    merged.environment = same_environment(&documents);
    for document in documents {
        add(&mut merged, document);
    }
    merged.headline = merged.counts().words();
    Some(merged)
}

/// What all of them were made of; where they differ, their cases' groups tell.
fn same_environment(documents: &[Document]) -> Vec<super::Fact> {
    let Some((first, others)) = documents.split_first() else {
        return Vec::new();
    };
    let everywhere = |fact: &&super::Fact| others.iter().all(|one| one.environment.contains(fact));
    first
        .environment
        .iter()
        .filter(everywhere)
        .cloned()
        .collect()
}

fn add(merged: &mut Document, document: Document) {
    let Document {
        kind,
        name,
        headline,
        cases,
        sections,
        crash,
        missing,
        base,
        ..
    } = document;
    for mut case in cases {
        // The cases of one kind of document have names that are unique in it only.
        case.group = Some(match &case.group {
            Some(group) => format!("{name}, {group}"),
            None => name.clone(),
        });
        let folder = case.folder.take().zip(base.as_ref());
        case.folder =
            folder.and_then(|(folder, base)| relative(merged.base.as_deref()?, &base.join(folder)));
        merged.cases.push(case);
    }
    // What is told of a single crash stays in its own report.
    if crash.is_none() {
        merged
            .sections
            .extend(sections.into_iter().map(|section| super::Section {
                heading: format!("{name}: {}", section.heading),
                ..section
            }));
    }
    if merged.cases.is_empty() && kind == Kind::Triage {
        merged
            .sections
            .push(super::Section::new(name.clone()).text(headline));
    }
    merged
        .missing
        .extend(missing.into_iter().map(|why| format!("{name}: {why}")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::{Case, Outcome};

    fn document(name: &str, exit: Exit) -> Document {
        let mut document = Document::new(Kind::Run, name, "x", exit);
        document
            .cases
            .push(Case::new("case", Outcome::of(exit), "why"));
        document
    }

    fn check(exits: &[u8], expected: Exit) {
        assert_eq!(exit(exits.iter().copied()), expected, "{exits:?}");
    }

    #[test]
    fn what_one_proves_others_that_failed_do_not_take_back() {
        check(&[0, 0], Exit::Met);
        check(&[0, 4, 1], Exit::Differs);
        check(&[4, 3], Exit::CrashOrNot);
        check(&[0, 4], Exit::Inconclusive);
        check(&[2, 0], Exit::Usage);
        check(&[], Exit::Inconclusive);
    }

    #[test]
    fn cases_keep_apart_by_what_they_came_from() {
        let merged = merged(vec![
            document("a", Exit::Met),
            document("b", Exit::CrashOrNot),
        ])
        .unwrap();
        let names: Vec<String> = merged.cases.iter().map(Case::full_name).collect();
        assert_eq!(names, ["a: case", "b: case"]);
        assert_eq!(merged.exit, 3);
        assert_eq!(merged.headline, "2 cases: 1 as expected, 1 not as expected");
        assert_eq!(merged.kind, Kind::Merged);
    }

    #[test]
    fn a_single_one_stays_as_it_is() {
        let one = document("a", Exit::Differs);
        assert_eq!(merged(vec![one.clone()]), Some(one));
        assert_eq!(merged(Vec::new()), None);
    }
}

//! Documents of results that are kept: `report.json` as it stands, or, of a run from before there was one, put together
//! from what its folder has. Files are untrusted.
use anyhow::{Context as _, anyhow};
use recrash_machine::run::Manifest;
use recrash_machine::run::manifest::MANIFEST;
use recrash_signature::Signature;
use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Document, Kind, SCHEMA, bound};
use crate::failure::Failure;
use crate::report::emit::JSON;
use crate::report::run::{self, Parts};
use crate::subject::SIGNATURE;

/// Largest document that is read, in bytes: a campaign of 10,000 attempts is smaller.
const MAX_BYTES: u64 = 256 << 20;
/// All documents that are read together.
const MAX_BYTES_IN_ALL: u64 = 512 << 20;
/// Largest signature, in bytes.
const MAX_SIGNATURE: u64 = 1 << 20;
/// Folders are looked through this far down.
const MAX_DEPTH: usize = 8;
/// Documents that are put together at most.
const MAX_DOCUMENTS: usize = 10_000;

/// The documents that these paths name: a `report.json`, the folder of a result, or a folder of such.
///
/// # Errors
/// There is no such file, none in the folder, or one cannot be read.
pub(crate) fn all(paths: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    let mut left = MAX_BYTES_IN_ALL;
    let mut found = Vec::new();
    for path in paths {
        found.extend(of_path(path, &mut left)?);
    }
    Ok(found)
}

fn of_path(path: &Path, left: &mut u64) -> Result<Vec<Document>, Failure> {
    let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    if !meta.is_dir() {
        return Ok(vec![one(path, left)?]);
    }
    if let Some(one) = folder(path, left)? {
        return Ok(vec![one]);
    }
    let mut found = Vec::new();
    walk(path, 0, &mut found, left)?;
    leave_out_parts(&mut found);
    if found.is_empty() {
        let error = anyhow!(
            "{}: no result in it: neither {JSON} nor a run's {MANIFEST}",
            path.display()
        );
        return Err(Failure::usage(error).hint("recrash runs lists the runs that are kept"));
    }
    Ok(found)
}

/// Reads one document.
///
/// # Errors
/// It is none of this version, or cannot be read; the error says where it breaks off.
pub(crate) fn file(path: &Path) -> Result<Document, Failure> {
    let mut left = MAX_BYTES_IN_ALL;
    one(path, &mut left)
}

/// The same; of `left` bytes for all of them it takes its own.
fn one(path: &Path, left: &mut u64) -> Result<Document, Failure> {
    let name = || path.display().to_string();
    let file = std::fs::File::open(path).with_context(name)?;
    let mut bytes = Vec::new();
    let most = MAX_BYTES.min(*left);
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .with_context(name)?;
    let size = bytes.len() as u64;
    if size > most {
        let error = anyhow!(
            "{}: over {} MiB, or all reports together over {} MiB",
            path.display(),
            MAX_BYTES >> 20,
            MAX_BYTES_IN_ALL >> 20
        );
        return Err(Failure::usage(error).hint("name fewer reports"));
    }
    *left -= size;
    let mut document = of_bytes(&bytes).with_context(name).map_err(|error| {
        Failure::usage(error).hint("recrash report --schema describes the form")
    })?;
    bound::clip(&mut document);
    document.base = path.parent().map(Path::to_owned);
    Ok(document)
}

/// A document from its bytes.
///
/// # Errors
/// They are no JSON, of another version, or not of the form; with line and column.
fn of_bytes(bytes: &[u8]) -> anyhow::Result<Document> {
    /// What tells the version of any of them.
    #[derive(serde::Deserialize)]
    struct Version {
        #[serde(rename = "recrash-report")]
        version: Option<u64>,
    }
    let version: Version = serde_json::from_slice(bytes).context("not JSON of a report")?;
    match version.version {
        Some(version) if version == u64::from(SCHEMA) => {}
        Some(other) => anyhow::bail!(
            "a report of version {other}, expected {SCHEMA}; read it with the recrash that wrote it"
        ),
        None => anyhow::bail!("no report: it has no \"recrash-report\""),
    }
    serde_json::from_slice(bytes).context("not of the form of a report")
}

/// The document of a result's own folder; `None` where it is none.
fn folder(path: &Path, left: &mut u64) -> Result<Option<Document>, Failure> {
    let kept = path.join(JSON);
    if kept.is_file() {
        return one(&kept, left).map(Some);
    }
    if path.join(MANIFEST).is_file() {
        return of_run(path).map(Some);
    }
    Ok(None)
}

fn walk(path: &Path, depth: usize, out: &mut Vec<Document>, left: &mut u64) -> Result<(), Failure> {
    let name = || path.display().to_string();
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).with_context(name)? {
        let entry = entry.with_context(name)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A link may lead anywhere, also back: `latest` is one.
        if !hidden && entry.file_type().with_context(name)?.is_dir() {
            entries.push(entry.path());
        }
    }
    entries.sort();
    for entry in entries {
        if out.len() >= MAX_DOCUMENTS {
            return Err(Failure::usage(anyhow!(
                "{}: over {MAX_DOCUMENTS} results",
                path.display()
            )));
        }
        match folder(&entry, left)? {
            Some(document) => out.push(document),
            None if depth + 1 < MAX_DEPTH => walk(&entry, depth + 1, out, left)?,
            None => {}
        }
    }
    Ok(())
}

/// Leaves out the runs that a campaign or a matrix among them tells of: nothing shall count twice.
fn leave_out_parts(documents: &mut Vec<Document>) {
    let place = |base: &Option<PathBuf>, folder: &str| {
        let base = base.as_ref()?;
        base.join(folder).canonicalize().ok()
    };
    let larger = documents.iter().filter(|one| one.kind != Kind::Run);
    let told: HashSet<PathBuf> = larger
        .flat_map(|one| {
            let folders = one.cases.iter().filter_map(|case| case.folder.as_ref());
            folders.filter_map(|folder| place(&one.base, folder))
        })
        .collect();
    documents.retain(|one| {
        let own = place(&one.base, ".");
        one.kind != Kind::Run || own.is_none_or(|own| !told.contains(&own))
    });
}

/// The document of a run that has no report, or whose harness was killed before it was written.
fn of_run(path: &Path) -> Result<Document, Failure> {
    let manifest = Manifest::load(path)
        .with_context(|| format!("{} is no run folder ({MANIFEST})", path.display()))?;
    let mut missing = Vec::new();
    let signature = match signature(&path.join(SIGNATURE)) {
        Ok(signature) => signature,
        Err(error) => {
            missing.push(format!("signature: {error:#}"));
            None
        }
    };
    let mut document = run::document(Parts {
        folder: Some(path),
        manifest: Some(&manifest),
        signature: signature.as_ref(),
        ..Parts::default()
    });
    missing.push(format!(
        "{JSON}: this run has none, so the rest is what its other files tell"
    ));
    document.missing.splice(0..0, missing);
    Ok(document)
}

/// The signature of a run; `None` where it has none.
fn signature(path: &Path) -> anyhow::Result<Option<Signature>> {
    let Ok(file) = std::fs::File::open(path) else {
        return Ok(None);
    };
    let mut text = String::new();
    file.take(MAX_SIGNATURE)
        .read_to_string(&mut text)
        .with_context(|| path.display().to_string())?;
    Ok(Some(
        Signature::from_toml(&text).with_context(|| path.display().to_string())?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::report::document::{Case, Outcome};
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = of_bytes(text.as_bytes()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_document_is_said() {
        check("{\n \"recrash-report\": ", "line 2");
        check("{}", "it has no \"recrash-report\"");
        check("{\"recrash-report\": 7}", "version 7, expected 1");
        check("{\"recrash-report\": 1}", "missing field `kind`");
    }

    #[test]
    fn a_folder_gives_the_documents_below_it_in_order() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b", "a/deep"] {
            let folder = root.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let document = Document::new(Kind::Run, name, "fine", Exit::Met);
            std::fs::write(folder.join(JSON), serde_json::to_vec(&document).unwrap()).unwrap();
        }
        std::os::unix::fs::symlink(root.path(), root.path().join("latest")).unwrap();
        let names: Vec<String> = all(&[root.path().to_owned()])
            .unwrap()
            .into_iter()
            .map(|d| d.name)
            .collect();
        assert_eq!(names, ["a/deep", "b"]);
        assert!(all(&[root.path().join("latest/b")]).is_ok());
        assert!(all(&[root.path().join("none")]).is_err());
    }

    #[test]
    fn a_run_that_a_campaign_tells_of_is_not_told_twice() {
        let root = tempfile::tempdir().unwrap();
        let mut campaign = Document::new(Kind::Campaign, "campaign", "two", Exit::Met);
        let mut case = Case::new("attempt 1", Outcome::Passed, "");
        case.folder = Some("../../run-1".into());
        campaign.cases.push(case);
        for (folder, document) in [
            ("campaigns/c", campaign),
            ("run-1", Document::new(Kind::Run, "run-1", "", Exit::Met)),
            ("run-2", Document::new(Kind::Run, "run-2", "", Exit::Met)),
        ] {
            let folder = root.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(JSON), serde_json::to_vec(&document).unwrap()).unwrap();
        }
        let found = all(&[root.path().to_owned()]).unwrap();
        let names: Vec<&str> = found.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["campaign", "run-2"]);
    }

    #[test]
    fn documents_together_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(JSON);
        let document = Document::new(Kind::Run, "run", "fine", Exit::Met);
        let bytes = serde_json::to_vec(&document).unwrap();
        std::fs::write(&file, &bytes).unwrap();
        let size = bytes.len() as u64;
        let mut left = 2 * size - 1;
        assert!(one(&file, &mut left).is_ok());
        assert_eq!(left, size - 1);
        assert!(one(&file, &mut left).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = of_bytes(&bytes);
        }
    }
}

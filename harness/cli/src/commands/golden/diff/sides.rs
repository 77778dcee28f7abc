//! The two sides of a golden diff: folders, or revisions of git, whose goldens are taken out into a scratch folder. Names of
//! revisions and of files in them are untrusted: neither becomes an option or leaves the folder. Compares nothing.
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Goldens of one revision that are looked at.
const MOST_GOLDENS: usize = 10_000;
/// The store refuses larger ones.
const MOST_BYTES: u64 = 1 << 20;

/// One side.
#[derive(Debug)]
pub(super) struct Side {
    name: String,
    folder: PathBuf,
    prefix: String,
    /// Holds what was taken out of a revision.
    scratch: Option<tempfile::TempDir>,
}

impl Side {
    /// How it is called in the output.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether git has it.
    pub(super) fn is_revision(&self) -> bool {
        self.scratch.is_some()
    }

    /// The folder of its goldens.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What stands before a golden's name in its file's path from the top of the repository: `golden/`.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn folder_at(path: &Path, name: String, prefix: String) -> Self {
        Self {
            name,
            folder: path.to_owned(),
            prefix,
            scratch: None,
        }
    }
}

/// Finds both sides; `goldens` is the folder of the goldens, which two folders do not need.
pub(super) fn resolve(
    base: Option<&str>,
    head: Option<&str>,
    goldens: Result<PathBuf, Failure>,
) -> Result<(Side, Side), Failure> {
    let is_folder = |name: &str| Path::new(name).is_dir();
    if let (Some(base), Some(head)) = (base, head)
        && is_folder(base)
        && is_folder(head)
    {
        let side = |name: &str| {
            let prefix = format!("{}/", name.trim_end_matches('/'));
            Side::folder_at(Path::new(name), name.to_owned(), prefix)
        };
        return Ok((side(base), side(head)));
    }
    let repository = Repository::of(&goldens?)?;
    let base = match base {
        Some(base) if is_folder(base) => {
            Side::folder_at(Path::new(base), base.to_owned(), repository.prefix.clone())
        }
        Some(base) => repository.side(base)?,
        None => repository.left_main(head.filter(|head| !is_folder(head)))?,
    };
    let head = match head {
        Some(head) if is_folder(head) => {
            Side::folder_at(Path::new(head), head.to_owned(), repository.prefix.clone())
        }
        Some(head) => repository.side(head)?,
        None => Side::folder_at(
            &repository.goldens,
            "the work tree".into(),
            repository.prefix,
        ),
    };
    Ok((base, head))
}

/// The repository that holds the goldens.
struct Repository {
    goldens: PathBuf,
    prefix: String,
}

impl Repository {
    fn of(goldens: &Path) -> Result<Self, Failure> {
        let mut repository = Self {
            goldens: goldens.to_owned(),
            prefix: String::new(),
        };
        let prefix = repository.git(["rev-parse", "--show-prefix"]).map_err(|error| {
            Failure::usage(error.context(format!("{}: git does not know it", goldens.display()))).hint(
                "run it in a clone of the repository; where git doubts who owns it: git config --global --add safe.directory DIR",
            )
        })?;
        repository.prefix = String::from_utf8_lossy(&prefix).trim_end().to_owned();
        Ok(repository)
    }

    /// What git prints for these arguments, run in the folder of the goldens.
    fn git<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Vec<u8>> {
        let line: Vec<&OsStr> = vec![OsStr::new("-C"), self.goldens.as_os_str()];
        let mut line: Vec<std::ffi::OsString> = line.into_iter().map(OsStr::to_owned).collect();
        line.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let output = duct::cmd("git", line)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .context("git cannot be run")?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "git: {}",
            crate::output::printable(said.lines().next().unwrap_or("failed"))
        )
    }

    /// The commit that a revision names.
    fn commit(&self, revision: &str) -> Result<String> {
        let wanted = format!("{revision}^{{commit}}");
        let args = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &wanted,
        ];
        let found = self
            .git(args)
            .map_err(|_| anyhow!("git knows no revision {revision:?}"))?;
        let found = String::from_utf8_lossy(&found).trim().to_owned();
        let plain = !found.is_empty() && found.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !plain {
            bail!("git knows no revision {revision:?}");
        }
        Ok(found)
    }

    /// Where the branch left the main one.
    fn left_main(&self, head: Option<&str>) -> Result<Side, Failure> {
        let head = self.commit(head.unwrap_or("HEAD"))?;
        let of_github = std::env::var("GITHUB_BASE_REF").ok();
        let of_gitlab = std::env::var("CI_MERGE_REQUEST_TARGET_BRANCH_NAME").ok();
        let asked = of_github.or(of_gitlab).filter(|name| !name.is_empty());
        let mut names: Vec<String> = asked
            .map(|name| format!("origin/{name}"))
            .into_iter()
            .collect();
        if names.is_empty() {
            names = [
                "origin/HEAD",
                "origin/main",
                "origin/master",
                "main",
                "master",
            ]
            .map(str::to_owned)
            .into();
        }
        for name in &names {
            let Ok(main) = self.commit(name) else {
                continue;
            };
            let base = self.git(["merge-base", &main, &head]).map_err(|error| {
                Failure::usage(error.context(format!("{name} and the branch have no commit in common")))
                    .hint("a shallow clone lacks it: git fetch --unshallow, or fetch-depth: 0 of actions/checkout")
            })?;
            let base = String::from_utf8_lossy(&base).trim().to_owned();
            let mut side = self.side(&base)?;
            let short = base.get(..12).unwrap_or(&base);
            side.name = format!("{short} (where the branch left {name})");
            return Ok(side);
        }
        Err(Failure::usage(anyhow!(
            "there is no main branch to compare with: none of {}",
            names.join(", ")
        ))
        .hint("name the revision: recrash golden diff BASE"))
    }

    /// A revision's goldens, in a folder.
    fn side(&self, revision: &str) -> Result<Side, Failure> {
        let commit = self.commit(revision)?;
        let scratch = tempfile::Builder::new()
            .prefix("recrash-goldens.")
            .tempdir()?;
        for (path, blob) in self.goldens_of(&commit)? {
            let file = scratch.path().join(&path);
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let text = self.git(["cat-file", "blob", &blob])?;
            std::fs::write(&file, text).with_context(|| path.display().to_string())?;
        }
        Ok(Side {
            name: revision.to_owned(),
            folder: scratch.path().to_owned(),
            prefix: self.prefix.clone(),
            scratch: Some(scratch),
        })
    }

    /// Paths below the folder of the goldens, `case/name.snap`, and their blobs.
    fn goldens_of(&self, commit: &str) -> Result<Vec<(PathBuf, String)>> {
        let listing = self.git(["ls-tree", "-r", "-l", "-z", commit])?;
        let mut goldens = Vec::new();
        for entry in listing
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty())
        {
            let entry = String::from_utf8_lossy(entry);
            let Some(golden) = golden(&entry)? else {
                continue;
            };
            goldens.push(golden);
            if goldens.len() > MOST_GOLDENS {
                bail!("{commit} has more than {MOST_GOLDENS} goldens");
            }
        }
        Ok(goldens)
    }
}

/// `100644 blob HASH SIZE\tcase/name.snap`: path and hash; nothing for what is no golden. Links are none.
fn golden(entry: &str) -> Result<Option<(PathBuf, String)>> {
    let Some((meta, path)) = entry.split_once('\t') else {
        return Ok(None);
    };
    let words: Vec<&str> = meta.split_whitespace().collect();
    let ["100644" | "100755", "blob", blob, size] = words.as_slice() else {
        return Ok(None);
    };
    let plain =
        |word: &str| !word.is_empty() && !word.starts_with('.') && !word.contains(['/', '\0']);
    let Some((case, file)) = path.split_once('/') else {
        return Ok(None);
    };
    let hash = blob.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain(case) || !plain(file) || !file.ends_with(".snap") || !hash {
        return Ok(None);
    }
    if size.parse::<u64>().is_ok_and(|size| size > MOST_BYTES) {
        bail!("{path:?} is over 1 MiB: not a golden");
    }
    Ok(Some((PathBuf::from(path), (*blob).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entry: &str, expected: Option<&str>) {
        let found = golden(entry)
            .unwrap()
            .map(|(path, _)| path.display().to_string());
        assert_eq!(found.as_deref(), expected, "{entry}");
    }

    #[test]
    fn only_plain_files_of_a_case_are_goldens() {
        check("100644 blob 0aF 12\tcase/name.snap", Some("case/name.snap"));
        check("120000 blob 0aF 12\tcase/name.snap", None);
        check("160000 commit 0aF -\tcase/name.snap", None);
        check("100644 blob 0aF 12\tcase/name.txt", None);
        check("100644 blob 0aF 12\trules.snap", None);
        check("100644 blob 0aF 12\t../name.snap", None);
        check("100644 blob 0aF 12\tcase/../name.snap", None);
        check("100644 blob 0aF 12\t/etc.snap", None);
        check("100644 blob --x 12\tcase/name.snap", None);
        check("nothing", None);
        assert!(golden("100644 blob 0a 1048577\tcase/name.snap").is_err());
    }
}

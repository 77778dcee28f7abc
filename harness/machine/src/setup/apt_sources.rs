//! The mirrors that this machine's apt is configured with, and the same mirrors for other suites. Reads
//! sources.list(5) in both of its formats; asks no network and changes nothing.
use super::{SetupError, child};
use std::path::{Path, PathBuf};

/// Names of a release that are no code name.
const ALIASES: &[&str] = &[
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
    "sid",
];
/// Debian's own keys of all releases, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What [`Entry::stanza`] writes itself.
const OWN_FIELDS: &[&str] = &[
    "types",
    "uris",
    "suites",
    "components",
    "enabled",
    "targets",
    "languages",
];

/// One entry for binary packages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// File and line, for people.
    place: String,
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    /// The other fields, such as `Signed-By`; a value may have more lines, as deb822(5) continues them.
    options: Vec<(String, String)>,
}

/// The archives of Debian that this machine knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirrors {
    main: Option<Entry>,
    security: Option<Entry>,
    /// Where was looked, for an error.
    looked: String,
}

impl Mirrors {
    /// Of this machine, from its apt's own files.
    ///
    /// # Errors
    /// When apt-config cannot be run.
    pub(super) fn find() -> Result<Self, SetupError> {
        let ask = |item: &str| {
            let answer = child::quiet("apt-config", ["shell".into(), "at".into(), item.into()])?;
            let path = answer.trim().strip_prefix("at='").unwrap_or_default();
            Ok::<_, SetupError>(PathBuf::from(path.trim_end_matches('\'')))
        };
        let (list, parts) = (
            ask("Dir::Etc::sourcelist/f")?,
            ask("Dir::Etc::sourceparts/d")?,
        );
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(Self::of(&list, &parts, code_name(&os_release).as_deref()))
    }

    fn of(list: &Path, parts: &Path, code_name: Option<&str>) -> Self {
        let mut entries = Vec::new();
        for file in std::iter::once(list.to_path_buf()).chain(files_in(parts)) {
            // One that cannot be read is none of apt's either.
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            entries.extend(match file.extension() {
                Some(end) if end == "sources" => parse_deb822(&text, &file),
                _ => parse_one_line(&text, &file),
            });
        }
        entries.retain(|entry| entry.components.iter().any(|part| part == "main"));
        // Other archives have suites of Debian's names too. `false` comes first.
        entries.sort_by_key(|entry| !entry.is_named_debian());
        let find = |archive| {
            let mut found = entries.iter();
            found
                .find(|entry| entry.archive(code_name) == Some(archive))
                .cloned()
        };
        Self {
            main: find(Archive::Main),
            security: find(Archive::Security),
            looked: format!("{} and {}", list.display(), parts.display()),
        }
    }

    /// A file in deb822 format that has these suites of the machine's mirrors, and only their lists of packages.
    ///
    /// # Errors
    /// [`SetupError::NoMirror`] when the machine has no mirror of Debian, or none with security updates.
    pub(super) fn sources(&self, suites: &[String]) -> Result<String, SetupError> {
        let stanzas = suites.iter().map(|suite| {
            let (entry, what) = match archive_of(suite) {
                Archive::Main => (&self.main, "Debian"),
                Archive::Security => (&self.security, "Debian's security updates"),
            };
            let entry = entry.as_ref().ok_or_else(|| SetupError::NoMirror {
                suite: suite.clone(),
                what: format!(
                    "apt is configured with no mirror of {what} (looked in {})",
                    self.looked
                ),
            })?;
            Ok(entry.stanza(suite, Path::new(KEYRING)))
        });
        Ok(stanzas.collect::<Result<Vec<_>, SetupError>>()?.join("\n"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Archive {
    Main,
    Security,
}

/// Until Debian 10 the security archive's suites were called `buster/updates`.
fn archive_of(suite: &str) -> Archive {
    if suite.ends_with("-security") || suite.ends_with("/updates") {
        Archive::Security
    } else {
        Archive::Main
    }
}

/// Of a Debian, from os-release(5); other systems have code names too, and other archives.
fn code_name(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        let mut lines = os_release.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    value("ID")
        .filter(|id| id == "debian")
        .and(value("VERSION_CODENAME"))
}

impl Entry {
    /// Whose suites these are: `bookworm`, `bookworm-updates` and so on of Debian's own archives.
    fn archive(&self, code_name: Option<&str>) -> Option<Archive> {
        self.suites.iter().find_map(|suite| {
            let base = suite.split(['-', '/']).next().unwrap_or_default();
            let known = ALIASES.contains(&base) || Some(base) == code_name;
            let end = suite.get(base.len()..).unwrap_or_default();
            let usual = [
                "",
                "-updates",
                "-backports",
                "-proposed-updates",
                "-security",
                "/updates",
            ];
            (known && usual.contains(&end)).then(|| archive_of(suite))
        })
    }

    fn is_named_debian(&self) -> bool {
        self.uris.iter().any(|uri| {
            let last = uri.trim_end_matches('/').rsplit('/').next();
            last.is_some_and(|last| last.starts_with("debian"))
        })
    }

    fn stanza(&self, suite: &str, keyring: &Path) -> String {
        let mut out = format!(
            "# as {}\nTypes: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nTargets: Packages\nLanguages: none\n",
            self.place,
            self.uris.join(" ")
        );
        for (name, value) in &self.options {
            let signed_by = name.eq_ignore_ascii_case("signed-by");
            // A keyring of one release may be named; this one has the keys of all. A key in place is left alone.
            let more = signed_by && value.trim_start().starts_with('/') && keyring.is_file();
            let more = more && !value.contains(&*keyring.to_string_lossy());
            let more = if more {
                format!(", {}", keyring.display())
            } else {
                String::new()
            };
            out.push_str(&format!("{name}: {value}{more}\n"));
        }
        out
    }
}

/// In apt's order; it ignores other names (sources.list(5)).
fn files_in(parts: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parts).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| {
        let end = file.extension().unwrap_or_default();
        end == "list" || end == "sources"
    });
    files.sort();
    files
}

/// `deb [signed-by=/a.gpg trusted=yes] http://host/debian bookworm main contrib`
fn parse_one_line(text: &str, file: &Path) -> Vec<Entry> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(index, line)| one_line(line, format!("{}:{}", file.display(), index + 1)))
        .collect()
}

fn one_line(line: &str, place: String) -> Option<Entry> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        place,
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        options: options.split_whitespace().filter_map(option).collect(),
    })
}

/// In the other format the names of three options are longer, and lists have blanks (sources.list(5)).
fn option(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let name = match name.trim_end_matches(['+', '-']) {
        "arch" => "Architectures",
        "lang" => "Languages",
        "target" => "Targets",
        other => other,
    };
    let own = OWN_FIELDS.contains(&&*name.to_ascii_lowercase());
    (!own).then(|| (name.to_owned(), value.replace(',', " ")))
}

/// Stanzas of `Name: value`; lines that begin with a blank continue a value, those with `#` are comments
/// wherever they stand.
fn parse_deb822(text: &str, file: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut begin = 1;
    // A blank line ends the last stanza too.
    for (index, line) in text.lines().chain([""]).enumerate() {
        if line.starts_with('#') {
        } else if line.trim().is_empty() {
            entries.extend(stanza(
                &std::mem::take(&mut fields),
                format!("{}:{begin}", file.display()),
            ));
            begin = index + 2;
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    entries
}

fn stanza(fields: &[(String, String)], place: String) -> Option<Entry> {
    let field = |name: &str| {
        let mut fields = fields.iter();
        fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.as_str()))
    };
    let words = |name: &str| -> Vec<String> {
        let value = field(name).unwrap_or_default();
        value.split_whitespace().map(str::to_owned).collect()
    };
    let off = field("Enabled")
        .is_some_and(|value| ["no", "false", "0", "off", "without", "disable"].contains(&value));
    if off || !words("Types").iter().any(|kind| kind == "deb") {
        return None;
    }
    let is_other = |field: &&(String, String)| {
        !OWN_FIELDS.contains(&&*field.0.to_ascii_lowercase()) && !field.0.starts_with("X-")
    };
    Some(Entry {
        place,
        uris: words("URIs"),
        suites: words("Suites"),
        components: words("Components"),
        options: fields.iter().filter(is_other).cloned().collect(),
    })
    .filter(|entry| !entry.uris.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file for these suites says on a machine with these two files, without comments.
    fn check(list: &str, sources: &str, suites: &[&str]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("sources.list.d");
        std::fs::create_dir(&parts).unwrap();
        std::fs::write(dir.path().join("sources.list"), list).unwrap();
        std::fs::write(parts.join("a.sources"), sources).unwrap();
        std::fs::write(
            parts.join("b.list.disabled"),
            "deb http://off/debian bookworm main",
        )
        .unwrap();
        let mirrors = Mirrors::of(&dir.path().join("sources.list"), &parts, Some("bookworm"));
        let suites: Vec<String> = suites.iter().map(|suite| (*suite).to_owned()).collect();
        let text = mirrors
            .sources(&suites)
            .map_err(|error| error.to_string())?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Ok(lines.map(|line| format!("{line}\n")).collect())
    }

    #[test]
    fn only_the_suite_is_exchanged_in_both_formats() {
        let expected = "\
Types: deb
URIs: http://mirror/debian
Suites: bullseye
Components: main
Targets: Packages
Languages: none
signed-by: /no/such.gpg, KEYRING
check-valid-until: no
";
        let list = "# deb http://other/debian bookworm main\n\
                    deb-src http://source/debian bookworm main\n\
                    deb [signed-by=/no/such.gpg check-valid-until=no lang=de] http://mirror/debian bookworm main contrib # x\n";
        let sources = "Types: deb deb-src\n# why\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\n\
                       Components: main\nsigned-by: /no/such.gpg\ncheck-valid-until: no\nLanguages: de\n";
        let with_keyring = if Path::new(KEYRING).is_file() {
            expected.replace("KEYRING", KEYRING)
        } else {
            expected.replace(", KEYRING", "")
        };
        assert_eq!(check(list, "", &["bullseye"]).unwrap(), with_keyring);
        assert_eq!(check("", sources, &["bullseye"]).unwrap(), with_keyring);
    }

    #[test]
    fn security_updates_come_from_their_own_archive() {
        let list = "deb [trusted=yes] http://mirror/debian bookworm main\n\
                    deb http://mirror/debian-security bookworm-security main\n";
        let text = check(list, "", &["bullseye-security", "bookworm-backports"]).unwrap();
        let (security, main) = text.split_once("\n\n").unwrap();
        assert!(
            security.contains("URIs: http://mirror/debian-security\nSuites: bullseye-security")
        );
        assert!(!security.contains("trusted"));
        assert!(main.contains("URIs: http://mirror/debian\nSuites: bookworm-backports"));
        assert!(main.ends_with("trusted: yes\n"), "{main}");
    }

    #[test]
    fn other_archives_with_debians_suite_names_are_no_mirror() {
        let list = "deb http://tools/linux bookworm main\ndeb http://tools/debian bookworm stable\n\
                    deb http://mirror/debian stable main\n";
        let text = check(list, "", &["trixie"]).unwrap();
        assert!(text.contains("URIs: http://mirror/debian\n"), "{text}");
    }

    #[test]
    fn a_key_written_in_place_stays_whole() {
        let sources = "Types: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\n\
                       Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----\n";
        let text = check("", sources, &["trixie"]).unwrap();
        assert!(text.ends_with("Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----\n"), "{text}");
    }

    #[test]
    fn a_machine_without_a_mirror_is_told_where_was_looked() {
        let off =
            "Types: deb\nEnabled: no\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\n";
        let list = "deb http://m/ubuntu jammy main\n";
        let error = check(list, off, &["bullseye"]).unwrap_err();
        assert!(
            error.contains("no mirror of Debian (looked in /"),
            "{error}"
        );
        let list = "deb http://m/debian bookworm main\n";
        let error = check(list, "", &["bullseye-security"]).unwrap_err();
        assert!(
            error.contains("no mirror of Debian's security updates"),
            "{error}"
        );
    }

    #[test]
    fn only_debians_code_name_counts() {
        let debian = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(code_name(debian).as_deref(), Some("bookworm"));
        assert_eq!(code_name("ID=\"ubuntu\"\nVERSION_CODENAME=jammy\n"), None);
    }
}

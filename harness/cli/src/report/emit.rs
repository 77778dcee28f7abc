//! Where a document goes: into its result's folder in each form, into the files that `--report` names, and on GitHub
//! into the job's summary and annotations. Renders nothing itself.
use anyhow::anyhow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::document::Document;
use super::{github, html, junit, markdown, sarif};
use crate::failure::Failure;
use crate::{output, store};

/// The document itself, in a result's folder.
pub(crate) const JSON: &str = "report.json";
/// For pull requests and issues, in a result's folder.
pub(crate) const MARKDOWN: &str = "report.md";
/// The page, in a result's folder.
pub(crate) const HTML: &str = "report.html";

/// A form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A self-contained page
    Html,
    /// For pull requests and issues
    Markdown,
    /// JUnit XML, for CI systems
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// The whole of it, as `recrash report --schema` describes
    Json,
}

impl Format {
    /// The word of the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Markdown => "markdown",
            Self::Junit => "junit",
            Self::Sarif => "sarif",
            Self::Json => "json",
        }
    }

    /// The document in this form; links lead from `folder`, where the text is going to lie.
    ///
    /// # Errors
    /// Never in practice: a document is text and numbers.
    pub(crate) fn render(
        self,
        document: &Document,
        folder: Option<&Path>,
    ) -> anyhow::Result<String> {
        let links = Links {
            base: document.base.as_deref(),
            folder,
        };
        Ok(match self {
            Self::Html => html::page(document, &links),
            Self::Markdown => markdown::document(document),
            Self::Junit => junit::document(document)?,
            Self::Sarif => sarif::document(document)?,
            Self::Json => serde_json::to_string_pretty(document)? + "\n",
        })
    }
}

/// Where a rendered document may link to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Links<'a> {
    /// What the paths of the cases are relative to.
    base: Option<&'a Path>,
    /// Where the rendered document lies.
    folder: Option<&'a Path>,
}

impl Links<'_> {
    /// Links to nothing.
    #[cfg(test)]
    pub(crate) const NONE: Links<'static> = Links {
        base: None,
        folder: None,
    };

    /// A link to the page of the case in this folder, if there is one; harmless in an attribute and as a URL.
    pub(crate) fn page(&self, case: &str) -> Option<String> {
        let page = self.base?.join(case).join(HTML);
        if !page.is_file() {
            return None;
        }
        let way = super::document::relative(self.folder?, page.parent()?)?;
        Some(format!("./{}/{HTML}", percent(&way)))
    }
}

/// A path as a part of a URL (RFC 3986, section 2.3).
pub(crate) fn percent(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// A form and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    format: Format,
    /// `None`: stdout.
    file: Option<PathBuf>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || {
            let all = <Format as clap::ValueEnum>::value_variants().iter();
            let names: Vec<&str> = all.map(|format| format.name()).collect();
            names.join(", ")
        };
        let (format, file) = text.split_once('=').ok_or_else(|| {
            format!(
                "expected FORMAT=FILE, for example html=report.html; FORMAT is one of: {}",
                names()
            )
        })?;
        let format = <Format as clap::ValueEnum>::from_str(format, false)
            .map_err(|_| format!("there is no format {format:?}; one of: {}", names()))?;
        if file.is_empty() {
            return Err(format!("{}= names no file", format.name()));
        }
        Ok(Self {
            format,
            file: (file != "-").then(|| PathBuf::from(file)),
        })
    }
}

/// `--report FORMAT=FILE`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ReportArgs {
    /// Write the result to FILE as html, markdown, junit, sarif or json; once for each. `-`: stdout, in place of the text
    #[arg(long = "report", value_name = "FORMAT=FILE")]
    reports: Vec<Wanted>,
}

impl ReportArgs {
    /// One form to one place.
    pub(crate) fn one(format: Format, file: Option<PathBuf>) -> Self {
        Self {
            reports: vec![Wanted { format, file }],
        }
    }

    /// Whether none was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// Whether stdout gets a report: nothing else may go there.
    pub(crate) fn takes_stdout(&self) -> bool {
        self.reports.iter().any(|wanted| wanted.file.is_none())
    }

    /// Finds what is wrong with them before any work is done.
    ///
    /// # Errors
    /// Two results on stdout, or a file in a folder that is not there.
    pub(crate) fn check(&self, json: bool) -> Result<(), Failure> {
        let on_stdout = self.reports.iter().filter(|wanted| wanted.file.is_none());
        if on_stdout.count() + usize::from(json) > 1 {
            return Err(Failure::usage(anyhow!(
                "only one result can go to stdout: --json, or one --report FORMAT=-"
            )));
        }
        for file in self
            .reports
            .iter()
            .filter_map(|wanted| wanted.file.as_ref())
        {
            let folder = folder_of(file);
            if !folder.is_dir() {
                return Err(Failure::usage(anyhow!(
                    "--report: {}: there is no folder {}",
                    file.display(),
                    folder.display()
                ))
                .hint(format!("mkdir -p {}", folder.display())));
            }
            if file.is_dir() {
                return Err(Failure::usage(anyhow!(
                    "--report: {} is a folder, expected a file",
                    file.display()
                )));
            }
        }
        Ok(())
    }

    /// Writes what was asked for; on GitHub also the job's summary and annotations. The command that a person started
    /// calls it once, with its own document.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn emit(&self, document: &Document) -> Result<(), Failure> {
        self.write(document)?;
        github::tell(document);
        Ok(())
    }

    /// Writes what was asked for.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(&self, document: &Document) -> Result<(), Failure> {
        for Wanted { format, file } in &self.reports {
            let folder = file.as_deref().map(folder_of);
            let text = format.render(document, folder)?;
            match file {
                Some(file) => std::fs::write(file, text)
                    .map_err(|error| Failure::usage(anyhow!("{}: {error}", file.display())))?,
                None => output::print_plain(&text)?,
            }
        }
        Ok(())
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes the document into its result's folder: [`JSON`], [`MARKDOWN`] and [`HTML`]. Gives the page's place. The
/// result stands even if its folder is full: then a warning says so.
pub(crate) fn keep(document: &mut Document, folder: &Path) -> Option<PathBuf> {
    document.base = Some(folder.to_owned());
    let mut page = None;
    for (format, name) in [
        (Format::Json, JSON),
        (Format::Markdown, MARKDOWN),
        (Format::Html, HTML),
    ] {
        let written = format
            .render(document, Some(folder))
            .and_then(|text| store::replace(folder, name, text.as_bytes()));
        match written {
            Ok(()) if format == Format::Html => page = Some(folder.join(name)),
            Ok(()) => {}
            Err(error) => output::note(&format!(
                "warning: {} could not be written: {error:#}\n",
                folder.join(name).display()
            )),
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(Format, Option<&str>), &str>) {
        let wanted = text.parse::<Wanted>();
        match (wanted, expected) {
            (Ok(wanted), Ok((format, file))) => {
                assert_eq!(wanted.format, format, "{text}");
                assert_eq!(wanted.file.as_deref(), file.map(Path::new), "{text}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (other, _) => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_report_is_a_format_and_a_file() {
        check("html=a/b.html", Ok((Format::Html, Some("a/b.html"))));
        check("junit=a=b.xml", Ok((Format::Junit, Some("a=b.xml"))));
        check("json=-", Ok((Format::Json, None)));
        check("html", Err("expected FORMAT=FILE"));
        check(
            "pdf=x",
            Err("there is no format \"pdf\"; one of: html, markdown, junit, sarif, json"),
        );
        check("sarif=", Err("sarif= names no file"));
    }

    #[test]
    fn stdout_takes_one_result() {
        let of = |texts: &[&str]| ReportArgs {
            reports: texts.iter().map(|text| text.parse().unwrap()).collect(),
        };
        assert!(of(&["json=-"]).check(false).is_ok());
        assert!(of(&["json=-"]).check(true).is_err());
        assert!(of(&["json=-", "html=-"]).check(false).is_err());
        assert!(of(&["html=no-such-folder/a.html"]).check(false).is_err());
    }

    #[test]
    fn a_link_is_a_relative_url_whatever_the_folder_is_called() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("campaigns/c"), root.path().join("a\"b:é"));
        std::fs::create_dir_all(&from).unwrap();
        std::fs::create_dir_all(&to).unwrap();
        let links = Links {
            base: Some(&from),
            folder: Some(&from),
        };
        assert_eq!(links.page("../../a\"b:é"), None, "no page");
        std::fs::write(to.join(HTML), "").unwrap();
        assert_eq!(
            links.page("../../a\"b:é").as_deref(),
            Some("./../../a%22b%3A%C3%A9/report.html")
        );
        assert_eq!(Links::NONE.page("../../a\"b:é"), None);
    }
}

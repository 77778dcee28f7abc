//! GitHub's own channels: whether a workflow runs this process, annotations (workflow commands), the job's summary. What
//! is told there, others know.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
use std::io::Write;

use crate::output;

/// A job's summary may have 1 MiB a step; more is refused as a whole.
const MOST_SUMMARY: usize = 1 << 20;

/// Whether a GitHub workflow runs this process.
pub(crate) fn is_here() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// A workflow command that marks a file; with a newline. `level` is `error`, `warning` or `notice`.
pub(crate) fn annotation(level: &str, file: &str, title: &str, message: &str) -> String {
    format!(
        "::{level} file={},title={}::{}\n",
        property(file),
        property(title),
        data(message)
    )
}

/// Appends to the job's summary, if there is one; what does not fit is left out, and said.
pub(crate) fn summarise(markdown: &str) {
    let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) else {
        return;
    };
    let there = std::fs::metadata(&file).map_or(0, |meta| meta.len());
    let left = MOST_SUMMARY.saturating_sub(usize::try_from(there).unwrap_or(usize::MAX));
    let text = if markdown.len() < left {
        format!("{markdown}\n")
    } else {
        "The rest is too long for a summary; the job's log has it.\n".to_owned()
    };
    let opened = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&file);
    if let Err(error) = opened.and_then(|mut file| file.write_all(text.as_bytes())) {
        output::note(&format!("warning: $GITHUB_STEP_SUMMARY: {error}\n"));
    }
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_where_it_should_whatever_it_tells() {
        assert_eq!(
            annotation(
                "error",
                "golden/a,b:c.snap",
                "100%",
                "one\r\n::warning::two: 3, 4"
            ),
            "::error file=golden/a%2Cb%3Ac.snap,title=100%25::one%0D%0A::warning::two: 3, 4\n"
        );
    }
}

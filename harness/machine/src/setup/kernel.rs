//! The unpacked kernel packages: makes the headers usable where they lie.
use super::SetupError;
use std::path::Path;

/// Makes the header trees below `root`/usr/src usable from where they are.
///
/// Debian's `linux-headers-<release>/Makefile` has one line, `include /usr/src/linux-headers-<...>-common/Makefile`
/// (6.1.192-2; all since 2.6.x). Unpacked elsewhere it would use the host's headers, or none. The path is made
/// relative to that Makefile, so that the cache can move. Links were made relative when they were unpacked.
///
/// # Errors
/// [`SetupError::Io`].
pub fn localise_headers(root: &Path) -> Result<(), SetupError> {
    let src = root.join("usr/src");
    for entry in std::fs::read_dir(&src).map_err(SetupError::io("reading", &src))? {
        let makefile = entry
            .map_err(SetupError::io("reading", &src))?
            .path()
            .join("Makefile");
        if !makefile.is_file() {
            continue;
        }
        let text =
            std::fs::read_to_string(&makefile).map_err(SetupError::io("reading", &makefile))?;
        let local = localise(&text);
        if local != text {
            std::fs::write(&makefile, local).map_err(SetupError::io("writing", &makefile))?;
        }
    }
    Ok(())
}

fn localise(makefile: &str) -> String {
    let here = "include $(dir $(realpath $(lastword $(MAKEFILE_LIST))))../";
    let lines =
        makefile
            .split_inclusive('\n')
            .map(|line| match line.strip_prefix("include /usr/src/") {
                Some(rest) => format!("{here}{rest}"),
                None => line.to_owned(),
            });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_that_points_out_of_the_tree_changes() {
        assert_eq!(
            localise(
                "# x\ninclude /usr/src/linux-headers-6.1.0-56-common/Makefile\ninclude scripts/x\n"
            ),
            "# x\ninclude $(dir $(realpath $(lastword $(MAKEFILE_LIST))))../linux-headers-6.1.0-56-common/Makefile\n\
             include scripts/x\n"
        );
    }
}

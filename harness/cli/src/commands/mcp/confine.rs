//! Has the kernel confine this process: nothing but the given folders is read, nothing is written, no network. What may
//! be asked for is `folders`' to say; this is what holds where that fails.
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};
use std::path::PathBuf;

/// What is handled, where the kernel knows it: all ways to files (Linux 5.13, more until 6.10), and TCP (6.7).
const WANTED: ABI = ABI::V5;

/// Confines the calling thread and all that it starts.
///
/// # Errors
/// Why the kernel does not.
pub(super) fn to(readable: &[PathBuf]) -> Result<(), String> {
    let restricted = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(WANTED))?
            .handle_access(AccessNet::from_all(WANTED))?
            .create()?
            .add_rules(path_beneath_rules(
                readable,
                AccessFs::ReadFile | AccessFs::ReadDir,
            ))?
            .restrict_self()
    };
    match restricted() {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            Err("this kernel has no Landlock".into())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("Landlock: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Landlock is the kernel's: where it has none, the reason is what is checked.
    #[test]
    fn the_kernel_refuses_what_lies_outside_and_any_write() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&inside, &outside] {
            std::fs::write(folder.path().join("file"), "x").unwrap();
        }
        std::os::unix::fs::symlink(outside.path().join("file"), inside.path().join("link"))
            .unwrap();
        let folder = inside.path().to_owned();
        let outside_file = outside.path().join("file");
        // Only this thread is confined.
        let seen = std::thread::spawn(move || {
            let confined = to(std::slice::from_ref(&folder));
            let reads = |path: PathBuf| std::fs::read(path).is_ok();
            let seen = [
                reads(folder.join("file")),
                reads(folder.join("link")),
                reads(outside_file),
                std::fs::write(folder.join("new"), "x").is_ok(),
            ];
            (confined, seen)
        });
        match seen.join().unwrap() {
            (Ok(()), seen) => assert_eq!(seen, [true, false, false, false]),
            (Err(why), _) => assert!(why.contains("Landlock"), "{why}"),
        }
    }
}

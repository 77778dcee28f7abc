//! What the man pages say beside the options: environment, files, examples. Tests hold it against the sources and the
//! parser.

/// Variables, and what they do.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "RECRASH_ROOT",
        "The checkout with targets, devices, scenarios, goldens and the module. Without it: the nearest folder above the \
         current one that has them, else the one that recrash was built in.",
    ),
    (
        "RECRASH_CACHE",
        "Where kernels, packages and what is derived from debug files are kept. Without it: recrash below XDG_CACHE_HOME, \
         else below ~/.cache.",
    ),
    (
        "RECRASH_DATA",
        "Where kernels of your own are kept (recrash target add). Without it: recrash below XDG_DATA_HOME, else below \
         ~/.local/share.",
    ),
    (
        "XDG_CACHE_HOME",
        "See RECRASH_CACHE. A relative path is ignored.",
    ),
    (
        "XDG_DATA_HOME",
        "See RECRASH_DATA. A relative path is ignored.",
    ),
    (
        "HOME",
        "The home that both are below where nothing else is said.",
    ),
    (
        "PATH",
        "Where QEMU, compilers and the other tools of the host are looked for; recrash doctor says which are missing.",
    ),
    (
        "CI",
        "Set to anything but 0 or false: no golden is proposed, whatever --golden says.",
    ),
    ("NO_COLOR", "Set to anything: no colours."),
    (
        "GITHUB_ACTIONS",
        "true: results are told to the workflow too, as annotations.",
    ),
    (
        "GITHUB_STEP_SUMMARY",
        "The file that a workflow's summary is appended to.",
    ),
    (
        "GITHUB_BASE_REF",
        "The branch that recrash golden diff compares with; without it CI_MERGE_REQUEST_TARGET_BRANCH_NAME, else main.",
    ),
    (
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
        "See GITHUB_BASE_REF.",
    ),
    (
        "SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX, HQ_TASK_ID, CI_NODE_INDEX",
        "What --partition auto takes for the number of the part; qemu/README.md has what belongs to each.",
    ),
    (
        "RECRASH_PARTITIONS",
        "How many parts there are, where the engine does not say it.",
    ),
    (
        "RECRASH_COMPLETE",
        "Names a shell: the words of a command line are completed instead of carried out. Set by the script of recrash \
         completions only.",
    ),
];

/// Files and folders.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "target/recrash/",
        "In the checkout: the kept runs, a folder each, unless --out says otherwise. A run has console.log, events.jsonl, \
         usb.pcap, vmcore, signature.toml, report.txt and a manifest; latest is a link to the newest.",
    ),
    (
        "qemu/targets/, qemu/devices/, qemu/scenarios/",
        "In the checkout: the kernels, USB devices and sequences of URBs that --target, --device and --scenario name.",
    ),
    (
        "golden/CASE/NAME.snap",
        "In the checkout: the accepted signatures, beside the evidence that they were made from.",
    ),
    (
        "~/.cache/recrash/",
        "Kernels and packages, with their versions and hashes in a lock file; under debuginfo/ what was derived from debug \
         files. May be deleted at any time: recrash setup makes it again.",
    ),
    (
        "~/.local/share/recrash/targets/",
        "Kernels of your own. Only recrash target remove deletes one.",
    ),
];

/// Of a command (the words behind `recrash`): a command line, and what it does.
pub(super) const EXAMPLES: &[(&str, &str, &str)] = &[
    (
        "",
        "recrash run --setup",
        "Set up what is missing, crash a kernel, capture, analyse, compare.",
    ),
    (
        "",
        "recrash analyze --report vmcore",
        "Say how a machine died.",
    ),
    ("", "recrash triage /var/crash", "Group crashes into bugs."),
    (
        "run",
        "recrash run --append swiotlb=force --expect no-crash",
        "Check a fix: exit code 0 if the kernel survives.",
    ),
    (
        "run",
        "recrash run --attempts 50 --from-snapshot",
        "Boot once, crash fifty times.",
    ),
    (
        "run",
        "recrash run --target all --controller all --capture kdump,qemu --setup",
        "A matrix: expected and got, in one table.",
    ),
    (
        "diagnose",
        "recrash diagnose --target el8-layout --fault early-free",
        "Who freed the object that was written into, and which transfer did it.",
    ),
    (
        "verify",
        "recrash verify --candidate append=swiotlb=force",
        "Whether a change makes the crash go away: both sides in turn, until the claim holds.",
    ),
    (
        "verify",
        "recrash verify --candidate target=mine --git-bisect",
        "The same with another kernel, as a step of git bisect run.",
    ),
    (
        "bisect",
        "recrash bisect debian-5.10 debian debian-6.12",
        "The first of these kernels that behaves unlike the first.",
    ),
    (
        "report",
        "recrash report target/recrash --format html -o all.html",
        "All kept runs as one page.",
    ),
    (
        "ci",
        "recrash ci init github --parts 4 -- --target all",
        "A workflow that runs a matrix in four parts and merges them.",
    ),
    (
        "merge",
        "recrash merge parts --out merged",
        "The parts of a campaign or matrix, put together.",
    ),
    (
        "setup",
        "recrash setup --target el8-layout",
        "Provide what runs of a target need.",
    ),
    (
        "doctor",
        "recrash doctor",
        "Say what is there and what is missing.",
    ),
    (
        "target",
        "recrash target add mine --rpm kernel.rpm",
        "A kernel of your own; then recrash run --target mine.",
    ),
    (
        "target",
        "recrash target list",
        "The kernels that can be booted.",
    ),
    (
        "analyze",
        "recrash analyze vmcore --report --debug-dir usr/lib/debug",
        "The report, with source lines from unpacked debug packages.",
    ),
    (
        "analyze",
        "recrash analyze vmcore --json",
        "Signature and report for a program.",
    ),
    (
        "inspect",
        "recrash inspect vmcore bt -a",
        "What each CPU did.",
    ),
    (
        "inspect",
        "recrash inspect vmcore struct task_struct.pid,comm init_task",
        "Two members of a struct at a symbol.",
    ),
    (
        "inspect",
        "recrash inspect vmcore slab ffff888003a00000",
        "The object an address lies in.",
    ),
    (
        "explain",
        "recrash explain vmcore --format markdown -o account.md",
        "The account of a crash for an issue.",
    ),
    (
        "import",
        "recrash import session.txt --report",
        "What a saved crash session says, line by line.",
    ),
    (
        "titles",
        "recrash titles console.log",
        "What syzkaller would call each report in a log.",
    ),
    (
        "compare",
        "recrash compare vmcore --golden 2022-06-05",
        "Whether a dump is the crash of a golden.",
    ),
    (
        "compare",
        "recrash compare one.txt other.txt --expect same-bug",
        "Two crashes side by side; exit code 0 if they are one bug.",
    ),
    (
        "triage",
        "recrash triage dumps/ logs/ --format markdown",
        "The groups as a table for an issue.",
    ),
    ("golden", "recrash golden list", "The goldens there are."),
    (
        "runs",
        "recrash runs prune --keep 10",
        "Free the disk of all but the newest runs.",
    ),
    (
        "mcp",
        "recrash mcp /var/crash",
        "As the command of a server in the settings of an editor or agent.",
    ),
    (
        "man",
        "recrash man --out ~/.local/share/man/man1",
        "Install the man pages.",
    ),
    (
        "man",
        "recrash man run",
        "The page of one command, for man -l - or mandoc.",
    ),
    (
        "completions",
        "source <(recrash completions bash)",
        "In ~/.bashrc: completion, names of targets and goldens included.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Variables that the sources ask for by name.
    fn asked(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                asked(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for call in ["var_os(\"", "env::var(\"", "path(\""] {
                    for rest in text.split(call).skip(1) {
                        let name = rest.split('"').next().unwrap_or_default();
                        if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                            found.insert(name.to_owned());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_variable_that_is_read_is_documented() {
        let mut found = BTreeSet::new();
        for krate in ["cli", "machine", "signature"] {
            let own = Path::new(env!("CARGO_MANIFEST_DIR"));
            asked(&own.join("..").join(krate).join("src"), &mut found);
        }
        assert!(found.contains("RECRASH_ROOT"), "{found:?}");
        let known = |name: &str| ENVIRONMENT.iter().any(|(known, _)| *known == name);
        found.retain(|name| !known(name));
        assert_eq!(found, BTreeSet::new());
    }

    #[test]
    fn every_example_is_a_command_line_that_is_accepted() {
        for (of, line, _) in EXAMPLES {
            let line = line
                .strip_prefix("source <(")
                .map_or(*line, |rest| rest.trim_end_matches(')'));
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words.first(), Some(&"recrash"), "{line}");
            assert!(of.is_empty() || words.get(1) == Some(of), "{line}");
            let parsed = crate::parse(words.iter().map(Into::into));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_command_has_an_example() {
        use clap::CommandFactory as _;
        for command in crate::Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(EXAMPLES.iter().any(|(of, ..)| *of == name), "{name}");
        }
    }
}

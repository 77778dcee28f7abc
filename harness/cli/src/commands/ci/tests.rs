use super::*;
use clap::ValueEnum;

/// Words that a shell, YAML, GitHub and Kubernetes each would read as something else.
const HOSTILE: [&str; 12] = [
    "a b",
    "it's",
    "\"quoted\"",
    "$HOME",
    "$(touch owned)",
    "`touch owned`",
    "${{ secrets.TOKEN }}",
    "$$",
    "- x: y # z",
    "@RUN@ @PARTS@",
    "a\\b",
    "ü→",
];

fn values(run: &[&str]) -> Values {
    Values {
        written: "Written by: a test".into(),
        file: "file".into(),
        parts: 16,
        at_once: 2,
        run: shell::line(run),
        install: vec!["true".into(), "echo \"$HOME\"".into()],
        image: "debian:12".into(),
    }
}

fn rendered(engine: Engine, run: &[&str]) -> String {
    render::render(engine, &values(run)).unwrap()
}

/// The lines that begin with this, without it and without what stands around `recrash run`.
fn run_line(text: &str) -> String {
    let mut lines = text
        .lines()
        .filter(|line| line.contains("run ") && line.contains("--partition"));
    let line = lines.next().unwrap().trim();
    let line = line.strip_prefix("run: ").unwrap_or(line);
    let line = line.split(" || ").next().unwrap();
    line.to_owned()
}

/// What the engine hands to the shell of what the file holds.
fn handed_over(engine: Engine, line: &str) -> String {
    match engine {
        Engine::Github => line.replace("${{ '${{' }}", "${{"),
        Engine::Kubernetes => line.replace("$$", "$"),
        _ => line.to_owned(),
    }
}

/// Runs the line with a `recrash` that prints its arguments, one a line.
fn arguments(line: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "recrash() {{ printf '%s\\0' \"$@\"; }}\nPART=3 JOB_COMPLETION_INDEX=2 CI_NODE_INDEX=3 RECRASH_OUT=parts recrash=recrash\n{line}\n"
    );
    let output = std::process::Command::new("bash")
        .args(["-euc", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "{script}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn every_argument_arrives_as_it_was_given() {
    for engine in Engine::value_variants() {
        let text = rendered(*engine, &HOSTILE);
        let line = handed_over(*engine, &run_line(&text));
        let arguments = arguments(&line);
        let found = arguments
            .iter()
            .filter(|word| HOSTILE.contains(&word.as_str()));
        assert_eq!(
            found.collect::<Vec<_>>(),
            HOSTILE.iter().collect::<Vec<_>>(),
            "{engine:?}: {line}"
        );
        assert!(
            arguments.contains(&"--partition".to_owned()),
            "{arguments:?}"
        );
    }
}

#[test]
fn no_expression_of_an_arguments_reaches_github() {
    let text = rendered(Engine::Github, &["${{ secrets.TOKEN }}"]);
    assert!(text.contains("'${{ '${{' }} secrets.TOKEN }}'"), "{text}");
    let kubernetes = rendered(Engine::Kubernetes, &["$(PATH)"]);
    assert!(kubernetes.contains("'$$(PATH)'"), "{kubernetes}");
}

#[test]
fn no_placeholder_is_left_and_none_is_filled_twice() {
    for engine in Engine::value_variants() {
        let text = rendered(*engine, &["--target", "all"]);
        for name in [
            "WRITTEN", "FILE", "PARTS", "AT_ONCE", "NUMBERS", "IMAGE", "PACKAGES", "CPUS", "RUN",
            "INSTALL",
        ] {
            assert!(!text.contains(&format!("@{name}@")), "{engine:?} {name}");
        }
    }
}

#[test]
fn what_cannot_stand_in_a_line_is_refused() {
    for word in ["a\nb", "\u{1b}[2J", "a\rb", "\u{2028}"] {
        let why = render::render(Engine::Github, &values(&[word])).unwrap_err();
        assert!(why.contains("cannot be written"), "{why}");
    }
    let many = Values {
        parts: 257,
        ..values(&[])
    };
    assert!(
        render::render(Engine::Github, &many)
            .unwrap_err()
            .contains("at most 256")
    );
    assert!(
        render::render(Engine::Gitlab, &many)
            .unwrap_err()
            .contains("at most 200")
    );
    assert!(render::render(Engine::Slurm, &many).is_ok());
}

/// The error that these arguments of `recrash run` are refused with.
fn refused(words: &[&str], expected: &str) {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let why = check_run(&words).unwrap_err().chain();
    assert!(why.contains(expected), "{why}");
}

#[test]
fn arguments_that_recrash_run_does_not_take_are_told_before_anything_is_written() {
    refused(&["--atempts", "3"], "unexpected argument '--atempts'");
    refused(&["--fault", "none"], "one run, which has no parts");
    refused(&["--attempts", "3", "--out=x"], "--out");
    refused(&["--target", "all", "--partition", "1/2"], "--partition");
    refused(
        &["--attempts", "3", "--stop-at-first", "crash"],
        "--stop-at-first",
    );
    let good = |words: &[&str]| {
        check_run(
            &words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert!(good(&["--target", "all"]).is_ok());
    assert!(good(&["--attempts", "3", "--append", "swiotlb=force quiet"]).is_ok());
}

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

/// The documents of a YAML file.
fn yaml(engine: Engine, run: &[&str]) -> Vec<serde_json::Value> {
    use serde::Deserialize as _;
    let text = rendered(engine, run);
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| {
            serde_json::Value::deserialize(document)
                .unwrap_or_else(|error| panic!("{error}\n{text}"))
        })
        .collect()
}

#[test]
fn githubs_workflow_makes_the_parts_and_then_merges_them() {
    let workflow = yaml(Engine::Github, &HOSTILE).remove(0);
    let jobs = &workflow["jobs"];
    let numbers: Vec<u32> = (1..=16).collect();
    assert_eq!(
        jobs["part"]["strategy"]["matrix"]["part"],
        serde_json::json!(numbers)
    );
    assert_eq!(jobs["part"]["strategy"]["fail-fast"], false);
    assert_eq!(jobs["merge"]["needs"], "part");
    assert_eq!(jobs["merge"]["if"], "${{ !cancelled() }}");
    assert_eq!(
        workflow["permissions"],
        serde_json::json!({"contents": "read"})
    );
    let steps = jobs["part"]["steps"].as_array().unwrap();
    let upload = steps.last().unwrap();
    assert!(
        upload["with"]["path"]
            .as_str()
            .unwrap()
            .contains("!parts/**/vmcore\n"),
        "{upload}"
    );
    let install = jobs["golden"]["steps"][2]["run"].as_str().unwrap();
    assert_eq!(
        install,
        "true\necho \"$HOME\"\necho \"$HOME/.cargo/bin\" >> \"$GITHUB_PATH\"\n"
    );
}

#[test]
fn gitlabs_pipeline_makes_the_parts_and_then_merges_them() {
    let pipeline = yaml(Engine::Gitlab, &HOSTILE).remove(0);
    assert_eq!(pipeline["recrash:part"]["parallel"], 16);
    assert_eq!(pipeline["recrash:merge"]["needs"][0]["job"], "recrash:part");
    // A job without rules is in no merge request's pipeline; a `when` beside rules is none of theirs.
    let conditions = |job: &str| {
        let rules = pipeline[job]["rules"].as_array().unwrap();
        rules
            .iter()
            .map(|rule| rule["if"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(conditions(".recrash"), conditions("recrash:merge"));
    assert!(pipeline["recrash:part"]["rules"].is_null());
    assert!(pipeline["recrash:merge"]["when"].is_null());
    for rule in pipeline["recrash:merge"]["rules"].as_array().unwrap() {
        assert_eq!(rule["when"], "always");
    }
    let exclude = &pipeline["recrash:part"]["artifacts"]["exclude"];
    assert_eq!(exclude[0], "parts/**/vmcore");
}

#[test]
fn kubernetes_jobs_have_an_index_each_and_retry_only_what_says_nothing() {
    let documents = yaml(Engine::Kubernetes, &HOSTILE);
    let kinds: Vec<&str> = documents
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["PersistentVolumeClaim", "Job", "Job"]);
    let spec = &documents[1]["spec"];
    assert_eq!(
        (
            &spec["completionMode"],
            &spec["completions"],
            &spec["parallelism"]
        ),
        (&"Indexed".into(), &16.into(), &2.into())
    );
    assert_eq!(
        spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"],
        serde_json::json!([2])
    );
    // podFailurePolicy wants it.
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
    assert_eq!(documents[2]["spec"]["suspend"], true);
    // Without recrash there is nothing to run.
    for job in documents.iter().skip(1) {
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        let script = container["command"][2].as_str().unwrap();
        assert!(script.starts_with("set -e\ntrue\n"), "{script}");
    }
}

/// Writes a program that is found before all others.
fn program(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/usr/bin/env bash\n{text}")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, executable).unwrap();
}

#[test]
fn shellcheck_finds_nothing_in_the_scripts() {
    for engine in [Engine::Slurm, Engine::Hyperqueue] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), rendered(engine, &HOSTILE)).unwrap();
        // A word in single quotes that looks like a variable is meant so.
        let output = std::process::Command::new("shellcheck")
            .args(["--shell=bash", "--exclude=SC2016"])
            .arg(file.path())
            .output()
            .expect("shellcheck: apt-get install shellcheck (cargo verify installs it)");
        assert!(
            output.status.success(),
            "{engine:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

/// A HyperQueue that runs one task after another, and a recrash whose second part fails once.
#[test]
fn hyperqueues_script_makes_what_failed_again_and_merges() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let words = ["--target", "a b", "--attempts", "3"];
    let values = Values {
        parts: 3,
        ..values(&words)
    };
    std::fs::write(
        at("script.sh"),
        render::render(Engine::Hyperqueue, &values).unwrap(),
    )
    .unwrap();
    program(
        folder.path(),
        "hq",
        r#"
while [ "$1" != -- ]; do
    case $1 in
        --array) first=${2%-*} last=${2#*-}; shift ;;
        --env) export "${2?}"; shift ;;
    esac
    shift
done
shift
for id in $(seq "$first" "$last"); do HQ_TASK_ID=$id "$@" || failed=1; done
exit "${failed:-0}"
"#,
    );
    program(
        folder.path(),
        "recrash",
        r#"
echo "$HQ_TASK_ID $*" >> "$RECRASH_OUT/said"
[ "$1" = merge ] && exit 3
[ "$HQ_TASK_ID" = 2 ] && ! [ -e "$RECRASH_OUT/once" ] && touch "$RECRASH_OUT/once" && exit 4
[ "$HQ_TASK_ID" = 3 ] && exit 2
exit 1
"#,
    );
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let output = std::process::Command::new("bash")
        .arg(at("script.sh"))
        .env("PATH", path)
        .env("RECRASH_OUT", at("out"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = std::fs::read_to_string(at("out/said")).unwrap();
    let out = at("out").display().to_string();
    let run =
        |id: u32| format!("{id} run --target a b --attempts 3 --partition auto/3 --out {out}");
    let merge = format!(" merge {out} --out {out}/merged");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [run(1), run(2), run(2), run(3), merge]
    );
}

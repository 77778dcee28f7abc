use super::*;
use proptest::prelude::*;

/// What an option comes to under these variables (`NAME=value`), or the error.
fn settle(option: &str, variables: &[&str]) -> Result<String, String> {
    let env = |wanted: &str| {
        let mut pairs = variables.iter().filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.to_owned())
    };
    let wanted: Wanted = option.parse()?;
    wanted.settle(&env).map(|partition| partition.to_string())
}

fn check(option: &str, variables: &[&str], expected: &str) {
    assert_eq!(
        settle(option, variables).as_deref(),
        Ok(expected),
        "{option} {variables:?}"
    );
}

/// The error names the variable, or what was expected.
fn refused(option: &str, variables: &[&str], names: &str) {
    let error = settle(option, variables).unwrap_err();
    assert!(error.contains(names), "{option} {variables:?}: {error}");
}

/// Slurm's variables of the task `id` of `--array=min-max:step`.
fn array(id: u32, min: u32, max: u32, step: u32) -> Vec<String> {
    let count = (max - min) / step + 1;
    vec![
        format!("SLURM_ARRAY_TASK_ID={id}"),
        format!("SLURM_ARRAY_TASK_MIN={min}"),
        format!("SLURM_ARRAY_TASK_MAX={max}"),
        format!("SLURM_ARRAY_TASK_STEP={step}"),
        format!("SLURM_ARRAY_TASK_COUNT={count}"),
    ]
}

#[test]
fn a_plain_fraction_is_a_slice() {
    check("2/8", &[], "slice:2/8");
    check("slice:8/8", &[], "slice:8/8");
    check("hash:1/1", &[], "hash:1/1");
}

#[test]
fn what_is_no_part_is_refused() {
    for option in [
        "",
        "2",
        "0/8",
        "9/8",
        "1/0",
        "1/100001",
        "-1/8",
        "+1/8",
        "1/8/2",
        "count:1/2",
        "hash",
        "slice:",
        "auto/0",
        "1/auto",
        "hash:auto/x",
        "4294967297/8",
        " 1/8",
    ] {
        assert!(option.parse::<Wanted>().is_err(), "{option}");
    }
    assert_eq!(
        "9/8".parse::<Wanted>().unwrap_err(),
        "there is no part 9 of 8: expected 1 to 8"
    );
}

/// Each engine's first and last task are the first and last part, whatever number it begins with.
#[test]
fn each_engine_numbers_the_parts_its_own_way() {
    let slurm = |id, min, max, step| {
        let variables = array(id, min, max, step);
        let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
        settle("auto", &variables).unwrap()
    };
    assert_eq!(slurm(1, 1, 16, 1), "slice:1/16");
    assert_eq!(slurm(16, 1, 16, 1), "slice:16/16");
    assert_eq!(slurm(0, 0, 15, 1), "slice:1/16");
    assert_eq!(slurm(15, 0, 15, 1), "slice:16/16");
    assert_eq!(slurm(10, 10, 40, 10), "slice:1/4");
    assert_eq!(slurm(40, 10, 40, 10), "slice:4/4");
    assert_eq!(slurm(7, 7, 7, 1), "slice:1/1");
    check("auto/16", &["JOB_COMPLETION_INDEX=0"], "slice:1/16");
    check("hash:auto/16", &["JOB_COMPLETION_INDEX=15"], "hash:16/16");
    check(
        "auto",
        &["JOB_COMPLETION_INDEX=3", "RECRASH_PARTITIONS=4"],
        "slice:4/4",
    );
    check("auto/16", &["HQ_TASK_ID=1"], "slice:1/16");
    check("auto/16", &["HQ_TASK_ID=16"], "slice:16/16");
    let gitlab = |index: &str| settle("auto", &[index, "CI_NODE_TOTAL=4"]).unwrap();
    assert_eq!(gitlab("CI_NODE_INDEX=1"), "slice:1/4");
    assert_eq!(gitlab("CI_NODE_INDEX=4"), "slice:4/4");
}

#[test]
fn one_past_an_engines_last_task_is_refused_by_the_variables_name() {
    refused("auto/16", &["JOB_COMPLETION_INDEX=16"], "the last 15");
    refused("auto/16", &["HQ_TASK_ID=0"], "HQ_TASK_ID is 0");
    refused("auto/16", &["HQ_TASK_ID=17"], "HQ_TASK_ID is 17");
    let gitlab = ["CI_NODE_INDEX=0", "CI_NODE_TOTAL=4"];
    refused("auto", &gitlab, "CI_NODE_INDEX is 0");
    let gitlab = ["CI_NODE_INDEX=5", "CI_NODE_TOTAL=4"];
    refused("auto", &gitlab, "CI_NODE_INDEX is 5");
}

#[test]
fn an_array_of_some_parts_is_numbered_like_the_parts() {
    let some = |id: &str| {
        vec![
            format!("SLURM_ARRAY_TASK_ID={id}"),
            "SLURM_ARRAY_TASK_MIN=3".to_owned(),
            "SLURM_ARRAY_TASK_MAX=7".to_owned(),
            "SLURM_ARRAY_TASK_STEP=1".to_owned(),
            "SLURM_ARRAY_TASK_COUNT=2".to_owned(),
        ]
    };
    let (third, zeroth) = (some("3"), some("0"));
    let third: Vec<&str> = third.iter().map(String::as_str).collect();
    check("auto/16", &third, "slice:3/16");
    // Without the number of parts nobody can tell.
    refused("auto", &third, "SLURM_ARRAY_TASK_ID is 3");
    let zeroth: Vec<&str> = zeroth.iter().map(String::as_str).collect();
    refused("auto/16", &zeroth, "SLURM_ARRAY_TASK_ID");
    refused("auto/1", &third, "SLURM_ARRAY_TASK_COUNT");
}

#[test]
fn what_is_missing_or_contradicts_is_named() {
    refused("auto", &[], "SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX");
    refused("auto", &["SLURM_ARRAY_TASK_ID=1"], "SLURM_ARRAY_TASK_COUNT");
    refused("auto", &["JOB_COMPLETION_INDEX=1"], "RECRASH_PARTITIONS");
    refused("auto", &["HQ_TASK_ID=1"], "auto/N");
    refused("auto", &["CI_NODE_INDEX=1"], "CI_NODE_TOTAL");
    refused(
        "auto/3",
        &["CI_NODE_INDEX=1", "CI_NODE_TOTAL=4"],
        "CI_NODE_TOTAL",
    );
    refused(
        "auto/3",
        &["HQ_TASK_ID=1", "RECRASH_PARTITIONS=4"],
        "RECRASH_PARTITIONS",
    );
    refused("auto/3", &["HQ_TASK_ID=one"], "HQ_TASK_ID is \"one\"");
    let both = ["HQ_TASK_ID=1", "JOB_COMPLETION_INDEX=1"];
    refused("auto/3", &both, "HQ_TASK_ID says part 1 of 3");
    // Two that agree are no contradiction.
    let both = ["HQ_TASK_ID=2", "JOB_COMPLETION_INDEX=1"];
    check("auto/3", &both, "slice:2/3");
    // An empty variable is not set.
    check("auto/3", &["HQ_TASK_ID=2", "CI_NODE_INDEX="], "slice:2/3");
}

#[test]
fn a_hash_does_not_depend_on_the_position() {
    let part = |number| Partition::new(Scheme::Hash, number, 4).unwrap();
    let of = |index, name: &str| (1..=4).find(|number| part(*number).holds(index, name));
    assert_eq!(of(0, "attempt 1"), of(7, "attempt 1"));
    // The values are an interface: parts made by two builds must fit together.
    let found: Vec<_> = (1..=8)
        .map(|n| of(0, &format!("attempt {n}")).unwrap())
        .collect();
    assert_eq!(found, [3, 1, 4, 3, 1, 1, 4, 3]);
}

proptest! {
    #[test]
    fn each_run_is_in_exactly_one_part(of in 1_u32..40, runs in 0_usize..200, hash: bool) {
        let scheme = if hash { Scheme::Hash } else { Scheme::Slice };
        let mut sizes = Vec::new();
        let mut held = vec![0; runs];
        for number in 1..=of {
            let part = Partition::new(scheme, number, of).unwrap();
            let mine: Vec<usize> = (0..runs).filter(|at| part.holds(*at, &format!("run {at}"))).collect();
            sizes.push(mine.len());
            for at in mine {
                held[at] += 1;
            }
        }
        prop_assert!(held.iter().all(|times| *times == 1));
        let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
        prop_assert!(hash || spread <= 1, "{sizes:?}");
    }

    #[test]
    fn any_text_and_any_variables_are_answered(option in ".{0,20}", id in ".{0,12}", count in any::<u32>(), min in any::<u32>(), step in any::<u32>()) {
        let variables = [
            format!("SLURM_ARRAY_TASK_ID={id}"),
            format!("SLURM_ARRAY_TASK_MIN={min}"),
            format!("SLURM_ARRAY_TASK_MAX={}", u32::MAX),
            format!("SLURM_ARRAY_TASK_STEP={step}"),
            format!("SLURM_ARRAY_TASK_COUNT={count}"),
        ];
        let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
        for option in [option.as_str(), "auto", "auto/5"] {
            if let Ok(part) = settle(option, &variables) {
                prop_assert!(part.parse::<Wanted>().is_ok());
            }
        }
    }
}

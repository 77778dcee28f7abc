//! Set-up when something goes wrong, each time for real: with apt, dpkg and make, from an archive of the test's own.
//! No network, no root, no guest.
#![expect(
    clippy::unwrap_used,
    reason = "a test whose preparation fails has failed"
)]
mod archive;

use archive::{RELEASE, TARGET, World, text};
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The module's source becomes the module.
const BUILDS: &str = "cp $(M)/repro.c $(M)/repro.ko";

/// Set-up failed with this exit code and said all of this; the target is not taken for ready.
fn check(world: &World, output: &Output, code: i32, said: &[&str]) {
    let all = text(output);
    assert_eq!(output.status.code(), Some(code), "{all}");
    for words in said {
        assert!(all.contains(words), "{words:?} in:\n{all}");
    }
    assert_eq!(world.state().0, "not-set-up", "{all}");
}

fn is_ready(world: &World, output: &Output) {
    let all = text(output);
    assert_eq!(output.status.code(), Some(0), "{all}");
    assert!(
        all.contains(&format!("target tiny is ready: Linux {RELEASE}")),
        "{all}"
    );
    assert_eq!(world.state(), ("ready".into(), String::new()));
}

/// A folder of the cache holds nothing that anybody could use.
fn is_empty(world: &World, folder: &str) {
    let there = world.cached(folder, "");
    assert!(there.is_empty(), "{folder}: {there:?}");
}

#[test]
fn without_a_cache_a_run_ends_with_two_and_says_what_to_do() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    let output = world
        .command(&["run", "--target", TARGET])
        .output()
        .unwrap();
    check(
        &world,
        &output,
        2,
        &["the lock file is missing", "recrash setup --target tiny"],
    );
    assert!(!world.cache().exists(), "a run only looks");
}

#[test]
fn what_was_set_up_once_needs_no_mirror_and_no_apt() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    is_ready(&world, &world.set_up());
    world.remove_archive();
    is_ready(&world, &world.set_up());
}

#[test]
fn a_target_file_that_asks_for_something_else_makes_the_cache_stale() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    is_ready(&world, &world.set_up());
    let other = fs::read_to_string(world.target_file()).unwrap();
    let other = other.replace("[[\"oldtiny\"]]", "[[\"newtiny\"], [\"oldtiny\"]]");
    fs::write(world.target_file(), other).unwrap();
    let output = world
        .command(&["run", "--target", TARGET])
        .output()
        .unwrap();
    check(
        &world,
        &output,
        2,
        &["was set up, but its file has changed since"],
    );
    // The mirror has no newtiny: the second alternative is taken.
    is_ready(&world, &world.set_up());
}

#[test]
fn other_sources_of_the_module_need_another_build() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    is_ready(&world, &world.set_up());
    fs::write(world.module_source(), "int other;\n").unwrap();
    let (state, why) = world.state();
    assert_eq!(
        (state.as_str(), why.as_str()),
        ("not-set-up", "the built repro-module is missing")
    );
    is_ready(&world, &world.set_up());
    let modules = world.cached("modules", "").into_iter();
    let built = modules.map(|dir| fs::read_to_string(dir.join("repro.ko")).unwrap());
    assert!(built.into_iter().any(|module| module == "int other;\n"));
}

#[test]
fn a_half_downloaded_package_is_fetched_anew() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    is_ready(&world, &world.set_up());
    fs::remove_dir_all(world.cache().join("trees")).unwrap();
    let deb = world.cached("downloads", "linux-image-1.2.3").remove(0);
    let whole = fs::read(&deb).unwrap();
    fs::write(&deb, &whole[..whole.len() / 2]).unwrap();
    // What a killed set-up leaves behind.
    let left = world.cache().join("scratch/killed");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("linux-image-1.2.3-tiny_1_amd64.deb"), "half").unwrap();
    is_ready(&world, &world.set_up());
    assert_eq!(fs::read(&deb).unwrap(), whole);
    assert!(!left.exists());
}

#[test]
fn a_package_changed_on_disk_is_never_unpacked() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    is_ready(&world, &world.set_up());
    fs::remove_dir_all(world.cache().join("trees")).unwrap();
    let deb = world.cached("downloads", "linux-image-1.2.3").remove(0);
    let mut bytes = fs::read(&deb).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&deb, bytes).unwrap();
    world.remove_archive();
    // It cannot be fetched anew either.
    check(&world, &world.set_up(), 4, &["apt-get"]);
    is_empty(&world, "trees");
}

#[test]
fn a_mirror_that_serves_other_bytes_is_refused_with_apts_words() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    let deb = world.in_archive("linux-image-1.2.3-tiny");
    let mut bytes = fs::read(&deb).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&deb, bytes).unwrap();
    check(&world, &world.set_up(), 4, &["Hash Sum mismatch"]);
    for folder in ["downloads", "trees", "locks", "modules", "scratch"] {
        is_empty(&world, folder);
    }
}

#[test]
fn a_mirror_that_serves_half_of_a_package_is_refused() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    let deb = world.in_archive("linux-image-1.2.3-tiny");
    let bytes = fs::read(&deb).unwrap();
    fs::write(&deb, &bytes[..bytes.len() / 2]).unwrap();
    check(
        &world,
        &world.set_up(),
        4,
        &["apt-get", "linux-image-1.2.3-tiny"],
    );
    for folder in ["downloads", "trees", "locks"] {
        is_empty(&world, folder);
    }
}

#[test]
fn a_mirror_without_the_suite_is_named_with_apts_words() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    let other = fs::read_to_string(world.target_file()).unwrap();
    fs::write(world.target_file(), other.replace("oldtiny", "newtiny")).unwrap();
    check(
        &world,
        &world.set_up(),
        4,
        &[
            "this machine's mirror does not serve newtiny",
            "E: ",
            "dists/newtiny",
        ],
    );
    is_empty(&world, "locks");
}

#[test]
fn a_module_that_does_not_build_shows_the_compilers_last_lines_and_the_log() {
    let Some(world) = World::new(
        "@for i in $$(seq 40); do echo line $$i; done; echo 'repro.c:1:5: error: no'; exit 1",
    ) else {
        return;
    };
    let output = world.set_up();
    check(
        &world,
        &output,
        4,
        &[
            "does not build against 1.2.3-tiny",
            "repro.c:1:5: error: no",
        ],
    );
    let log = world.cached("modules", ".log").remove(0);
    assert!(text(&output).contains(log.to_str().unwrap()));
    assert!(!text(&output).contains("line 3\n"));
    assert!(
        fs::read_to_string(&log).unwrap().contains("line 3\n"),
        "all of it"
    );
    // Another kernel package does not make the failed build a good one.
    world.publish(BUILDS);
    let output = world
        .command(&["setup", "--target", TARGET, "--update"])
        .output()
        .unwrap();
    is_ready(&world, &output);
}

#[test]
fn two_set_ups_at_once_build_once_and_the_second_says_that_it_waits() {
    let Some(world) =
        World::new("echo x >> $(RECRASH_COUNT); sleep 3; cp $(M)/repro.c $(M)/repro.ko")
    else {
        return;
    };
    let count = world.cache().with_file_name("count");
    let start = || {
        let mut command = world.command(&["setup", "--target", TARGET]);
        command.env("RECRASH_COUNT", &count);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let first = start();
    let begin = Instant::now();
    while !count.exists() {
        assert!(begin.elapsed() < Duration::from_secs(120), "never built");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = start().wait_with_output().unwrap();
    is_ready(&world, &first.wait_with_output().unwrap());
    is_ready(&world, &second);
    assert!(
        text(&second).contains("waiting for another set-up to end"),
        "{}",
        text(&second)
    );
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");
}

#[test]
fn a_set_up_that_is_killed_leaves_nothing_that_is_used() {
    let Some(world) = World::new(
        "echo half > $(M)/repro.ko; touch $(RECRASH_COUNT); sleep 3; cp $(M)/repro.c $(M)/repro.ko",
    ) else {
        return;
    };
    let count = world.cache().with_file_name("count");
    let mut command = world.command(&["setup", "--target", TARGET]);
    let mut child = command.env("RECRASH_COUNT", &count).spawn().unwrap();
    let begin = Instant::now();
    while !count.exists() {
        assert!(begin.elapsed() < Duration::from_secs(120), "never built");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(world.state().0, "not-set-up");
    let mut again = world.command(&["setup", "--target", TARGET]);
    is_ready(
        &world,
        &again.env("RECRASH_COUNT", &count).output().unwrap(),
    );
    let module = world.cached("modules", "").remove(0).join("repro.ko");
    assert_eq!(fs::read_to_string(module).unwrap(), "int repro;\n");
}

#[test]
fn a_full_disk_leaves_no_half_tree() {
    let Some(world) = World::new(BUILDS) else {
        return;
    };
    is_ready(&world, &world.set_up());
    fs::remove_dir_all(world.cache().join("trees")).unwrap();
    // Writing ends where a full disk would end it: no file may have more than 512 KiB, and the kernel has twice that.
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" setup --target tiny";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, env!("CARGO_BIN_EXE_recrash")]);
    world.place(&mut limited);
    let output = limited.output().unwrap();
    check(
        &world,
        &output,
        4,
        &["linux-image-1.2.3-tiny", "File too large"],
    );
    is_empty(&world, "trees");
    is_ready(&world, &world.set_up());
}

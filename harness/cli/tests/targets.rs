//! The loop on the other stock kernels of Debian: each gives the crash of the golden, and each difference has a rule.
//! One boot at a time. Sets up what is missing by itself; a mirror that does not serve a suite skips its test, and the
//! test says so.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#![expect(dead_code, reason = "not all of the support is used here")]
mod support;

use serde_json::Value;
use support::{command, finish, one_at_a_time, run_command};

/// Boots the target with the default fault.
fn check(target: &str, release: &str, rules: &[&str]) {
    let _guard = one_at_a_time();
    let set_up = finish(&mut command(&["setup", "--json", "--target", target]));
    if set_up.code != 0 && set_up.stderr.contains("mirror does not serve") {
        eprintln!("skipped: {}", set_up.stderr);
        return;
    }
    assert_eq!(set_up.code, 0, "{}", set_up.text());
    let found = set_up.result["kernel-release"].as_str().unwrap();
    assert!(found.starts_with(release), "{found}");
    let run = finish(&mut run_command(target, &["--target", target]));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "same-crash", "{}", run.text());
    assert_eq!(
        run.result["unexplained"],
        Value::Array(vec![]),
        "{}",
        run.text()
    );
    let explained = run.rules();
    for rule in rules {
        assert!(explained.contains(rule), "{rule} in {explained:?}");
    }
}

#[test]
fn debian_11s_kernel_gives_the_crash_of_the_golden() {
    check(
        "debian-5.10",
        "5.10.",
        &["freelist-mid-object", "freelist-hardened"],
    );
}

#[test]
fn debian_13s_kernel_gives_the_crash_of_the_golden() {
    check(
        "debian-6.12",
        "6.12.",
        &["freelist-mid-object", "freelist-hardened"],
    );
}

#[test]
fn a_kernel_with_preempt_rt_gives_the_crash_of_the_golden() {
    check(
        "debian-rt",
        "",
        &["freelist-mid-object", "freelist-hardened"],
    );
}

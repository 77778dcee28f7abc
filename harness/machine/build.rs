//! Builds the guest's init as a static binary, so that the host binary can carry it.
//! `+crt-static` on the gnu target needs no further target installed.
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What cargo, clippy or the caller's shell set for the host build and the init must not inherit.
const SCRUBBED: &[&str] = &[
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "CLIPPY_TERMINAL_WIDTH",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

fn main() -> Result<(), String> {
    let manifest_dir = variable("CARGO_MANIFEST_DIR")?;
    let agent = Path::new(&manifest_dir).join("../agent");
    println!("cargo::rerun-if-changed={}", agent.join("src").display());
    println!(
        "cargo::rerun-if-changed={}",
        agent.join("Cargo.toml").display()
    );
    println!("cargo::rerun-if-changed=build.rs");
    let binary = build(&agent)?;
    println!("cargo::rustc-env=RECRASH_AGENT={}", binary.display());
    Ok(())
}

/// Runs cargo inside cargo, in a target folder of its own: the outer one is locked.
fn build(agent: &Path) -> Result<PathBuf, String> {
    let target_dir = Path::new(&variable("OUT_DIR")?).join("agent");
    let mut cargo = Command::new(variable("CARGO")?);
    for name in SCRUBBED {
        cargo.env_remove(name);
    }
    // Outranks every other place that flags could come from.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    cargo
        .args(["build", "--quiet", "--frozen", "--release"])
        .args(["--package", "recrash-agent", "--bin", "recrash-agent"])
        .args(["--config", "profile.release.strip=true"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .arg("--manifest-path")
        .arg(agent.join("Cargo.toml"));
    let output = cargo
        .output()
        .map_err(|error| format!("starting {cargo:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the guest's init does not build ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(target_dir.join(TARGET).join("release/recrash-agent"))
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}

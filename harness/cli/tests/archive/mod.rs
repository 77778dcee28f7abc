//! A tiny Debian archive with one kernel whose programs are scripts, a checkout with a target for it, and a cache:
//! all that `recrash setup` needs without a network, root or a real kernel. Asserts nothing about set-up.
use recrash_machine::setup::hash;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `uname -r` of the archive's kernel.
pub(crate) const RELEASE: &str = "1.2.3-tiny";
/// The target's name.
pub(crate) const TARGET: &str = "tiny";

/// See the module.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// With the recipe of the headers' Makefile that builds the module; `None`, and said so, where the programs that
    /// set-up calls are not here.
    pub(crate) fn new(recipe: &str) -> Option<Self> {
        let missing: Vec<&str> = ["apt-get", "dpkg-deb", "make", "qemu-system-x86_64"]
            .into_iter()
            .filter(|program| Command::new(program).arg("--version").output().is_err())
            .collect();
        if !missing.is_empty() {
            eprintln!("skipped: not here: {}", missing.join(", "));
            return None;
        }
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        world.write_checkout();
        world.write_apt_configuration();
        world.publish(recipe);
        Some(world)
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    /// The cache's folder.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// The target's file.
    pub(crate) fn target_file(&self) -> PathBuf {
        self.path("checkout/qemu/targets/tiny.toml")
    }

    /// The module's source.
    pub(crate) fn module_source(&self) -> PathBuf {
        self.path("checkout/repro-module/repro.c")
    }

    /// The .deb of a package in the archive.
    pub(crate) fn in_archive(&self, package: &str) -> PathBuf {
        self.path(&format!("debian/pool/{package}.deb"))
    }

    /// Takes the whole archive away.
    pub(crate) fn remove_archive(&self) {
        fs::remove_dir_all(self.path("debian")).unwrap();
    }

    /// Files in a folder of the cache whose names have this in them.
    pub(crate) fn cached(&self, folder: &str, part: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache().join(folder));
        let entries = entries.into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.file_name().unwrap().to_string_lossy().contains(part));
        paths
    }

    /// `recrash` with these arguments in this world.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recrash"));
        command.args(args);
        self.place(&mut command);
        command
    }

    /// Gives a command this world's environment.
    pub(crate) fn place(&self, command: &mut Command) {
        command
            .env("RECRASH_ROOT", self.path("checkout"))
            .env("RECRASH_CACHE", self.cache())
            .env("APT_CONFIG", self.path("apt.conf"))
            .env("NO_COLOR", "1")
            .current_dir(self.dir.path());
    }

    /// `recrash setup --target tiny` to its end.
    pub(crate) fn set_up(&self) -> Output {
        self.command(&["setup", "--target", TARGET])
            .output()
            .unwrap()
    }

    /// What `recrash target list --json` says of the target: its state, and why if it is not ready.
    pub(crate) fn state(&self) -> (String, String) {
        let output = self
            .command(&["target", "list", "--json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let row: serde_json::Value = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|row: &serde_json::Value| row["name"] == TARGET)
            .unwrap();
        let field = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        (field("state"), field("why"))
    }

    fn write_checkout(&self) {
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let real = real.canonicalize().unwrap();
        fs::create_dir_all(self.path("checkout/qemu/targets")).unwrap();
        for shared in ["golden", "qemu/devices", "qemu/scenarios"] {
            symlink(real.join(shared), self.path("checkout").join(shared)).unwrap();
        }
        fs::create_dir(self.path("checkout/repro-module")).unwrap();
        fs::write(
            self.path("checkout/repro-module/Kbuild"),
            "obj-m := repro.o\n",
        )
        .unwrap();
        fs::write(self.module_source(), "int repro;\n").unwrap();
        let text = fs::read_to_string(real.join("qemu/targets/debian.toml")).unwrap();
        let rest = text.get(text.find("[machine]").unwrap()..).unwrap();
        let rest = rest.replace("makedumpfile = \"makedumpfile\"\n", "");
        let kernel = "summary = \"a tiny one\"\n[kernel]\nkind = \"debian\"\nimage = \"linux-image-amd64\"\n\
                      headers = \"linux-headers-amd64\"\nsuites = [[\"oldtiny\"]]\n\n";
        fs::write(self.target_file(), format!("{kernel}{rest}")).unwrap();
    }

    /// apt believes that the archive is this machine's mirror of Debian. Read before everything else of apt's.
    fn write_apt_configuration(&self) {
        let sources = self.path("sources.list");
        let mirror = format!(
            "deb [trusted=yes] file:{} stable main\n",
            self.path("debian").display()
        );
        fs::write(&sources, mirror).unwrap();
        let none = self.path("none");
        fs::write(
            self.path("apt.conf"),
            format!(
                "Dir::Etc::parts \"{none}\";\nDir::Etc::main \"{none}\";\nDir::Etc::sourcelist \"{}\";\n\
                 Dir::Etc::sourceparts \"{none}\";\n",
                sources.display(),
                none = none.display(),
            ),
        )
        .unwrap();
    }

    /// Writes the archive; the packages' contents are small, but for the image, which unpacks to a mebibyte.
    pub(crate) fn publish(&self, recipe: &str) {
        let headers = format!("linux-headers-{RELEASE}");
        let image = format!("linux-image-{RELEASE}");
        let makefile = format!("modules:\n\t{recipe}\n");
        let mut index = String::new();
        let mut add = |name: &str, depends: &str, files: &[(&str, &str, u32)]| {
            index.push_str(&self.package(name, depends, files));
        };
        add("linux-image-amd64", &image, &[]);
        add("linux-headers-amd64", &headers, &[]);
        let kernel = "\0".repeat(1 << 20);
        add(
            &image,
            "",
            &[
                (&format!("boot/vmlinuz-{RELEASE}"), &kernel, 0o644),
                (&format!("lib/modules/{RELEASE}/kernel/a.ko"), "a", 0o644),
            ],
        );
        add(
            &headers,
            "gcc-99",
            &[(&format!("usr/src/{headers}/Makefile"), &makefile, 0o644)],
        );
        add(
            "gcc-99",
            "",
            &[
                ("usr/bin/gcc-99", "#!/bin/sh\n", 0o755),
                ("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "", 0o755),
            ],
        );
        let suite = self.path("debian/dists/oldtiny");
        let packages = "main/binary-amd64/Packages";
        fs::create_dir_all(suite.join("main/binary-amd64")).unwrap();
        fs::write(suite.join(packages), &index).unwrap();
        let release = format!(
            "Origin: Test\nSuite: oldtiny\nCodename: oldtiny\nArchitectures: amd64\nComponents: main\n\
             Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {} {} {packages}\n",
            hash::file(&suite.join(packages)).unwrap(),
            index.len()
        );
        fs::write(suite.join("Release"), release).unwrap();
    }

    /// Makes a package and returns its stanza for the archive's index.
    fn package(&self, name: &str, depends: &str, files: &[(&str, &str, u32)]) -> String {
        let tree = self.path(&format!("build/{name}"));
        let control = {
            let mut text = format!(
                "Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\n"
            );
            if !depends.is_empty() {
                let _ = writeln!(text, "Depends: {depends}");
            }
            text + "Description: for a test\n"
        };
        let modes = [("DEBIAN/control", control.as_str(), 0o644)];
        for (path, contents, mode) in modes.iter().chain(files) {
            let file = tree.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, contents).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
        }
        let deb = self.in_archive(name);
        fs::create_dir_all(deb.parent().unwrap()).unwrap();
        let output = Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group", "-Zgzip"])
            .args([&tree, &deb])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        format!(
            "{control}Filename: pool/{name}.deb\nSize: {}\nSHA256: {}\n\n",
            fs::metadata(&deb).unwrap().len(),
            hash::file(&deb).unwrap()
        )
    }
}

/// What a command printed, for messages of assertions.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

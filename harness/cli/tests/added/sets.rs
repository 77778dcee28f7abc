//! Sets of packages as a user has them: Debian's own from set-up's cache, and an RPM set made of a kernel that is at
//! hand, in RHEL's layout.
use crate::support::{self, Finished};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder of this test binary, empty at its start; what failed stays there to be looked at.
pub(crate) fn scratch() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("added");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir.canonicalize().unwrap()
    })
}

/// `recrash` with a data folder of its own.
pub(crate) struct Recrash {
    pub(crate) data: PathBuf,
}

impl Recrash {
    pub(crate) fn in_folder(name: &str) -> Self {
        Self {
            data: scratch().join(name).join("data"),
        }
    }

    /// Runs it; what it prints without `--json` is no result.
    pub(crate) fn finish(&self, args: &[&str]) -> Finished {
        let mut command = support::command(args);
        command.env("RECRASH_DATA", &self.data);
        if args.contains(&"--json") {
            return support::finish(&mut command);
        }
        let output = command.output().unwrap();
        Finished {
            code: output.status.code().unwrap_or(-1),
            result: Value::Null,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Nothing was added, and nothing left behind.
    pub(crate) fn has_none(&self) {
        let entries = fs::read_dir(self.data.join("targets"))
            .into_iter()
            .flatten();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == ".in-use"), "{names:?}");
    }
}

/// Adds Debian's own packages, those that set-up has fetched.
pub(crate) fn add_debs(recrash: &Recrash, name: &str) -> Value {
    support::set_up();
    let files = debs();
    let mut args = vec!["target", "add", name, "--json", "--deb"];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    let added = recrash.finish(&args);
    assert_eq!(added.code, 0, "{}", added.text());
    added.result
}

/// Image, headers and kbuild by the lock file; those that are no longer kept are fetched again.
fn debs() -> Vec<PathBuf> {
    let cache = cache();
    let lock = fs::read_to_string(cache.join("locks/debian.toml")).unwrap();
    let lock: toml::Table = toml::from_str(&lock).unwrap();
    let mut files = Vec::new();
    for package in lock["package"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap();
        if text("role") == "tools" {
            continue;
        }
        let begin = format!("{}_", text("name"));
        let hash = format!("_{}.deb", &text("sha256")[..12]);
        let kept = fs::read_dir(cache.join("downloads")).into_iter().flatten();
        let mut kept = kept.map(|entry| entry.unwrap().path()).filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&begin) && name.ends_with(&hash)
        });
        files.push(
            kept.next()
                .unwrap_or_else(|| download(text("name"), text("version"))),
        );
    }
    files
}

fn download(name: &str, version: &str) -> PathBuf {
    let dir = scratch().join("debs").join(name);
    fs::create_dir_all(&dir).unwrap();
    let status = Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
        .arg(format!("{name}={version}"))
        .current_dir(&dir)
        .status()
        .unwrap();
    assert!(status.success(), "apt-get download {name}={version}");
    fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path()
}

/// As recrash finds it.
fn cache() -> PathBuf {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    path("RECRASH_CACHE")
        .or_else(|| path("XDG_CACHE_HOME").map(|dir| dir.join("recrash")))
        .unwrap_or_else(|| path("HOME").unwrap().join(".cache/recrash"))
}

/// A kernel whose files other sets are made of.
pub(crate) struct Donor {
    pub(crate) release: String,
    /// Laid out as an installed system.
    pub(crate) root: PathBuf,
    pub(crate) module_ko: PathBuf,
    /// The target that it runs as.
    pub(crate) template: &'static str,
}

/// The kernel that set-up has built, where it has: the smallest, and with debug symbols. Else Debian's.
pub(crate) fn donor(recrash: &Recrash) -> Donor {
    built(recrash).unwrap_or_else(|| debians(recrash))
}

fn built(recrash: &Recrash) -> Option<Donor> {
    const TARGET: &str = "el8-layout";
    let shown = recrash.finish(&["target", "show", TARGET, "--json"]).result;
    let text = |key: &str| shown[key].as_str();
    // usr/lib/debug of a folder that is laid out as an installed system.
    let root = Path::new(text("debug-dir")?).ancestors().nth(3)?;
    eprintln!("the packages are made of {TARGET}");
    Some(Donor {
        release: text("kernel-release")?.to_owned(),
        root: root.to_owned(),
        module_ko: text("module-ko")?.into(),
        template: TARGET,
    })
}

/// Debian's kernel, added once for all sets.
fn debians(recrash: &Recrash) -> Donor {
    static ADDED: OnceLock<Value> = OnceLock::new();
    let added = ADDED.get_or_init(|| add_debs(recrash, "donor"));
    let text = |value: &Value| PathBuf::from(value.as_str().unwrap());
    Donor {
        release: added["kernel-release"].as_str().unwrap().to_owned(),
        root: text(&added["added"]["folder"]).join("root"),
        module_ko: text(&added["module-ko"]),
        template: "debian",
    }
}

/// What becomes of a kernel in RHEL's packages: names, folders, compressed modules. `$1` the donor's root, `$2` its
/// release, `$3` where it is laid out. Of the modules only what a run may load: xz is slow.
const LAY_OUT: &str = r#"
set -eu
own=$3/lib/modules/$2; devel=$3/usr/src/kernels/$2; from=$1/lib/modules/$2
mkdir -p "$own/kernel" "$devel"
cp "$1/boot/vmlinuz-$2" "$own/vmlinuz"
if [ -e "$1/boot/config-$2" ]; then config=$1/boot/config-$2; else config=$1/usr/src/linux-headers-$2/.config; fi
cp "$config" "$own/config"
cp "$1/boot/System.map-$2" "$own/System.map"
cp "$from"/modules.builtin "$from"/modules.order "$own/"
for part in drivers/usb drivers/virtio drivers/char; do
    if [ -d "$from/kernel/$part" ]; then
        mkdir -p "$own/kernel/$part"
        cp -r "$from/kernel/$part/." "$own/kernel/$part/"
    fi
done
find "$own/kernel" -name '*.ko' -exec xz -0 --check=crc32 {} +
headers=$1/usr/src/linux-headers-$2
common=$(echo "$1"/usr/src/linux-headers-*-common)
if [ -d "$common" ]; then
    # Debian's are three packages that lead to one another.
    cp -aL "$common/." "$devel/"
    cp "$devel/Makefile" "$3/Makefile"
    cp -aL "$headers/." "$devel/"
    mv "$3/Makefile" "$devel/Makefile"
else
    cp -a "$headers/." "$devel/"
fi
debug=$3/usr/lib/debug/lib/modules/$2
mkdir -p "$debug"
if [ -e "$1/usr/lib/debug/boot/vmlinux-$2" ]; then
    cp "$1/usr/lib/debug/boot/vmlinux-$2" "$debug/vmlinux"
elif [ -e "$1/usr/lib/debug/lib/modules/$2/vmlinux" ]; then
    cp "$1/usr/lib/debug/lib/modules/$2/vmlinux" "$debug/vmlinux"
fi
rm -f "$devel/.kernelvariables"
ln -s "/usr/src/kernels/$2" "$own/build"
ln -s build "$own/source"
"#;

const SPEC: &str = r"
Name: kernel
Version: 1
Release: 1
Summary: A kernel in the layout of RHEL
License: GPLv2
AutoReqProv: no
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
%description
%{summary}.
%package core
Summary: image and lists
%description core
%{summary}.
%package modules
Summary: modules
%description modules
%{summary}.
%package debuginfo
Summary: vmlinux with debug symbols, if the donor has one
%description debuginfo
%{summary}.
%package devel
Summary: headers
%description devel
%{summary}.
%install
mkdir -p %{buildroot}
cp -al STAGED/. %{buildroot}/
%files core
%dir /lib/modules/RELEASE
/lib/modules/RELEASE/vmlinuz
/lib/modules/RELEASE/config
/lib/modules/RELEASE/System.map
/lib/modules/RELEASE/modules.builtin
/lib/modules/RELEASE/modules.order
%ghost /lib/modules/RELEASE/modules.dep
/lib/modules/RELEASE/build
/lib/modules/RELEASE/source
%files modules
/lib/modules/RELEASE/kernel
%files debuginfo
/usr/lib/debug/lib/modules/RELEASE
%files devel
/usr/src/kernels/RELEASE
";

/// Makes kernel-core, -modules, -devel and -debuginfo of the donor; `None` without rpmbuild.
pub(crate) fn rpms(donor: &Donor) -> Option<Vec<PathBuf>> {
    Command::new("rpmbuild").arg("--version").output().ok()?;
    let dir = scratch().join("rpmbuild");
    let staged = dir.join("staged");
    fs::create_dir_all(&staged).unwrap();
    let status = Command::new("sh")
        .args(["-c", LAY_OUT, "sh"])
        .args([
            donor.root.as_os_str(),
            donor.release.as_ref(),
            staged.as_os_str(),
        ])
        .status()
        .unwrap();
    assert!(status.success());
    // depmod writes it after the installation: rpm knows its name, and the package lacks it.
    fs::write(
        staged
            .join("lib/modules")
            .join(&donor.release)
            .join("modules.dep"),
        "",
    )
    .unwrap();
    let spec = dir.join("kernel.spec");
    let text = SPEC
        .replace("RELEASE", &donor.release)
        .replace("STAGED", staged.to_str().unwrap());
    fs::write(&spec, text).unwrap();
    let define = |name: &str, value: &Path| format!("{name} {}", value.display());
    let output = Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--target", "x86_64"])
        .args(["--define", &define("_topdir", &dir)])
        .args(["--define", "_binary_payload w3.zstdio"])
        .arg(&spec)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rpmbuild: {stderr}");
    let packages = ["core", "modules", "devel", "debuginfo"];
    let file = |part: &str| dir.join(format!("RPMS/x86_64/kernel-{part}-1-1.x86_64.rpm"));
    Some(packages.map(file).to_vec())
}

use super::*;
use std::fs;

const CASE: &str = "golden/usb-string-descriptor-freelist";
const NAME: &str = "2022-06-05-usbdev-ioctl.snap";

/// A repository with two of the checkout's goldens on `main`, and a branch.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(CASE);
        fs::create_dir_all(this.0.path().join(CASE)).unwrap();
        for name in [NAME, "worker.snap"] {
            fs::copy(from.join(name), this.file(name)).unwrap();
        }
        this.git(&["init", "--quiet", "--initial-branch=main"]);
        this.commit("goldens");
        this.git(&["checkout", "--quiet", "-b", "branch"]);
        this
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(CASE).join(name)
    }

    fn git(&self, args: &[&str]) {
        let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let status = std::process::Command::new("git")
            .arg("-C")
            .arg(self.0.path())
            .args(who)
            .args(args)
            .status()
            .unwrap();
        assert!(status.success(), "git {args:?}");
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", message]);
    }

    fn replace(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file(NAME)).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(self.file(NAME), text.replace(from, to)).unwrap();
    }

    /// What changed from `main`, in the work tree or in a revision.
    fn told(&self, head: Option<&str>) -> Told {
        let (base, head) =
            sides::resolve(Some("main"), head, Ok(self.0.path().join("golden"))).unwrap();
        let (old, new) = (read(&base).unwrap(), read(&head).unwrap());
        Told {
            base: base.name().into(),
            base_is_revision: base.is_revision(),
            head: head.name().into(),
            entries: entries(&old, &new, head.prefix()),
        }
    }
}

/// The text without styles.
fn plain(told: &Told) -> String {
    anstream::adapter::strip_str(&show::text(told)).to_string()
}

#[test]
fn a_change_of_the_corruption_is_told_with_what_it_means_and_what_to_do() {
    let repository = Repository::new();
    repository.replace(r#"descriptor = "string""#, r#"descriptor = "device""#);
    let told = repository.told(None);
    insta::assert_snapshot!(plain(&told));
    insta::assert_snapshot!(show::markdown(&told));
    insta::assert_snapshot!(show::annotations(&told));
}

#[test]
fn what_counts_for_nothing_is_shown_and_counts_for_nothing() {
    let repository = Repository::new();
    repository.replace("esdm-agent", "another");
    let told = repository.told(None);
    assert!(!told.entries[0].counts);
    let text = plain(&told);
    assert!(text.contains("only circumstances changed"), "{text}");
    assert!(
        text.contains("1 golden changed, and what counts as the same crash did not"),
        "{text}"
    );
    assert_eq!(show::annotations(&told), "");
}

#[test]
fn new_deleted_and_moved_goldens_are_told_by_what_they_are_like() {
    let repository = Repository::new();
    fs::rename(
        repository.file("worker.snap"),
        repository.file("moved.snap"),
    )
    .unwrap();
    let text = fs::read_to_string(repository.file(NAME)).unwrap();
    let other = text.replace("usb_hcd_submit_urb", "another_caller");
    fs::write(repository.file("other.snap"), other).unwrap();
    repository.commit("moved and new");
    // The index has what the work tree has; the revision is read, not the work tree.
    fs::remove_file(repository.file("other.snap")).unwrap();
    let told = repository.told(Some("branch"));
    let text = plain(&told);
    assert!(
        text.contains("moved from usb-string-descriptor-freelist/worker"),
        "{text}"
    );
    assert!(
        text.contains("new: same-bug as usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl"),
        "{text}"
    );
    assert_eq!(told.entries.len(), 2, "{text}");

    fs::remove_file(repository.file(NAME)).unwrap();
    let told = repository.told(None);
    assert!(
        plain(&told)
            .contains("deleted: a crash that only it described is still known: same-bug as"),
        "{}",
        plain(&told)
    );
}

#[test]
fn a_golden_that_cannot_be_read_is_told_by_file_and_line() {
    let repository = Repository::new();
    repository.replace("schema = 2", "schema = 2\nshema = 3");
    let told = repository.told(None);
    let Fate::Unreadable { why } = &told.entries[0].fate else {
        panic!("{:?}", told.entries);
    };
    assert!(
        why.starts_with("usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap:"),
        "{why}"
    );
    assert!(
        show::annotations(&told).starts_with("::error file=golden/usb-string"),
        "{}",
        show::annotations(&told)
    );
}

/// The error that a side of this name ends in.
fn refused(name: &str, expected: &str) {
    let repository = Repository::new();
    let error =
        sides::resolve(Some(name), None, Ok(repository.0.path().join("golden"))).unwrap_err();
    assert!(error.chain().contains(expected), "{}", error.chain());
}

#[test]
fn a_revision_is_never_an_option() {
    for name in [
        "--help",
        "-h",
        "--output=/tmp/x",
        "no-such",
        "",
        "main..branch",
        "main branch",
        "HEAD:golden",
    ] {
        refused(name, "git knows no revision");
    }
}

#[test]
fn the_base_is_where_the_branch_left_main() {
    let repository = Repository::new();
    repository.replace("esdm-agent", "another");
    repository.commit("on the branch");
    repository.git(&["checkout", "--quiet", "main"]);
    fs::remove_file(repository.file("worker.snap")).unwrap();
    repository.commit("on main, later");
    repository.git(&["checkout", "--quiet", "branch"]);
    // What a workflow says of the branch would name another one.
    if std::env::var_os("GITHUB_BASE_REF").is_none() {
        let (base, head) =
            sides::resolve(None, None, Ok(repository.0.path().join("golden"))).unwrap();
        assert!(
            base.name().ends_with("(where the branch left main)"),
            "{}",
            base.name()
        );
        let entries = entries(&read(&base).unwrap(), &read(&head).unwrap(), head.prefix());
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].file, format!("{CASE}/{NAME}"));
    }
}

#[test]
fn hostile_text_stays_text_in_markdown() {
    let repository = Repository::new();
    repository.replace("esdm-agent", "``` <script>|`x`");
    repository.replace(r#"descriptor = "string""#, r#"descriptor = "device""#);
    let markdown = show::markdown(&repository.told(None));
    assert!(
        markdown.contains("```` ``` <script>\\|`x` ````"),
        "{markdown}"
    );
    assert!(markdown.contains("````diff\n"), "{markdown}");
}

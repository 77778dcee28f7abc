//! Signatures in TOML: what is read can be written, and reads the same again.

use recrash_signature::Signature;

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(signature) = Signature::from_toml(&text) else {
        return;
    };
    if let Ok(written) = signature.to_toml() {
        assert_eq!(Signature::from_toml(&written).ok(), Some(signature));
    }
}

/// The accepted signatures of this repository.
pub fn seeds() -> Vec<Vec<u8>> {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden");
    let folders = std::fs::read_dir(golden).into_iter().flatten().flatten();
    let files = folders.flat_map(|case| std::fs::read_dir(case.path()).into_iter().flatten());
    let snapshots = files.flatten().filter(|file| {
        file.path()
            .extension()
            .is_some_and(|extension| extension == "snap")
    });
    snapshots
        .filter_map(|file| std::fs::read_to_string(file.path()).ok())
        // insta's header ends with the second line of dashes.
        .filter_map(|text| Some(text.splitn(3, "---\n").nth(2)?.as_bytes().to_vec()))
        .collect()
}

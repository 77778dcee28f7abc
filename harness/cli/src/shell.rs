//! Words for a POSIX shell, quoted. Runs none.

/// The word as a shell reads it back: quoted where it must be. A NUL, which no argument can have, is left out.
pub(crate) fn quote(word: &str) -> String {
    let word = word.replace('\0', "");
    shlex::try_quote(&word).map_or_else(|_| String::new(), std::borrow::Cow::into_owned)
}

/// A command line of these words.
pub(crate) fn line<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| quote(word.as_ref())).collect();
    words.join(" ")
}

//! The account of a crash that an engineer would write: facts from a dump or a text, composed to a [`story::Story`],
//! rendered in a language and a format. Reads no file and prints nothing.
pub(crate) mod compose;
pub(crate) mod facts;
pub(crate) mod findings;
pub(crate) mod from_account;
pub(crate) mod from_crash;
pub(crate) mod message;
pub(crate) mod others;
pub(crate) mod render;
pub(crate) mod story;
#[cfg(test)]
mod tests;
pub(crate) mod ties;

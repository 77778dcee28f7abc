//! The `recrash` command.
fn main() {}

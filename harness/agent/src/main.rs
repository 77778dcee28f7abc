//! Init of both boots.
fn main() {}

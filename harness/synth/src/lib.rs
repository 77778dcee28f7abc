//! Writes vmcores and debug information from scratch, for tests.

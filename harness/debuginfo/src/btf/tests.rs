//! Tests on BTF written by recrash-synth.

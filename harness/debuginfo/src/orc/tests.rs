//! Tests on tables written by recrash-synth.

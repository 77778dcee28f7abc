//! Symbols, types and unwind tables from bytes; knows no crashed memory.

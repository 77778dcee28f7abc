//! What identifies a crash: the model, the comparison, the golden store.

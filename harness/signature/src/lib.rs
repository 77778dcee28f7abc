//! What identifies a crash: the model, the comparison, the golden store.
//!
//! Pure data. It knows no addresses and reads no dump; the only files it touches are snapshots.

pub mod change;
pub mod compare;
pub mod matrix;
pub mod migrate;
pub mod model;
pub mod normalise;
pub mod schema;
pub mod store;
pub mod title;
pub mod triage;

pub use model::{Fact, Signature, Source};

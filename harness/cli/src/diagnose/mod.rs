//! Who freed the object, and what wrote into it: experiments with what a kernel offers, what each says under each
//! explanation, and what follows from what came. Pure: boots nothing, reads no dump and no file.
//!
//! Two sources count. The vmcore of a run with SLUB debugging has who allocated and freed each object, and what lies over
//! the poison of those that are free; the host's side has what the USB device was asked and answered, and when.
//! repro-module's own reports are the ground truth that tests hold the conclusion against: nothing here reads them.
pub(crate) mod conclude;
pub(crate) mod experiment;
pub(crate) mod offer;
pub(crate) mod order;
pub(crate) mod present;
pub(crate) mod record;
pub(crate) mod seen;
pub(crate) mod text;
pub(crate) mod weigh;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

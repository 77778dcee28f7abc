//! Many attempts at one plan: what each came to, what they come to together, and how that is shown. Boots nothing and
//! reads no dump: a verdict comes from [`crate::aftermath`] and stays as it is.
pub(crate) mod document;
pub(crate) mod interval;
pub(crate) mod record;
pub(crate) mod tally;
pub(crate) mod text;

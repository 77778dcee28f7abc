//! A document as a page that stands alone: no network, no framework, no script. Sees finished data only; maud escapes
//! all text.
use super::document::Document;
use super::emit::Links;
use maud::{DOCTYPE, html};

/// The page.
pub(crate) fn page(document: &Document, _links: &Links<'_>) -> String {
    html! { (DOCTYPE) html { body { h1 { (document.headline) } } } }.into_string()
}

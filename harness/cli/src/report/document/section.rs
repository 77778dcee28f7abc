//! Headed pieces of a document whose meaning only their command knows: text, facts, tables, lines. No layout is here.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Fact;

/// A headed piece.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Section {
    /// Its heading.
    pub(crate) heading: String,
    /// What stands below it, in order.
    pub(crate) blocks: Vec<Block>,
    /// It is for those who want to know more: folded where that is possible.
    #[serde(default)]
    pub(crate) detail: bool,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Block {
    /// A paragraph.
    Text {
        /// It.
        text: String,
    },
    /// Named statements, each with what it rests on.
    Facts {
        /// They.
        facts: Vec<Fact>,
    },
    /// A table.
    Table(Table),
    /// An enumeration.
    List {
        /// Its items.
        items: Vec<String>,
    },
    /// Lines as a program wrote them.
    Lines {
        /// They.
        lines: Vec<String>,
    },
}

/// A table. Rows that are too short are filled with empty cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) caption: String,
    /// Headings of its columns.
    pub(crate) columns: Vec<String>,
    /// Its rows.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Section {
    /// A section without anything in it.
    pub(crate) fn new(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            blocks: Vec::new(),
            detail: false,
        }
    }

    /// The same, for those who want to know more.
    pub(crate) fn detail(self) -> Self {
        Self {
            detail: true,
            ..self
        }
    }

    /// The same with a paragraph more.
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text { text: text.into() });
        self
    }

    /// The same with facts.
    pub(crate) fn facts(mut self, facts: Vec<Fact>) -> Self {
        self.blocks.push(Block::Facts { facts });
        self
    }

    /// The same with an enumeration.
    pub(crate) fn list(mut self, items: Vec<String>) -> Self {
        self.blocks.push(Block::List { items });
        self
    }

    /// The same with lines.
    pub(crate) fn lines(mut self, lines: Vec<String>) -> Self {
        self.blocks.push(Block::Lines { lines });
        self
    }

    /// The same with a table.
    pub(crate) fn table<'c>(
        mut self,
        caption: impl Into<String>,
        columns: impl IntoIterator<Item = &'c str>,
        rows: Vec<Vec<String>>,
    ) -> Self {
        self.blocks.push(Block::Table(Table {
            caption: caption.into(),
            columns: columns.into_iter().map(str::to_owned).collect(),
            rows,
        }));
        self
    }
}

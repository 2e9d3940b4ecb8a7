//! The room as a whole: a table of texts and what they must come to, and properties that hold of all texts.

mod naive;
mod properties;
mod settings;
mod table;

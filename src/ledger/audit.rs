//! Who changed what: edits of connections, jobs and chains.

use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::Ledger;
use super::values::time;
use crate::error::Result;

/// An edit that was just made. Never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEdit {
    /// Who: a person's login name, or `sf2gs` for changes that it made by itself.
    pub actor: String,
    /// What: `create`, `edit`, `delete`, `link`, …
    pub action: String,
    /// Of what: `connection salesforce`, `job company_sync`, …
    pub subject: String,
    /// As it was, as text.
    pub before: Option<String>,
    /// As it is now, as text.
    pub after: Option<String>,
}

/// An edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What was done.
    pub edit: NewEdit,
}

impl Ledger {
    /// Notes an edit.
    pub fn record_edit(&self, edit: &NewEdit) -> Result<i64> {
        let now = self.now();
        self.write(|tx| {
            tx.execute(
                "INSERT INTO edits (at, actor, action, subject, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![now, edit.actor, edit.action, edit.subject, edit.before, edit.after],
            )?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// Every edit, newest first.
    pub fn edits(&self) -> Result<Vec<Edit>> {
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM edits ORDER BY id DESC")?;
            let rows = statement.query_map([], from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Edit> {
    Ok(Edit {
        id: row.get("id")?,
        at: time(row, "at")?,
        edit: NewEdit {
            actor: row.get("actor")?,
            action: row.get("action")?,
            subject: row.get("subject")?,
            before: row.get("before")?,
            after: row.get("after")?,
        },
    })
}

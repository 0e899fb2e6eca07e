//! How fresh each mirror of a Gainsight object is.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};

use super::Ledger;
use super::values::{json, micros, time};
use crate::error::Error;
use crate::error::Result;

/// What a mirror holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorState {
    /// The fields that it was read with; a job that needs more makes it be read anew.
    pub fields: Vec<String>,
    /// Changes before this time are in it; the next refresh asks for later ones.
    pub refreshed_until: DateTime<Utc>,
}

impl Ledger {
    /// The state of a mirror; `None` if the object was never read.
    pub fn mirror_state(&self, connection: &str, object: &str) -> Result<Option<MirrorState>> {
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM mirrors WHERE connection = ?1 AND object = ?2")?;
            let state = statement.query_row([connection, object], |row| {
                Ok(MirrorState { fields: json(row, "fields")?, refreshed_until: time(row, "refreshed_until")? })
            });
            Ok(state.optional()?)
        })
    }

    /// Notes the state of a mirror, after its snapshot was committed.
    pub fn set_mirror_state(&self, connection: &str, object: &str, state: &MirrorState) -> Result<()> {
        let fields = serde_json::to_string(&state.fields)
            .map_err(|e| Error::bug("the fields of a mirror cannot be written as JSON").source(e))?;
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO mirrors (connection, object, fields, refreshed_until) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![connection, object, fields, micros(state.refreshed_until)])?;
            Ok(())
        })
    }

    /// Forgets a mirror, so that it is read anew.
    pub fn forget_mirror(&self, connection: &str, object: &str) -> Result<()> {
        self.write(|tx| {
            tx.execute("DELETE FROM mirrors WHERE connection = ?1 AND object = ?2", [connection, object])?;
            Ok(())
        })
    }
}

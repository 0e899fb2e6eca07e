//! The token store: secrets that the program was given by a remote system and must keep.

use rusqlite::{OptionalExtension, params};

use super::Ledger;
use crate::error::Result;
use crate::telemetry::Secret;

impl Ledger {
    /// A token of a connection.
    pub fn token(&self, connection: &str, name: &str) -> Result<Option<Secret>> {
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT value FROM tokens WHERE connection = ?1 AND name = ?2")?;
            Ok(statement.query_row([connection, name], |row| row.get::<_, String>(0)).optional()?.map(Secret::new))
        })
    }

    /// Keeps a token, safe against a power cut: the one that it replaces may no longer be valid.
    pub fn store_token(&self, connection: &str, name: &str, value: &Secret) -> Result<()> {
        let now = self.now();
        self.write_durably(|tx| {
            tx.execute(
                "INSERT OR REPLACE INTO tokens (connection, name, value, stored_at) VALUES (?1, ?2, ?3, ?4)",
                params![connection, name, value.reveal(), now],
            )?;
            Ok(())
        })
    }

    /// Forgets every token of a connection; says how many there were.
    pub fn forget_tokens(&self, connection: &str) -> Result<usize> {
        self.write_durably(|tx| Ok(tx.execute("DELETE FROM tokens WHERE connection = ?1", [connection])?))
    }
}

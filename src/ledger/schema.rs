//! The tables, and the steps from one version of them to the next.
//!
//! A step is never changed after it has landed: a new one is added, and `user_version` counts those done. Times are
//! microseconds since the epoch, UTC.

use rusqlite::Connection;

use crate::error::Error;
use crate::error::Result;

const STEPS: &[&str] = &[
    // 1: the first tables
    "
    CREATE TABLE runs (
        id            TEXT PRIMARY KEY,
        job           TEXT NOT NULL,
        chain_run     TEXT,              -- the runs that one start of a chain made share it
        chain         TEXT,
        chain_order   INTEGER,
        status        TEXT NOT NULL,
        attempts      INTEGER NOT NULL DEFAULT 1,
        started_at    INTEGER NOT NULL,
        ended_at      INTEGER,
        from_at       INTEGER,
        until_at      INTEGER,
        full_read     INTEGER NOT NULL,
        source_hash   TEXT NOT NULL,
        spec_hash     TEXT NOT NULL,
        extracted     INTEGER NOT NULL DEFAULT 0,
        retried       INTEGER NOT NULL DEFAULT 0,
        deleted       INTEGER NOT NULL DEFAULT 0,
        inserted      INTEGER NOT NULL DEFAULT 0,
        updated       INTEGER NOT NULL DEFAULT 0,
        unchanged     INTEGER NOT NULL DEFAULT 0,
        rejected      INTEGER NOT NULL DEFAULT 0,
        refs          INTEGER NOT NULL DEFAULT 0,
        calls         TEXT NOT NULL DEFAULT '{}',
        error         TEXT
    ) STRICT;
    CREATE INDEX runs_by_job ON runs (job, started_at);
    CREATE INDEX runs_by_chain ON runs (chain_run) WHERE chain_run IS NOT NULL;

    CREATE TABLE steps (
        run           TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        ordinal       INTEGER NOT NULL,
        attempt       INTEGER NOT NULL,
        step          TEXT NOT NULL,
        ended_at      INTEGER NOT NULL,
        rows          INTEGER NOT NULL,
        detail        TEXT NOT NULL,
        PRIMARY KEY (run, ordinal)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE landed (
        run           TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        name          TEXT NOT NULL,
        sequence      INTEGER NOT NULL,
        version       INTEGER NOT NULL,
        rows          INTEGER NOT NULL,
        deleted       INTEGER NOT NULL,
        PRIMARY KEY (run, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE chunks (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        run           TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        route         TEXT NOT NULL,
        object        TEXT NOT NULL,
        rows          INTEGER NOT NULL,
        keys_hash     TEXT NOT NULL,
        status_id     TEXT,              -- the remote system's name of an asynchronous piece of work
        begun_at      INTEGER NOT NULL,
        ended_at      INTEGER,
        inserted      INTEGER NOT NULL DEFAULT 0,
        updated       INTEGER NOT NULL DEFAULT 0,
        rejected      INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX chunks_by_run ON chunks (run);
    CREATE INDEX chunks_open ON chunks (run) WHERE ended_at IS NULL;

    CREATE TABLE watermarks (
        job           TEXT PRIMARY KEY,
        until_at      INTEGER NOT NULL,
        source_hash   TEXT NOT NULL,
        spec_hash     TEXT NOT NULL,
        run           TEXT NOT NULL
    ) STRICT;

    CREATE TABLE pending (
        job           TEXT NOT NULL,
        source_id     TEXT NOT NULL,
        code          TEXT NOT NULL,
        field         TEXT,
        run           TEXT NOT NULL,     -- the run that left it
        PRIMARY KEY (job, source_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE leases (
        job           TEXT PRIMARY KEY,
        token         TEXT NOT NULL,
        run           TEXT,
        machine       TEXT NOT NULL,
        process       INTEGER NOT NULL,
        process_start TEXT NOT NULL,
        acquired_at   INTEGER NOT NULL,
        heartbeat_at  INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE remote_jobs (
        connection    TEXT NOT NULL,
        id            TEXT NOT NULL,
        run           TEXT NOT NULL,
        created_at    INTEGER NOT NULL,
        done_at       INTEGER,
        PRIMARY KEY (connection, id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE mirrors (
        connection      TEXT NOT NULL,
        object          TEXT NOT NULL,
        fields          TEXT NOT NULL,
        refreshed_until INTEGER NOT NULL,
        PRIMARY KEY (connection, object)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE tokens (
        connection    TEXT NOT NULL,
        name          TEXT NOT NULL,
        value         TEXT NOT NULL,
        stored_at     INTEGER NOT NULL,
        PRIMARY KEY (connection, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE edits (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        at            INTEGER NOT NULL,
        actor         TEXT NOT NULL,
        action        TEXT NOT NULL,
        subject       TEXT NOT NULL,
        before        TEXT,
        after         TEXT
    ) STRICT;
    ",
    // 2: what a row waits for
    "ALTER TABLE pending ADD COLUMN wants TEXT;",
    // 3: the list by numbers of what its rows wait for, so that a run need not read it all. What the rows waited for until
    // now is not known any more; each is tried again once.
    "
    CREATE TABLE pending_lists (
        id            INTEGER PRIMARY KEY,
        job           TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE pending_rows (
        list          INTEGER NOT NULL,
        source_id     TEXT NOT NULL,
        want          INTEGER NOT NULL,  -- 0: tried again each time
        PRIMARY KEY (list, source_id, want)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX pending_rows_by_want ON pending_rows (list, want);

    INSERT INTO pending_lists (job) SELECT DISTINCT job FROM pending;
    INSERT INTO pending_rows SELECT id, source_id, 0 FROM pending JOIN pending_lists USING (job);
    DROP TABLE pending;
    ",
];

/// Takes every step that the file has not seen. Two processes may try at once: the second finds nothing to do.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    if version(connection)? == STEPS.len() {
        return Ok(());
    }
    super::commit(connection, |transaction| {
        let done = version(transaction)?;
        if done > STEPS.len() {
            return Err(Error::config(format!(
                "the ledger was written by a newer sf2gs (its tables have version {done}, this program knows {})",
                STEPS.len()
            ))
            .hint("use the newer program for this project"));
        }
        for step in STEPS.iter().skip(done) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", i64::try_from(STEPS.len()).unwrap_or(i64::MAX))?;
        Ok(())
    })
}

fn version(connection: &Connection) -> Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_an_older_program_is_tried_again() {
        let mut connection = Connection::open_in_memory().unwrap();
        for step in &STEPS[..2] {
            connection.execute_batch(step).unwrap();
        }
        connection.pragma_update(None, "user_version", 2).unwrap();
        for (job, id, wants) in [("a", "1", Some("[\"key\"]")), ("a", "2", None), ("b", "1", None)] {
            let row = "INSERT INTO pending (job, source_id, code, run, wants) VALUES (?1, ?2, 'code', 'run', ?3)";
            connection.execute(row, (job, id, wants)).unwrap();
        }
        migrate(&mut connection).unwrap();
        let rows = "SELECT job || source_id || want FROM pending_rows JOIN pending_lists ON list = id ORDER BY 1";
        let mut rows = connection.prepare(rows).unwrap();
        let rows: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, ["a10", "a20", "b10"]);
    }
}

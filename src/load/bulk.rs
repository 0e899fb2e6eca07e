//! Bulk import: rows as CSV files into a job of the tenant, and what became of each row.
//!
//! The failed rows' file names the refused rows with their reasons. Where the status names no such file, the records
//! that were modified since are read back by key, and the rows that are not among them go by REST, which says why.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::json;

use crate::connect::gainsight::BulkFile;
use crate::connect::gainsight::CellError;
use crate::connect::gainsight::FailedRows;
use crate::connect::gainsight::GainsightClient;
use crate::connect::gainsight::ImportPhase;
use crate::connect::gainsight::ImportStatus;
use crate::connect::gainsight::Operator;
use crate::connect::gainsight::PAGE_ROWS;
use crate::connect::gainsight::Query;
use crate::error::Error;
use crate::error::Result;

use super::blame;
use super::decided::Act;
use super::decided::Row;
use super::encode;
use super::lookup;
use super::plan::REST_ROWS;
use super::sender::Sender;
use super::sender::Settled;

/// Longest wait between two questions how an import stands.
const LONGEST: Duration = Duration::from_secs(20);

/// An import is waited for at most so long.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// Files that are sent, or wait for their result, at once: each holds its rows in memory.
pub(super) const IN_FLIGHT: usize = 3;

/// Rows on their way into one file.
#[derive(Debug)]
pub(super) struct Filling {
    job_id: String,
    limit: usize,
    file: BulkFile,
    rows: Vec<Row>,
}

/// A full file with its rows.
#[derive(Debug)]
pub(super) struct Full {
    file: BulkFile,
    rows: Vec<Row>,
}

impl Full {
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }
}

/// Whether a bulk file can say what a row needs: an empty cell must not be able to clear what shall be kept, and is not
/// sure to clear what shall be cleared.
pub(super) fn can_carry(row: &Row) -> bool {
    match row.act() {
        Act::Insert => true,
        Act::Update => {
            let fields = &row.layout().fields;
            !row.clears()
                && !fields.iter().enumerate().any(|(at, field)| field.keep && row.cells(at).is_empty(row.at()))
        }
    }
}

impl Filling {
    pub(super) fn new(job_id: &str, limit: usize) -> Self {
        Self { job_id: job_id.to_owned(), limit, file: BulkFile::new(job_id), rows: Vec::new() }
    }

    /// Adds a row; gives back the file that it no longer fitted into.
    pub(super) fn push(&mut self, row: Row) -> Option<Full> {
        if self.rows.is_empty() {
            encode::csv_header(row.layout(), self.file.csv());
        }
        let before = self.file.len();
        encode::csv_row(&row, self.file.csv());
        if self.file.len() <= self.limit || self.rows.is_empty() {
            self.rows.push(row);
            return None;
        }
        self.file.truncate(before);
        let full = self.take();
        encode::csv_header(row.layout(), self.file.csv());
        encode::csv_row(&row, self.file.csv());
        self.rows.push(row);
        full
    }

    /// What has been gathered, if anything.
    pub(super) fn take(&mut self) -> Option<Full> {
        if self.rows.is_empty() {
            return None;
        }
        let file = std::mem::replace(&mut self.file, BulkFile::new(&self.job_id));
        Some(Full { file, rows: std::mem::take(&mut self.rows) })
    }
}

impl Sender {
    /// Sends a file and settles its rows.
    pub(super) async fn import(self: Arc<Self>, full: Full) -> Result<Settled> {
        let Full { file, rows } = full;
        let chunk = self.begin("bulk", &rows)?;
        let started = self.client.tenant_time();
        let status_id = self.client.bulk_import(file).await?.map_err(|refusal| {
            Error::config(format!("Gainsight refused the bulk import: {} ({})", refusal.description, refusal.code))
                .hint("check the connection's bulk job, login and org id against the job's page in Gainsight")
        })?;
        self.ledger.note_status_id(chunk, &status_id)?;
        let status = wait_for_import(&self.client, &status_id).await?;
        let settled = self.settle_import(rows, &status, started).await?;
        self.end(chunk, settled)
    }

    async fn settle_import(
        &self,
        rows: Vec<Row>,
        status: &ImportStatus,
        started: chrono::DateTime<chrono::Utc>,
    ) -> Result<Settled> {
        let count = rows.len() as u64;
        if let Some(total) = status.total
            && total != count
        {
            return Err(Error::integrity(format!("a bulk import of {count} rows was counted as {total} by Gainsight"))
                .hint("run the same command again: it compares with what arrived"));
        }
        let failed = status.failed.or_else(|| Some(count.saturating_sub(status.succeeded?))).unwrap_or(0);
        let mut settled = Settled::default();
        if failed < count {
            self.went_well();
        }
        if failed == 0 {
            settled.accept(&rows);
            return Ok(settled);
        }
        if let Some(address) = &status.failed_rows {
            let failures = self.client.failed_rows(address).await?;
            let bad = match_failures(&rows, &failures);
            if bad.len() as u64 == failed {
                for (at, row) in rows.iter().enumerate() {
                    match bad.get(&at) {
                        Some(error) => settled.rejects.push(blame::reject(row, error)),
                        None => settled.accept([row]),
                    }
                }
                return Ok(settled);
            }
            tracing::warn!(
                object = %self.target,
                "The failed rows of a bulk import name {} of {failed} rows; reading the records back.",
                bad.len(),
            );
        }
        self.settle_by_reading_back(rows, started).await
    }

    /// Sends by REST what was not modified since the import began; its answers say why.
    async fn settle_by_reading_back(&self, rows: Vec<Row>, started: chrono::DateTime<chrono::Utc>) -> Result<Settled> {
        let keys = lookup::key_fields(&rows);
        let written = self.modified_since(&rows, &keys, started).await?;
        let (done, left): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| lookup::key_of(row, &keys).is_some_and(|key| written.contains(&key)));
        let mut settled = Settled::default();
        settled.accept(&done);
        let (inserts, updates): (Vec<Row>, Vec<Row>) = left.into_iter().partition(|row| row.act() == Act::Insert);
        for (act, rows) in [(Act::Insert, inserts), (Act::Update, updates)] {
            for some in rows.chunks(REST_ROWS) {
                settled.add(self.settle(act, some.to_vec()).await?);
            }
        }
        Ok(settled)
    }

    /// Keys of the records that were modified at or after `since`.
    async fn modified_since(
        &self,
        rows: &[Row],
        keys: &[usize],
        since: chrono::DateTime<chrono::Utc>,
    ) -> Result<HashSet<Vec<String>>> {
        let Some(any) = rows.first() else { return Ok(HashSet::new()) };
        let fields = &any.layout().fields;
        let names: Vec<&str> = keys.iter().map(|key| &*fields[*key].name).collect();
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut found = HashSet::new();
        let mut last: Option<String> = None;
        loop {
            let mut query = Query::select(std::iter::once("Gsid").chain(names.iter().copied()))
                .filter("ModifiedDate", Operator::Gte, vec![json!(since)])
                .order_by("Gsid");
            if let Some(last) = &last {
                query = query.filter("Gsid", Operator::Gt, vec![json!(last)]);
            }
            let page = self.client.query(self.target.primary(), &query).await?.values()?;
            for record in &page {
                let key: Option<Vec<String>> = keys
                    .iter()
                    .map(|key| {
                        lookup::normal(&lookup::member(record, &fields[*key].name)?, fields[*key].metadata.data_type)
                    })
                    .collect();
                found.extend(key);
            }
            last = page.last().and_then(|record| lookup::member(record, "Gsid"));
            if page.len() < PAGE_ROWS as usize || last.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Which row of the file each failed row is: found by all cells of its key columns.
fn match_failures(rows: &[Row], failures: &FailedRows) -> HashMap<usize, CellError> {
    let Some(any) = rows.first() else { return HashMap::new() };
    let fields = &any.layout().fields;
    let place = |name: &str| failures.columns.iter().position(|column| column.eq_ignore_ascii_case(name));
    // All columns that both sides have: two rows may share a key, and then differ elsewhere.
    let shared: Vec<(usize, usize)> =
        fields.iter().enumerate().filter_map(|(at, field)| Some((at, place(&field.name)?))).collect();
    let mut places: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
    let wanted: HashSet<Vec<String>> = failures.rows.iter().map(|(cells, _)| cells_of(cells, &shared)).collect();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<String> = shared
            .iter()
            .map(|(field, _)| row.cells(*field).text(row.at()).map(|text| text.into_owned()).unwrap_or_default())
            .collect();
        if wanted.contains(&cells) {
            places.entry(cells).or_default().push(at);
        }
    }
    let mut bad = HashMap::new();
    for (cells, reason) in &failures.rows {
        let found =
            places.get_mut(&cells_of(cells, &shared)).filter(|left| !left.is_empty()).map(|left| left.remove(0));
        if let Some(at) = found {
            bad.insert(at, read_reason(reason, &rows[at]));
        }
    }
    bad
}

fn cells_of(cells: &[String], shared: &[(usize, usize)]) -> Vec<String> {
    shared.iter().map(|(_, column)| cells.get(*column).cloned().unwrap_or_default()).collect()
}

/// A reason such as `GSOBJ_1012: Invalid/Inactive value provided for picklist. (Stage = xyz).` in its parts.
///
/// Of several reasons the first one counts.
fn read_reason(reason: &str, row: &Row) -> CellError {
    let reason = reason.split("; GSOBJ_").next().unwrap_or(reason);
    let (code, rest) = match reason.find("GSOBJ_") {
        Some(start) => {
            let end = reason[start..]
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(reason.len(), |e| start + e);
            (reason[start..end].to_owned(), reason[end..].trim_start_matches([':', ' ', '-']))
        }
        None => (String::new(), reason),
    };
    let field = reason.rfind('(').and_then(|open| {
        let name = reason[open + 1..].split('=').next()?.trim();
        row.layout().fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.name.clone())
    });
    let message = if rest.is_empty() { reason } else { rest };
    CellError { code, message: message.to_owned(), field, ..CellError::default() }
}

/// Asks how an import stands until it is over.
pub(super) async fn wait_for_import(client: &GainsightClient, status_id: &str) -> Result<ImportStatus> {
    let mut waited = Duration::ZERO;
    let mut wait = super::first_question(client);
    loop {
        tokio::time::sleep(wait).await;
        let status = client.import_status(status_id).await?;
        match status.phase {
            ImportPhase::Completed => return Ok(status),
            ImportPhase::Failed => {
                return Err(Error::unavailable("a bulk import ended without a result")
                    .hint("look at the job's execution log in Gainsight, then run the same command again")
                    .context("status", status_id));
            }
            ImportPhase::Running => {}
        }
        waited += wait;
        if waited > PATIENCE {
            return Err(Error::unavailable("Gainsight has not finished a bulk import in four hours")
                .hint("run the same command again later; it resumes")
                .context("status", status_id));
        }
        wait = super::next_question(client, waited, wait, LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::decided::Decided;
    use crate::load::decided::Layout;
    use crate::load::samples;

    fn rows() -> Vec<Row> {
        let (batch, job, metadata) = samples::companies(&[
            ("insert", "A, \"x\"", Some("0015g00000AbCdEAAV"), Some("xyz"), None),
            ("insert", "A", Some("0015g00000AbCdEAAV"), None, None),
            ("update", "C", Some("0015g00000AbCdFAAV"), None, Some("company.Name")),
        ]);
        let layout = Arc::new(Layout::new(&batch.schema(), &job, &metadata).unwrap());
        let decided = Arc::new(Decided::new(&batch, &layout).unwrap());
        (0..3).map(|at| Row::new(&decided, at)).collect()
    }

    #[test]
    fn files_stay_below_their_limit_and_each_has_the_header() {
        let mut filling = Filling::new("job", 80);
        let mut full = Vec::new();
        for row in rows() {
            full.extend(filling.push(row));
        }
        full.extend(filling.take());
        assert_eq!(full.iter().map(Full::rows).collect::<Vec<_>>(), [1, 2]);
        assert!(full.iter().all(|full| full.file.len() <= 80));
    }

    #[test]
    fn failed_rows_are_found_by_their_cells_and_keep_their_reason() {
        let rows = rows();
        let reason = "GSOBJ_1012: Invalid/Inactive value provided for picklist. (Stage = xyz).";
        let failures = FailedRows {
            columns: ["Name", "SfdcAccountId", "Stage"].map(str::to_owned).into(),
            rows: vec![(["A, \"x\"", "0015g00000AbCdEAAV", "xyz"].map(str::to_owned).into(), reason.to_owned())],
        };
        let bad = match_failures(&rows, &failures);
        assert_eq!(bad.keys().collect::<Vec<_>>(), [&0]);
        assert_eq!(bad[&0].code, "GSOBJ_1012");
        assert_eq!(bad[&0].field.as_deref(), Some("Stage"));
    }
}

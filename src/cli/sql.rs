//! `sf2gs sql "…"`.

use std::io::Read;
use std::sync::Arc;

use clap::Args;
use datafusion::arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::error::Result;
use crate::pipeline::query_session;

use super::{Outcome, Shared, output};

/// Arguments of `sql`.
#[derive(Debug, Args)]
pub(super) struct SqlArguments {
    /// The query; `-` reads it from stdin. Tables: lake.<connection>.<table>, activity.runs, .steps, .chunks,
    /// .verdicts, .rejects. Salesforce and Gainsight names are written in double quotes: SELECT "Name" FROM lake.salesforce.account
    #[arg(value_name = "QUERY")]
    query: String,
}

pub(super) async fn sql(shared: Shared, arguments: SqlArguments) -> Result<Outcome> {
    let query = if arguments.query == "-" { read_stdin()? } else { arguments.query };
    let world = shared.world().await?;
    let session = query_session(&world).await?;
    let frame = session.sql(&query).await.map_err(|e| explain(Error::from(e)))?;
    let schema = Arc::clone(frame.schema().inner());
    let mut batches = frame.collect().await.map_err(|e| explain(Error::from(e)))?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    output::rows(shared.format, &batches)?;
    Ok(Outcome::Done)
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Error::config("the query could not be read from stdin").source(e))?;
    Ok(text)
}

/// Whatever the engine says of a query that a person typed is theirs to edit, and most often it is a missing quote.
fn explain(error: Error) -> Error {
    if error.kind() == crate::error::ErrorKind::Config && error.hint_text().is_none() {
        return error.hint(
            "write Salesforce and Gainsight names in double quotes, such as \"SfdcAccountId\"; \
             `SELECT table_catalog, table_schema, table_name FROM information_schema.tables` lists the tables",
        );
    }
    error
}

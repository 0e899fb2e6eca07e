//! Answers on stdout in four forms, everything else on stderr.

use std::io::{self, IsTerminal, Write};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::json::{ArrayWriter, LineDelimitedWriter};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::Error;
use crate::error::Result;

/// Width of a table where there is no terminal to ask.
const PAGE_WIDTH: u16 = 150;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Ndjson,
    /// Comma separated, with a header line
    Csv,
}

/// Writes rows to stdout.
pub(crate) fn rows(format: Format, batches: &[RecordBatch]) -> Result<()> {
    let stdout = io::stdout().lock();
    let mut out = io::BufWriter::new(stdout);
    match format {
        Format::Table => {
            writeln!(out, "{}", table(batches)?).map_err(stdout_error)?;
        }
        Format::Json => {
            let mut writer = ArrayWriter::new(&mut out);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
            writeln!(out).map_err(stdout_error)?;
        }
        Format::Ndjson => {
            let mut writer = LineDelimitedWriter::new(&mut out);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
        }
        Format::Csv => {
            let mut writer = WriterBuilder::new().with_header(true).build(&mut out);
            for batch in batches {
                writer.write(batch)?;
            }
        }
    }
    out.flush().map_err(stdout_error)
}

/// Writes nested values to stdout: as JSON, or one a line. There is no table of them.
pub(crate) fn document(format: Format, values: &[serde_json::Value]) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match format {
        Format::Csv => {
            return Err(Error::config("this answer is nested, and CSV is not").hint("use --format json or ndjson"));
        }
        Format::Ndjson => values.iter().try_for_each(|value| writeln!(out, "{value}")),
        Format::Json | Format::Table => writeln!(out, "{}", serde_json::Value::from(values.to_vec())),
    };
    written.and_then(|()| out.flush()).map_err(stdout_error)
}

/// Writes one line of an answer to stdout.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(stdout_error)
}

/// Says something on stderr. A closed stderr cannot be told about.
pub(crate) fn tell(text: &str) {
    if writeln!(io::stderr().lock(), "{text}").is_err() {
        tracing::debug!("stderr is closed");
    }
}

/// Tells an error on stderr.
pub(crate) fn complain(text: &str) {
    tell(text);
}

fn stdout_error(error: io::Error) -> Error {
    Error::unavailable("the answer could not be written to stdout").source(error)
}

/// Whether the reader of our stdout went away, as `head` does: not an error.
pub(crate) fn is_closed_pipe(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = current.source();
    }
    error.message().contains("Broken pipe")
}

/// Rows as a table for people: numbers to the right, nulls blank.
pub(crate) fn table(batches: &[RecordBatch]) -> Result<Table> {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        table.set_width(PAGE_WIDTH);
    }
    let Some(first) = batches.first() else { return Ok(table) };
    let schema = first.schema();
    table.set_header(schema.fields().iter().map(|field| field.name().clone()));
    for (index, field) in schema.fields().iter().enumerate() {
        if is_number(field.data_type())
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let options = FormatOptions::default();
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells =
                columns.iter().map(|column| column.value(row).try_to_string()).collect::<Result<Vec<_>, _>>()?;
            table.add_row(cells);
        }
    }
    Ok(table)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

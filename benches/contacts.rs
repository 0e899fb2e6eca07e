//! Contacts for the micro benchmarks: eleven columns, always the same rows.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::datatypes::TimeUnit;

/// Rows of a run: few where `cargo bench -- --test` only asks whether it works, `SF2GS_BENCH_ROWS` where it is set.
pub(crate) fn asked_rows(rows: usize) -> usize {
    let asked = std::env::var("SF2GS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    asked.unwrap_or(if only_tested() { 500.min(rows) } else { rows })
}

/// Whether `cargo bench -- --test` only asks if it works.
pub(crate) fn only_tested() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// The columns, with Salesforce's types as an extract has them.
pub(crate) fn schema() -> SchemaRef {
    let columns = [
        ("Id", "id"),
        ("AccountId", "reference"),
        ("FirstName", "string"),
        ("LastName", "string"),
        ("Email", "email"),
        ("Title", "string"),
        ("Phone", "phone"),
        ("MailingCity", "string"),
        ("ReportsToId", "reference"),
        ("SystemModstamp", "datetime"),
        ("IsDeleted", "boolean"),
    ];
    let field = |(name, kind): (&str, &str)| {
        let data_type = match kind {
            "datetime" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "boolean" => DataType::Boolean,
            _ => DataType::Utf8,
        };
        Field::new(name, data_type, true).with_metadata(HashMap::from([("sf.type".to_owned(), kind.to_owned())]))
    };
    Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

/// A result page as Bulk API 2.0 sends it: every value quoted, quotes doubled.
pub(crate) fn page(rows: usize) -> Vec<u8> {
    const TITLES: [&str; 4] = ["VP, Engineering", "Chief \"\"Happiness\"\" Officer", "Geschäftsführer", ""];
    const CITIES: [&str; 5] = ["Zürich", "New York", "東京", "São Paulo", ""];
    let names: Vec<String> = schema().fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
    let mut text = names.join(",");
    text.push('\n');
    for row in 0..rows {
        let manager = if row % 3 == 0 { String::new() } else { format!("003Sb{:010}IAA", row / 3) };
        let written = writeln!(
            text,
            "\"003Sb{row:010}IAA\",\"001Sb{:010}IAA\",\"Jane{}\",\"Doe{}\",\"Jane.Doe{row}@example{}.org\",\"{}\",\
             \"+1 555 {:07}\",\"{}\",\"{manager}\",\"2026-{:02}-{:02}T{:02}:26:07.000Z\",\"{}\"",
            row / 10,
            row % 5_000,
            row % 70_000,
            row % 977,
            TITLES[row % 4],
            row % 9_999_999,
            CITIES[row % 5],
            row % 12 + 1,
            row % 28 + 1,
            row % 24,
            row % 1_000 == 500,
        );
        debug_assert!(written.is_ok());
    }
    text.into_bytes()
}

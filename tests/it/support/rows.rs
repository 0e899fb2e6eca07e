//! Rows of any types as texts that can be compared.

use arrow::array::RecordBatch;
use arrow::util::display::ArrayFormatter;
use arrow::util::display::FormatOptions;

/// One text a row, sorted; null is not the text that looks like it.
pub(crate) fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅").with_timestamp_tz_format(Some("%+"));
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|column| format!("{:?}", column.value(row).to_string())).collect();
            rows.push(cells.join(","));
        }
    }
    rows.sort();
    rows
}

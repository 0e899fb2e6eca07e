//! A page of records, or a chunk of an export → one batch, column by column, without a value per cell.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use crate::connect::gainsight::ObjectMetadata;
use crate::error::Error;
use crate::error::Result;
use crate::extract::split;
use crate::extract::split::Scanned;

use super::columns::Column;
use super::json::Cell;
use super::json::Malformed;
use super::json::Reader;

/// Turns pages into batches of one schema.
pub(super) struct Decoder {
    schema: SchemaRef,
    object: String,
    columns: Vec<Column>,
}

/// Why a page cannot be decoded.
enum Fault {
    Json(usize),
    Cell { column: usize, value: String },
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Json(malformed.0)
    }
}

/// One page on its way.
struct Page<'d> {
    columns: &'d mut [Column],
    rows: usize,
    /// Rows that each column holds, so that a repeated or missing key is noticed.
    filled: Vec<usize>,
    /// The column that the next key is expected to name: records repeat their order.
    next: usize,
}

impl Decoder {
    pub(super) fn new(schema: &SchemaRef, metadata: &ObjectMetadata) -> Self {
        let columns = schema.fields().iter().map(|field| Column::new(field, metadata)).collect();
        Self { schema: Arc::clone(schema), object: metadata.name.clone(), columns }
    }

    /// Decodes one page: a JSON array of records.
    pub(super) fn decode(&mut self, page: &[u8]) -> Result<RecordBatch> {
        let text = std::str::from_utf8(page)
            .map_err(|e| Error::integrity(format!("records of `{}` are not UTF-8", self.object)).source(e))?;
        let filled = vec![0; self.columns.len()];
        let mut state = Page { columns: &mut self.columns, rows: 0, filled, next: 0 };
        let outcome = Reader::new(text).records(&mut state, Page::cell, Page::end);
        let rows = state.rows;
        outcome.map_err(|fault| match fault {
            Fault::Json(at) => Error::integrity(format!("records of `{}` are broken JSON at byte {at}", self.object))
                .hint("nothing was landed; run again"),
            Fault::Cell { column, value } => self.bad_cell(rows + 1, column, &value),
        })?;
        self.batch()
    }

    /// Decodes one chunk of an export: CSV whose first row names the fields. Other fields than those asked for are
    /// passed over.
    pub(super) fn decode_export(&mut self, csv: &[u8]) -> Result<RecordBatch> {
        let broken = |rows: usize, why: &str| {
            Error::integrity(format!("an export of `{}` is no CSV after row {rows}: {why}", self.object))
        };
        let text = std::str::from_utf8(csv).map_err(|e| broken(0, "it is not UTF-8").source(e))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (bytes, mut cells, mut scratch) = (text.as_bytes(), Vec::new(), String::new());
        let Scanned::Record(mut at) = split::scan(bytes, true, &mut cells) else {
            return Err(broken(0, "its header row is missing"));
        };
        let mut places = Vec::with_capacity(cells.len());
        for span in &cells {
            let name = split::text(text, *span, &mut scratch);
            places.push(self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name)));
        }
        if let Some((_, column)) = self.columns.iter().enumerate().find(|(at, _)| !places.contains(&Some(*at))) {
            return Err(broken(0, &format!("it has no `{}`", column.name)));
        }
        let mut rows = 0;
        while at < bytes.len() {
            match split::scan(&bytes[at..], true, &mut cells) {
                Scanned::Incomplete => break, // blank lines at the end
                Scanned::Malformed => return Err(broken(rows, "a quote stands where none may be")),
                Scanned::Record(_) if cells.len() != places.len() => {
                    return Err(broken(rows, &format!("a row has {} cells", cells.len())));
                }
                Scanned::Record(taken) => {
                    for (span, place) in cells.iter().zip(&places) {
                        let Some(column) = *place else { continue };
                        let cell = split::text(&text[at..], *span, &mut scratch);
                        if let Err(value) = self.columns[column].push_text(cell) {
                            return Err(self.bad_cell(rows + 1, column, &value));
                        }
                    }
                    rows += 1;
                    at += taken;
                }
            }
        }
        self.batch()
    }

    fn batch(&mut self) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }

    fn bad_cell(&self, row: usize, column: usize, value: &str) -> Error {
        Error::integrity(format!(
            "record {row} of a page of `{}` holds `{value}` in `{}`, which is no {}",
            self.object,
            self.columns[column].name,
            self.schema.field(column).metadata().get("gs.type").map_or("value of its type", String::as_str),
        ))
    }
}

impl Page<'_> {
    fn cell(&mut self, key: &str, cell: Cell<'_>) -> Result<(), Fault> {
        let column = match self.columns.get(self.next) {
            Some(column) if column.name == key => self.next,
            _ => match self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(key)) {
                Some(column) => column,
                None => return Ok(()), // the tenant may send more than was asked for
            },
        };
        self.next = column + 1;
        if self.filled[column] > self.rows {
            return Ok(()); // a repeated key: the first counts
        }
        self.filled[column] += 1;
        self.columns[column].push(cell).map_err(|value| Fault::Cell { column, value })
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.rows += 1;
        self.next = 0;
        for (column, filled) in self.columns.iter_mut().zip(&mut self.filled) {
            if *filled < self.rows {
                column.push_null();
                *filled += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::connect::gainsight::DataType as GsType;
    use crate::connect::gainsight::FieldMetadata;
    use crate::connect::gainsight::PicklistOption;
    use crate::extract::gainsight::mirror_schema;

    fn decoder() -> Decoder {
        let option = |gsid: &str, label: &str| PicklistOption { gsid: gsid.into(), label: label.into(), active: true };
        let mut stage = FieldMetadata::new("Stage", GsType::Picklist);
        stage.options = vec![option("1I001", "Adopting")];
        let mut tags = FieldMetadata::new("Tags", GsType::MultiSelect);
        tags.options = vec![option("1I002", "A"), option("1I003", "B")];
        let mut arr = FieldMetadata::new("Arr", GsType::Currency);
        arr.decimals = Some(2);
        let fields = vec![
            FieldMetadata::new("Gsid", GsType::Gsid),
            FieldMetadata::new("Employees", GsType::Number),
            arr,
            FieldMetadata::new("RenewalDate", GsType::Date),
            stage,
            tags,
            FieldMetadata::new("ModifiedDate", GsType::DateTime),
        ];
        let metadata = ObjectMetadata::new("company", "Company", fields);
        let names: Vec<_> = ["Employees", "Arr", "RenewalDate", "Stage", "Tags"].map(str::to_owned).into();
        Decoder::new(&mirror_schema(&metadata, &names).unwrap(), &metadata)
    }

    #[test]
    fn both_representations_give_the_same_batch() {
        let iso = br#"[{"Gsid":"1P02A","Employees":250,"Arr":100000.5,"RenewalDate":"2025-01-31","Stage":"1I001","Tags":["1I002","1I003"],"ModifiedDate":"2024-02-05T07:17:16Z"},
                       {"Gsid":"1P02B","Employees":null,"Arr":null,"RenewalDate":"","Stage":null,"Tags":[]}]"#;
        let epoch = br#"[{"ModifiedDate":1707117436000,"gsid":"1P02A","employees":"250","Arr":"100000.50","RenewalDate":1738281600000,"Stage":"Adopting","Tags":"1I002;1I003","More":{"x":1}},
                         {"Gsid":"1P02B","Tags":""}]"#;
        let (mut one, mut two) = (decoder(), decoder());
        let (one, two) = (one.decode(iso).unwrap(), two.decode(epoch).unwrap());
        assert_eq!(one, two);
        let shown = pretty_format_batches(&[one]).unwrap().to_string();
        assert!(
            shown.contains("| 1P02A | 250       | 100000.50 | 2025-01-31  | Adopting | A;B  | 2024-02-05T07:17:16Z |"),
            "{shown}"
        );
    }

    #[test]
    fn an_export_gives_the_same_batch_as_a_page() {
        let page = br#"[{"Gsid":"1P02A","Employees":250,"Arr":100000.5,"RenewalDate":"2025-01-31","Stage":"1I001","Tags":["1I002","1I003"],"ModifiedDate":"2024-02-05T07:17:16Z"},
                        {"Gsid":"1P02B","Employees":null,"Arr":null,"RenewalDate":"","Stage":null,"Tags":[]}]"#;
        let csv = "\u{feff}Gsid,more,Employees,Arr,RenewalDate,\"Stage\",Tags,ModifiedDate\n\
                   1P02A,\"a,\"\"b\nc\",250,100000.50,2025-01-31,1I001,\"1I002;1I003\",2024-02-05T07:17:16Z\r\n\
                   1P02B,,,,\"\",,,\n\n";
        assert_eq!(decoder().decode_export(csv.as_bytes()).unwrap(), decoder().decode(page).unwrap());
        let header = csv.split_inclusive('\n').next().unwrap();
        assert_eq!(decoder().decode_export(header.as_bytes()).unwrap().num_rows(), 0);
        for (csv, why) in [
            ("", "its header row is missing"),
            ("Gsid,Employees\n", "it has no `Arr`"),
            (&format!("{header}1P02A,x\n"), "a row has 2 cells"),
            (&format!("{header}\"1P02A\"x\n"), "a quote stands where none may be"),
        ] {
            let error = decoder().decode_export(csv.as_bytes()).unwrap_err();
            assert!(error.message().contains(why), "{error:?}");
        }
    }

    #[test]
    fn a_cell_that_its_type_cannot_hold_is_named() {
        let error = decoder().decode(br#"[{"Gsid":"1P02A","Employees":"many"}]"#).unwrap_err();
        assert!(error.message().contains("`many` in `Employees`, which is no NUMBER"), "{error:?}");
    }
}

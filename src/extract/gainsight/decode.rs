//! A page of records → one batch, column by column, without a value per cell.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanBuilder;
use datafusion::arrow::array::Date32Builder;
use datafusion::arrow::array::Decimal128Builder;
use datafusion::arrow::array::Int64Builder;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringBuilder;
use datafusion::arrow::array::TimestampMicrosecondBuilder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::SchemaRef;

use crate::connect::gainsight::DataType as GsType;
use crate::connect::gainsight::ObjectMetadata;
use crate::error::Error;
use crate::error::Result;

use super::json::Cell;
use super::json::Malformed;
use super::json::Reader;
use super::values;

/// Turns pages into batches of one schema.
pub(super) struct Decoder {
    schema: SchemaRef,
    object: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    builder: Builder,
    /// Labels by the item's GSID, for picklists.
    labels: Option<HashMap<String, String>>,
}

enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Decimal(Decimal128Builder, u32),
    Bool(BooleanBuilder),
    Day(Date32Builder),
    Instant(TimestampMicrosecondBuilder),
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
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let builder = match field.data_type() {
                    DataType::Int64 => Builder::Int(Int64Builder::new()),
                    DataType::Decimal128(precision, scale) => Builder::Decimal(
                        Decimal128Builder::new().with_data_type(DataType::Decimal128(*precision, *scale)),
                        u32::try_from(*scale).unwrap_or(0),
                    ),
                    DataType::Boolean => Builder::Bool(BooleanBuilder::new()),
                    DataType::Date32 => Builder::Day(Date32Builder::new()),
                    DataType::Timestamp(..) => {
                        Builder::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
                    }
                    _ => Builder::Text(StringBuilder::new()),
                };
                let labels = metadata
                    .field(field.name())
                    .filter(|field| matches!(field.data_type, GsType::Picklist | GsType::MultiSelect))
                    .map(|field| field.options.iter().map(|o| (o.gsid.clone(), o.label.clone())).collect());
                Column { name: field.name().clone(), builder, labels }
            })
            .collect();
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
            Fault::Cell { column, value } => Error::integrity(format!(
                "record {} of a page of `{}` holds `{value}` in `{}`, which is no {}",
                rows + 1,
                self.object,
                self.columns[column].name,
                self.schema.field(column).metadata().get("gs.type").map_or("value of its type", String::as_str),
            )),
        })?;
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|column| column.builder.finish()).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
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
                column.builder.push_null();
                *filled += 1;
            }
        }
        Ok(())
    }
}

impl Column {
    /// Appends a cell, or gives back what cannot be one.
    fn push(&mut self, cell: Cell<'_>) -> Result<(), String> {
        match (&mut self.builder, cell) {
            (builder, Cell::Null) => builder.push_null(),
            (Builder::Bool(builder), Cell::Bool(value)) => builder.append_value(value),
            (Builder::Text(builder), Cell::Bool(value)) => builder.append_value(if value { "true" } else { "false" }),
            (Builder::Text(builder), Cell::List(items)) => {
                if items.is_empty() {
                    builder.append_null();
                } else {
                    let label = |item: &str| -> String {
                        let label = self.labels.as_ref().and_then(|labels| labels.get(item));
                        label.map_or_else(|| item.to_owned(), String::clone)
                    };
                    builder.append_value(items.iter().map(|item| label(item)).collect::<Vec<_>>().join(";"));
                }
            }
            (builder, Cell::Text(text)) => return builder.push_text(&text, self.labels.as_ref()),
            (builder, Cell::Number(text)) => return builder.push_text(text, self.labels.as_ref()),
            (_, Cell::Bool(value)) => return Err(value.to_string()),
            (_, Cell::List(_)) => return Err("[…]".to_owned()),
            (_, Cell::Object) => return Err("{…}".to_owned()),
        }
        Ok(())
    }
}

impl Builder {
    fn push_null(&mut self) {
        match self {
            Self::Text(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Decimal(builder, _) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
            Self::Day(builder) => builder.append_null(),
            Self::Instant(builder) => builder.append_null(),
        }
    }

    /// An empty text is null in every type: so live tenants write empty dates.
    fn push_text(&mut self, text: &str, labels: Option<&HashMap<String, String>>) -> Result<(), String> {
        if text.is_empty() {
            self.push_null();
            return Ok(());
        }
        let wrong = || text.to_owned();
        match self {
            Self::Text(builder) => match labels {
                Some(labels) if text.contains(';') => {
                    let items = text.split(';').map(|item| labels.get(item.trim()).map_or(item, String::as_str));
                    builder.append_value(items.collect::<Vec<_>>().join(";"));
                }
                Some(labels) => builder.append_value(labels.get(text).map_or(text, String::as_str)),
                None => builder.append_value(text),
            },
            Self::Int(builder) => builder.append_value(values::integer(text).ok_or_else(wrong)?),
            Self::Decimal(builder, scale) => builder.append_value(values::decimal(text, *scale).ok_or_else(wrong)?),
            Self::Bool(builder) => match text {
                "true" | "True" | "TRUE" | "1" => builder.append_value(true),
                "false" | "False" | "FALSE" | "0" => builder.append_value(false),
                _ => return Err(wrong()),
            },
            Self::Day(builder) => builder.append_value(values::day(text).ok_or_else(wrong)?),
            Self::Instant(builder) => builder.append_value(values::instant(text).ok_or_else(wrong)?),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, _) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Day(builder) => Arc::new(builder.finish()),
            Self::Instant(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;

    use super::*;
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
    fn a_cell_that_its_type_cannot_hold_is_named() {
        let error = decoder().decode(br#"[{"Gsid":"1P02A","Employees":"many"}]"#).unwrap_err();
        assert!(error.message().contains("`many` in `Employees`, which is no NUMBER"), "{error:?}");
    }
}

//! A tenant's metadata as an Arrow schema.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::datatypes::TimeUnit;

use crate::connect::gainsight::DataType as GsType;
use crate::connect::gainsight::FieldMetadata;
use crate::connect::gainsight::ObjectMetadata;
use crate::error::Error;
use crate::error::Result;

/// Digits of a decimal: what the tenant's own numbers can hold.
const PRECISION: u8 = 28;

/// The mirror's columns: `Gsid`, the fields asked for in their canonical spelling, `ModifiedDate` where there is one.
///
/// | Gainsight | Arrow |
/// |---|---|
/// | text, ids, e-mail, URL, one or several picklist items (labels; several joined with `;`) | Utf8 |
/// | NUMBER without decimals | Int64 |
/// | NUMBER with decimals, CURRENCY, PERCENTAGE | Decimal128(28, decimals) |
/// | BOOLEAN · DATE · DATETIME | Boolean · Date32 · Timestamp(µs, UTC) |
pub fn mirror_schema(metadata: &ObjectMetadata, fields: &[String]) -> Result<SchemaRef> {
    let mut columns: Vec<Field> = Vec::new();
    let mut missing = Vec::new();
    let wanted = std::iter::once("Gsid").chain(fields.iter().map(String::as_str));
    for name in wanted {
        match metadata.field(name) {
            Some(field) if columns.iter().any(|column| column.name() == &field.name) => {}
            Some(field) => columns.push(column(field)),
            None => missing.push(name),
        }
    }
    if let Some(field) = metadata.field("ModifiedDate")
        && !columns.iter().any(|column| column.name() == &field.name)
    {
        columns.push(column(field));
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|name| format!("`{name}`")).collect();
        return Err(Error::config(format!(
            "the tenant's object `{}` has no field {}",
            metadata.name,
            names.join(", ")
        ))
        .hint("check the spelling in the job; custom fields end in `__gc`"));
    }
    Ok(Arc::new(Schema::new(columns)))
}

fn column(field: &FieldMetadata) -> Field {
    let mut notes = HashMap::from([
        ("gs.type".to_owned(), field.data_type.name().to_owned()),
        ("gs.label".to_owned(), field.label.clone()),
    ]);
    if let Some(length) = field.length {
        notes.insert("gs.length".to_owned(), length.to_string());
    }
    Field::new(&field.name, arrow_type(field), true).with_metadata(notes)
}

/// The Arrow type of a field's values.
fn arrow_type(field: &FieldMetadata) -> DataType {
    let decimal = |places: u8| DataType::Decimal128(PRECISION, i8::try_from(places).unwrap_or(0));
    match field.data_type {
        GsType::Number => match field.decimals {
            Some(0) | None => DataType::Int64,
            Some(places) => decimal(places),
        },
        GsType::Currency | GsType::Percentage => decimal(field.decimals.unwrap_or(2)),
        GsType::Boolean => DataType::Boolean,
        GsType::Date => DataType::Date32,
        GsType::DateTime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_the_metadata_and_unknown_ones_are_told_together() {
        let mut arr = FieldMetadata::new("Arr", GsType::Currency);
        arr.decimals = Some(2);
        let fields = vec![
            FieldMetadata::new("Gsid", GsType::Gsid),
            arr,
            FieldMetadata::new("Employees", GsType::Number),
            FieldMetadata::new("ModifiedDate", GsType::DateTime),
        ];
        let company = ObjectMetadata::new("Company", "Company", fields);
        let schema = mirror_schema(&company, &["ARR".into(), "Employees".into()]).unwrap();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["Gsid", "Arr", "Employees", "ModifiedDate"]);
        assert_eq!(schema.field(1).data_type(), &DataType::Decimal128(28, 2));
        assert_eq!(schema.field(2).metadata()["gs.type"], "NUMBER");
        let error = mirror_schema(&company, &["A".into(), "B".into()]).unwrap_err();
        assert!(error.message().contains("`A`, `B`"));
    }
}

//! Salesforce's types as Arrow's, with Salesforce's own words kept in the field's metadata.

use std::collections::HashMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::TimeUnit;

use crate::connect::salesforce::FieldDescribe;

/// Metadata key of the Salesforce type.
pub(super) const SF_TYPE: &str = "sf.type";

/// What a field can become.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Readable {
    /// A column of this type.
    As(DataType),
    /// A compound field: the Bulk API reads its parts.
    Compound,
    /// The Bulk API does not read it.
    No,
}

/// The type of a field's column.
pub(super) fn readable(field: &FieldDescribe) -> Readable {
    let data_type = match field.kind.as_str() {
        "address" | "location" => return Readable::Compound,
        "base64" | "byte" | "complexvalue" | "json" => return Readable::No,
        "boolean" => DataType::Boolean,
        "int" => DataType::Int32,
        "long" => DataType::Int64,
        "double" | "percent" => DataType::Float64,
        "currency" => currency(field),
        "date" => DataType::Date32,
        "datetime" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        // id, reference, time and every kind of text, also kinds that are not known here
        _ => DataType::Utf8,
    };
    Readable::As(data_type)
}

/// A describe without a precision, which no currency field should have, gets the widest.
fn currency(field: &FieldDescribe) -> DataType {
    let precision = if field.precision == 0 { 38 } else { field.precision.min(38) };
    let scale = field.scale.min(precision);
    DataType::Decimal128(u8::try_from(precision).unwrap_or(38), i8::try_from(scale).unwrap_or(0))
}

/// The column of a field. It may always be null: `nillable` cannot be relied on, and a parent may be missing.
pub(super) fn column(path: &str, field: &FieldDescribe, owner: &str, data_type: DataType) -> Field {
    let mut metadata = HashMap::from([
        (SF_TYPE.to_owned(), field.kind.clone()),
        ("sf.label".to_owned(), field.label.clone()),
        ("sf.object".to_owned(), owner.to_owned()),
    ]);
    let numbers = [
        ("sf.length", field.length),
        ("sf.precision", field.precision),
        ("sf.scale", field.scale),
        ("sf.digits", field.digits),
    ];
    for (key, number) in numbers {
        if number > 0 {
            metadata.insert(key.to_owned(), number.to_string());
        }
    }
    let flags = [
        ("sf.calculated", field.calculated),
        ("sf.custom", field.custom),
        ("sf.external_id", field.external_id),
        ("sf.unique", field.unique),
    ];
    for (key, _) in flags.into_iter().filter(|(_, set)| *set) {
        metadata.insert(key.to_owned(), "true".to_owned());
    }
    if !field.reference_to.is_empty() {
        metadata.insert("sf.reference_to".to_owned(), field.reference_to.join(","));
    }
    Field::new(path, data_type, true).with_metadata(metadata)
}

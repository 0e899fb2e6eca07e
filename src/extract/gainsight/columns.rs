//! Columns of a mirror that grow cell by cell.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanBuilder;
use datafusion::arrow::array::Date32Builder;
use datafusion::arrow::array::Decimal128Builder;
use datafusion::arrow::array::Int64Builder;
use datafusion::arrow::array::StringBuilder;
use datafusion::arrow::array::TimestampMicrosecondBuilder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;

use crate::connect::gainsight::DataType as GsType;
use crate::connect::gainsight::ObjectMetadata;

use super::json::Cell;
use super::values;

/// A column under construction.
pub(super) struct Column {
    pub(super) name: String,
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

impl Column {
    /// A column of a mirror's schema.
    pub(super) fn new(field: &Field, metadata: &ObjectMetadata) -> Self {
        let builder = match field.data_type() {
            DataType::Int64 => Builder::Int(Int64Builder::new()),
            DataType::Decimal128(precision, scale) => Builder::Decimal(
                Decimal128Builder::new().with_data_type(DataType::Decimal128(*precision, *scale)),
                u32::try_from(*scale).unwrap_or(0),
            ),
            DataType::Boolean => Builder::Bool(BooleanBuilder::new()),
            DataType::Date32 => Builder::Day(Date32Builder::new()),
            DataType::Timestamp(..) => Builder::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            _ => Builder::Text(StringBuilder::new()),
        };
        let labels = metadata
            .field(field.name())
            .filter(|field| matches!(field.data_type, GsType::Picklist | GsType::MultiSelect))
            .map(|field| field.options.iter().map(|o| (o.gsid.clone(), o.label.clone())).collect());
        Self { name: field.name().clone(), builder, labels }
    }

    /// Appends a null.
    pub(super) fn push_null(&mut self) {
        self.builder.push_null();
    }

    /// Appends a cell that came as text, or gives back what cannot be one.
    pub(super) fn push_text(&mut self, text: &str) -> Result<(), String> {
        self.builder.push_text(text, self.labels.as_ref())
    }

    /// Takes what was added as an array.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.builder.finish()
    }

    /// Appends a cell, or gives back what cannot be one.
    pub(super) fn push(&mut self, cell: Cell<'_>) -> Result<(), String> {
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

//! What a field is, in either system's words: read from the field's metadata, else from its Arrow type.

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;

/// What a Salesforce field holds, as far as conversions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A record id: `id`, `reference`.
    Id,
    /// Text in one piece, picklists and times of day among it.
    Text,
    /// Several values joined with `;`.
    MultiPicklist,
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// A binary floating-point number.
    Double,
    /// A decimal number.
    Decimal,
    /// A day.
    Date,
    /// A moment, in UTC.
    DateTime,
    /// A compound or binary value, which has no single cell.
    Compound,
}

impl SourceKind {
    /// The kind of `field`.
    pub fn of(field: &Field) -> Self {
        let said = field.metadata().get("sf.type").map(|kind| kind.to_ascii_lowercase());
        match (said.as_deref(), field.data_type()) {
            (Some("address" | "location" | "base64" | "complexvalue"), _) => Self::Compound,
            (Some("id" | "reference"), _) => Self::Id,
            (Some("multipicklist"), _) => Self::MultiPicklist,
            (_, kind) if is_text(kind) => Self::Text,
            (_, DataType::Boolean) => Self::Boolean,
            (_, kind) if kind.is_integer() => Self::Integer,
            (_, kind) if kind.is_floating() => Self::Double,
            (_, DataType::Decimal128(..) | DataType::Decimal256(..)) => Self::Decimal,
            (_, DataType::Date32 | DataType::Date64) => Self::Date,
            (_, DataType::Timestamp(..)) => Self::DateTime,
            _ => Self::Compound,
        }
    }

    /// Whether cells arrive as text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Id | Self::Text | Self::MultiPicklist)
    }

    /// The kind in a sentence: "a record id".
    pub fn a(self) -> &'static str {
        match self {
            Self::Id => "a record id",
            Self::Text => "text",
            Self::MultiPicklist => "a multi-select picklist",
            Self::Boolean => "a checkbox",
            Self::Integer | Self::Double | Self::Decimal => "a number",
            Self::Date => "a date",
            Self::DateTime => "a date and time",
            Self::Compound => "a compound value",
        }
    }
}

/// What a Gainsight field takes, as far as conversions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// Text in one piece.
    Text,
    /// An e-mail address.
    Email,
    /// A Salesforce id of 15 or 18 characters.
    SfdcId,
    /// Another record's GSID.
    Gsid,
    /// Several labels joined with `;`.
    MultiSelect,
    /// A whole number.
    Integer,
    /// A number with a fixed count of decimals.
    Decimal(u8, i8),
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A moment.
    DateTime,
    /// A type that nothing here knows how to write.
    Unknown,
}

impl TargetKind {
    /// The kind of `field`.
    pub fn of(field: &Field) -> Self {
        let said = field.metadata().get("gs.type").map(|kind| kind.to_ascii_uppercase());
        match (said.as_deref(), field.data_type()) {
            (Some("GSID" | "LOOKUP"), _) => Self::Gsid,
            (Some("SFDCID"), _) => Self::SfdcId,
            (Some("EMAIL"), _) => Self::Email,
            (Some("MULTISELECTDROPDOWNLIST"), _) => Self::MultiSelect,
            (_, kind) if is_text(kind) => Self::Text,
            (_, DataType::Boolean) => Self::Boolean,
            (_, DataType::Int64) => Self::Integer,
            (_, DataType::Decimal128(precision, scale)) => Self::Decimal(*precision, *scale),
            (_, DataType::Date32) => Self::Date,
            (_, DataType::Timestamp(..)) => Self::DateTime,
            _ => Self::Unknown,
        }
    }

    /// Whether the mirror holds it as text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Email | Self::SfdcId | Self::Gsid | Self::MultiSelect)
    }

    /// The kind in a sentence: "a number with 2 decimals".
    pub fn a(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Email => "an e-mail address".to_owned(),
            Self::SfdcId => "a Salesforce id of 15 or 18 letters and digits".to_owned(),
            Self::Gsid => "a GSID".to_owned(),
            Self::MultiSelect => "a multi-select dropdown".to_owned(),
            Self::Integer => "a whole number".to_owned(),
            Self::Decimal(precision, scale) => {
                format!(
                    "a number of at most {} digits before and {scale} after the point",
                    i16::from(precision) - i16::from(scale)
                )
            }
            Self::Boolean => "true or false".to_owned(),
            Self::Date => "a date such as 2026-01-31".to_owned(),
            Self::DateTime => "a date and time such as 2026-01-31T09:30:00Z".to_owned(),
            Self::Unknown => "a type that sf2gs cannot write".to_owned(),
        }
    }
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// A field as people know it: its label with the API name behind, or the name alone.
pub fn describe(field: &Field) -> String {
    let label = field.metadata().get("sf.label").or_else(|| field.metadata().get("gs.label"));
    match label {
        Some(label) if !label.is_empty() && !label.eq_ignore_ascii_case(field.name()) => {
            format!("{label} ({})", field.name())
        }
        _ => field.name().clone(),
    }
}

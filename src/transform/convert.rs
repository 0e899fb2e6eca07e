//! From a Salesforce type to a Gainsight type.

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;

use crate::transform::kind::SourceKind;
use crate::transform::kind::TargetKind;

/// A possible conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The value at the target's type; NULL where the cell is blank or does not convert.
    pub sql: String,
    /// The cell as text where it does not convert, NULL elsewhere. `None`: every cell converts.
    pub invalid: Option<String>,
    /// What a reader of the plan should know.
    pub note: Option<String>,
}

impl Conversion {
    fn always(sql: String) -> Self {
        Self { sql, invalid: None, note: None }
    }

    fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// How a cell of `source`, read by the SQL expression `cell`, becomes a value of `target`.
///
/// | from | to |
/// |---|---|
/// | record id | Salesforce id, text (18 characters) |
/// | text, picklist, time of day | text, dropdown, URL, …; e-mail (trimmed); multi-select; Salesforce id, number, boolean, date, date and time: each cell is checked |
/// | multi-select picklist | multi-select, text |
/// | checkbox | boolean; number (0 or 1); text (`true`, `false`) |
/// | number | number, currency, percentage, rounded half away from zero to the target's decimals; text |
/// | date | date; date and time (midnight UTC); text (ISO 8601) |
/// | date and time | date and time; date (in UTC); text (ISO 8601) |
///
/// Blank text is NULL for every target but plain text, where only the empty text is. The error is the reason in words.
pub fn convert(source: &Field, target: &Field, cell: &str) -> Result<Conversion, String> {
    let from = SourceKind::of(source);
    let to = TargetKind::of(target);
    let impossible = || Err(format!("{} cannot become {}", from.a(), to.a()));
    match (from, to) {
        (SourceKind::Compound, _) => {
            Err("a compound or binary field has no single value; map its parts, such as BillingCity".to_owned())
        }
        (_, TargetKind::Unknown) => impossible(),
        (_, TargetKind::Gsid) => {
            Err(format!("{} is not a GSID; find the other record with a [[target.derive]] mapping", from.a()))
        }
        (SourceKind::Id, TargetKind::SfdcId | TargetKind::Text) => Ok(Conversion::always(format!("match_id({cell})"))),
        (SourceKind::Id, _) => impossible(),
        (SourceKind::Text | SourceKind::MultiPicklist, TargetKind::Text)
        | (SourceKind::Text | SourceKind::MultiPicklist, TargetKind::MultiSelect) => {
            Ok(Conversion::always(format!("nullif({cell}, '')")))
        }
        (SourceKind::MultiPicklist, _) => impossible(),
        (SourceKind::Text, TargetKind::Email) => Ok(Conversion::always(format!("trim_text({cell})"))),
        (SourceKind::Text, _) => Ok(from_text(to, cell)),
        (SourceKind::Boolean, _) => match to {
            TargetKind::Boolean => Ok(Conversion::always(cell.to_owned())),
            TargetKind::Text => {
                Ok(Conversion::always(format!("CASE WHEN {cell} THEN 'true' WHEN NOT {cell} THEN 'false' END")))
            }
            TargetKind::Integer => Ok(Conversion::always(format!("CAST({cell} AS BIGINT)"))),
            TargetKind::Decimal(precision, scale) => {
                Ok(Conversion::always(format!("CAST(CAST({cell} AS BIGINT) AS DECIMAL({precision}, {scale}))")))
            }
            _ => impossible(),
        },
        (SourceKind::Integer | SourceKind::Double | SourceKind::Decimal, _) => match to {
            TargetKind::Text if from == SourceKind::Double => Ok(Conversion::always(format!("number_text({cell})"))),
            TargetKind::Text => Ok(Conversion::always(format!("arrow_cast({cell}, 'Utf8')"))),
            TargetKind::Integer | TargetKind::Decimal(..) => Ok(from_number(source, from, to, cell)),
            _ => impossible(),
        },
        (SourceKind::Date, _) => match to {
            TargetKind::Date => Ok(Conversion::always(cell.to_owned())),
            TargetKind::DateTime => Ok(Conversion::always(utc(cell)).noting("a date becomes midnight UTC")),
            TargetKind::Text => Ok(Conversion::always(format!("arrow_cast({cell}, 'Utf8')"))),
            _ => impossible(),
        },
        (SourceKind::DateTime, _) => {
            match to {
                TargetKind::DateTime => Ok(Conversion::always(utc(cell))),
                TargetKind::Date => Ok(Conversion::always(format!("CAST({cell} AS DATE)"))
                    .noting("a date and time becomes its date in UTC")),
                TargetKind::Text => Ok(Conversion::always(format!("arrow_cast({cell}, 'Utf8')"))
                    .noting("a date and time becomes ISO 8601 text in UTC")),
                _ => impossible(),
            }
        }
    }
}

/// The mirror's type of a moment.
fn utc(cell: &str) -> String {
    format!("arrow_cast({cell}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

/// Text is checked cell by cell: what is not exactly a value of the target's type is a reject, never a guess.
fn from_text(to: TargetKind, cell: &str) -> Conversion {
    let text = format!("trim_text({cell})");
    let mut note = None;
    let sql = match to {
        TargetKind::SfdcId => format!("sf_id18({text})"),
        TargetKind::Boolean => {
            format!(
                "CASE lower({text}) WHEN 'true' THEN TRUE WHEN '1' THEN TRUE WHEN 'false' THEN FALSE WHEN '0' THEN FALSE END"
            )
        }
        TargetKind::Integer => {
            note = Some("decimals are rounded to a whole number".to_owned());
            format!("TRY_CAST(TRY_CAST({text} AS DECIMAL(38, 0)) AS BIGINT)")
        }
        TargetKind::Decimal(precision, scale) => {
            note = Some(format!("rounded to {scale} decimals"));
            format!("TRY_CAST({text} AS DECIMAL({precision}, {scale}))")
        }
        TargetKind::Date => format!("TRY_CAST({text} AS DATE)"),
        TargetKind::DateTime => {
            note = Some("text without a time zone is read as UTC".to_owned());
            format!("arrow_try_cast({text}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
        }
        _ => text.clone(),
    };
    Conversion { invalid: Some(invalid(&format!("{text} IS NOT NULL"), &sql, cell)), sql, note }
}

/// Numbers are rounded half away from zero; what does not fit is a reject.
fn from_number(source: &Field, from: SourceKind, to: TargetKind, cell: &str) -> Conversion {
    let mut note = None;
    let sql = match (from, to) {
        (SourceKind::Integer, TargetKind::Integer) => return Conversion::always(format!("CAST({cell} AS BIGINT)")),
        (SourceKind::Double, TargetKind::Integer) => {
            note = Some("rounded to a whole number".to_owned());
            format!("TRY_CAST(round({cell}) AS BIGINT)")
        }
        (_, TargetKind::Integer) => {
            note = Some("rounded to a whole number".to_owned());
            // a cast of a decimal to a whole number cuts: the rounding must come before
            format!("TRY_CAST(TRY_CAST({cell} AS DECIMAL(38, 0)) AS BIGINT)")
        }
        (_, TargetKind::Decimal(precision, scale)) => {
            let exact = match source.data_type() {
                DataType::Decimal128(_, from) => *from <= scale,
                _ => from == SourceKind::Integer,
            };
            if !exact {
                note = Some(format!("rounded to {scale} decimals"));
            }
            format!("TRY_CAST({cell} AS DECIMAL({precision}, {scale}))")
        }
        _ => cell.to_owned(),
    };
    Conversion { invalid: Some(invalid(&format!("{cell} IS NOT NULL"), &sql, cell)), sql, note }
}

fn invalid(filled: &str, value: &str, cell: &str) -> String {
    format!("CASE WHEN {filled} AND {value} IS NULL THEN arrow_cast({cell}, 'Utf8') END")
}

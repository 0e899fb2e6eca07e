//! Batches of verdicts with their columns found, and single rows of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::datatypes::Schema;

use crate::config::job::Job;
use crate::config::job::OnMissing;
use crate::config::job::OnNull;
use crate::connect::gainsight::DataType as GsType;
use crate::connect::gainsight::FieldMetadata;
use crate::connect::gainsight::ObjectMetadata;
use crate::error::Error;
use crate::error::Result;

use super::cells::Cells;

/// Columns that are written carry this before their name.
const SET: &str = "set.";

/// What is done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Act {
    Insert,
    Update,
}

/// One written field: what the job and the tenant say about it.
#[derive(Debug)]
pub(super) struct SetField {
    /// Place in the batch.
    pub(super) column: usize,
    /// `company.Name`, as `changed` names it.
    pub(super) target: String,
    /// Object whose record takes it: an avatar's field stands in the user's record.
    pub(super) object: String,
    /// Canonical name.
    pub(super) name: String,
    /// `"Name":`
    pub(super) json_key: Vec<u8>,
    /// Part of the upsert key.
    pub(super) identifier: bool,
    /// A null leaves the field alone.
    pub(super) keep: bool,
    /// The tenant's description.
    pub(super) metadata: FieldMetadata,
}

impl SetField {
    pub(super) fn is_list(&self) -> bool {
        self.metadata.data_type == GsType::MultiSelect
    }
}

/// The columns of a job's verdicts.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) fields: Vec<SetField>,
}

/// Which fields of a row are sent: one bit a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent(u128);

impl Sent {
    pub(super) fn has(self, field: usize) -> bool {
        self.0 & (1 << field) != 0
    }
}

impl Layout {
    pub(super) fn new(schema: &Schema, job: &Job, metadata: &BTreeMap<String, Arc<ObjectMetadata>>) -> Result<Self> {
        let mut fields = Vec::new();
        for (column, field) in schema.fields().iter().enumerate() {
            let Some(target) = field.name().strip_prefix(SET) else { continue };
            let (object, name) = target
                .split_once('.')
                .ok_or_else(|| Error::bug(format!("the verdict column `{}` names no object", field.name())))?;
            // Avatars are bridge rows that Gainsight keeps by itself; users carry the id.
            let holder = if object == "avatar" { "gsuser" } else { object };
            let metadata = metadata
                .get(holder)
                .ok_or_else(|| Error::bug(format!("the load was given no metadata of `{holder}`")))?;
            let described = metadata.field(name).ok_or_else(|| {
                Error::config(format!("the tenant's object `{holder}` has no field `{name}`"))
                    .hint("check the spelling in the job; custom fields end in `__gc`")
            })?;
            let is_target = |to: &crate::config::job::TargetField| {
                to.object.eq_ignore_ascii_case(object) && to.field.eq_ignore_ascii_case(name)
            };
            let map = job.target.maps.iter().find(|map| is_target(&map.to));
            let derive = job.target.derives.iter().find(|derive| is_target(&derive.to));
            let mut json_key = Vec::new();
            super::cells::write_json_text(&described.name, &mut json_key);
            json_key.push(b':');
            fields.push(SetField {
                column,
                target: target.to_owned(),
                object: holder.to_owned(),
                name: described.name.clone(),
                json_key,
                identifier: map.is_some_and(|map| map.identifier),
                keep: map.is_some_and(|map| map.on_null == OnNull::Keep)
                    || derive.is_some_and(|derive| derive.on_missing == OnMissing::Keep),
                metadata: described.clone(),
            });
        }
        if fields.len() > 128 {
            return Err(Error::config("a job can write at most 128 fields").hint("split the job"));
        }
        Ok(Self { fields })
    }

    /// The fields that `changed` names.
    pub(super) fn changed(&self, changed: &str) -> Sent {
        let mut sent = 0;
        for name in changed.split(',') {
            if let Some(at) = self.fields.iter().position(|field| field.target == name) {
                sent |= 1 << at;
            }
        }
        Sent(sent)
    }

    pub(super) fn all(&self) -> Sent {
        Sent(match self.fields.len() {
            128.. => u128::MAX,
            count => (1 << count) - 1,
        })
    }
}

/// One batch of verdicts, columns found and typed.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) layout: Arc<Layout>,
    pub(super) source_id: StringArray,
    verdict: StringArray,
    gsid: StringArray,
    /// What each row's verdict asks for, and the fields that count for it.
    acts: Vec<(Option<Act>, Sent)>,
    clears: Option<BooleanArray>,
    person_gsid: Option<StringArray>,
    person_key: Option<StringArray>,
    person_rows: Option<Int64Array>,
    person_winner: Option<BooleanArray>,
    /// One per [`Layout::fields`].
    pub(super) cells: Vec<Cells>,
}

impl Decided {
    pub(super) fn new(batch: &RecordBatch, layout: &Arc<Layout>) -> Result<Self> {
        let find = |name: &str, as_type: &DataType| -> Result<Option<ArrayRef>> {
            match batch.column_by_name(name) {
                Some(array) if array.data_type() == as_type => Ok(Some(Arc::clone(array))),
                Some(array) => Ok(Some(cast(array, as_type)?)),
                None => Ok(None),
            }
        };
        let text = |name: &str| -> Result<Option<StringArray>> {
            Ok(find(name, &DataType::Utf8)?.map(|array| array.as_string::<i32>().clone()))
        };
        let must = |name: &str| -> Result<StringArray> {
            text(name)?.ok_or_else(|| Error::bug(format!("the verdicts have no column `{name}`")))
        };
        let flag = |name: &str| -> Result<Option<BooleanArray>> {
            Ok(find(name, &DataType::Boolean)?.map(|array| array.as_boolean().clone()))
        };
        let cells =
            layout.fields.iter().map(|field| Cells::new(batch.column(field.column))).collect::<Result<Vec<_>>>()?;
        let (verdict, changed) = (must("verdict")?, must("changed")?);
        let acts = (0..verdict.len())
            .map(|row| match verdict.value(row) {
                "insert" => (Some(Act::Insert), layout.all()),
                "update" if changed.is_valid(row) => (Some(Act::Update), layout.changed(changed.value(row))),
                "update" => (Some(Act::Update), Sent(0)),
                _ => (None, Sent(0)),
            })
            .collect();
        Ok(Self {
            layout: Arc::clone(layout),
            source_id: must("source_id")?,
            verdict,
            gsid: must("gsid")?,
            acts,
            clears: flag("clears")?,
            person_gsid: text("person_gsid")?,
            person_key: text("person_key")?,
            person_rows: find("person_rows", &DataType::Int64)?.map(|a| a.as_primitive::<Int64Type>().clone()),
            person_winner: flag("person_winner")?,
            cells,
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.source_id.len()
    }

    /// The rows of persons that have several, and a batch of only these: they are kept until the last row has come, and a
    /// row keeps all of its batch in memory. `None` where there are none.
    pub(super) fn sharing(&self, batch: &RecordBatch) -> Result<Option<(BooleanArray, Arc<Self>)>> {
        let Some(rows) = &self.person_rows else { return Ok(None) };
        let several: BooleanArray = rows.iter().map(|rows| Some(rows.is_some_and(|rows| rows > 1))).collect();
        if several.true_count() == 0 {
            return Ok(None);
        }
        let apart = Self::new(&filter_record_batch(batch, &several)?, &self.layout)?;
        Ok(Some((several, Arc::new(apart))))
    }

    /// What the verdict asks for; `None` for rows that are not written.
    pub(super) fn act(&self, row: usize) -> Option<Act> {
        self.acts[row].0
    }

    pub(super) fn verdict(&self, row: usize) -> &str {
        self.verdict.value(row)
    }

    /// The fields that count for a row: all of an insert, the changed ones of an update.
    pub(super) fn counting(&self, row: usize) -> Sent {
        self.acts[row].1
    }

    /// A person's fields are written by its winning row alone.
    pub(super) fn wins(&self, row: usize) -> bool {
        self.person_winner.as_ref().is_none_or(|winner| winner.is_valid(row) && winner.value(row))
    }
}

/// One row of a batch. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) batch: Arc<Decided>,
    at: u32,
}

impl Row {
    pub(super) fn new(batch: &Arc<Decided>, at: usize) -> Self {
        Self { batch: Arc::clone(batch), at: u32::try_from(at).unwrap_or(u32::MAX) }
    }

    pub(super) fn at(&self) -> usize {
        self.at as usize
    }

    pub(super) fn source_id(&self) -> &str {
        self.batch.source_id.value(self.at())
    }

    pub(super) fn act(&self) -> Act {
        self.batch.act(self.at()).unwrap_or(Act::Update)
    }

    pub(super) fn gsid(&self) -> Option<&str> {
        let gsid = &self.batch.gsid;
        gsid.is_valid(self.at()).then(|| gsid.value(self.at()))
    }

    pub(super) fn counting(&self) -> Sent {
        self.batch.counting(self.at())
    }

    pub(super) fn clears(&self) -> bool {
        self.batch.clears.as_ref().is_some_and(|clears| clears.is_valid(self.at()) && clears.value(self.at()))
    }

    /// Whether the person exists already.
    pub(super) fn has_person(&self) -> bool {
        self.batch.person_gsid.as_ref().is_some_and(|gsid| gsid.is_valid(self.at()))
    }

    pub(super) fn person_key(&self) -> &str {
        self.batch.person_key.as_ref().filter(|key| key.is_valid(self.at())).map_or("", |key| key.value(self.at()))
    }

    /// How many rows of the source have this person.
    pub(super) fn person_rows(&self) -> i64 {
        self.batch.person_rows.as_ref().filter(|rows| rows.is_valid(self.at())).map_or(1, |rows| rows.value(self.at()))
    }

    pub(super) fn wins(&self) -> bool {
        self.batch.wins(self.at())
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.batch.layout
    }

    pub(super) fn cells(&self, field: usize) -> &Cells {
        &self.batch.cells[field]
    }
}

#[cfg(test)]
mod tests {
    use crate::config::job::TargetObject;
    use crate::load::samples;

    use super::*;

    #[test]
    fn rows_of_persons_that_have_several_stand_apart() {
        let job = samples::job(TargetObject::People, &[]);
        let rows = |rows: Vec<Option<i64>>| {
            let ids: ArrayRef = Arc::new((0..rows.len()).map(|row| Some(format!("s{row}"))).collect::<StringArray>());
            let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("insert"); rows.len()]));
            let rows: ArrayRef = Arc::new(Int64Array::from(rows));
            let columns =
                [("source_id", ids), ("verdict", Arc::clone(&texts)), ("gsid", Arc::clone(&texts)), ("changed", texts)];
            RecordBatch::try_from_iter(columns.into_iter().chain([("person_rows", rows)])).unwrap()
        };
        let decided = |batch: &RecordBatch| {
            let layout = Arc::new(Layout::new(batch.schema_ref(), &job, &BTreeMap::new()).unwrap());
            Decided::new(batch, &layout).unwrap()
        };
        let some = rows(vec![Some(1), Some(2), None, Some(3), Some(0)]);
        let (several, apart) = decided(&some).sharing(&some).unwrap().unwrap();
        assert_eq!(several, BooleanArray::from(vec![false, true, false, true, false]));
        let apart: Vec<_> = (0..apart.rows()).map(|at| Row::new(&apart, at)).collect();
        let told: Vec<_> = apart.iter().map(|row| (row.source_id(), row.person_rows(), row.act())).collect();
        assert_eq!(told, [("s1", 2, Act::Insert), ("s3", 3, Act::Insert)]);
        let none = rows(vec![Some(1), None]);
        assert!(decided(&none).sharing(&none).unwrap().is_none());
    }
}

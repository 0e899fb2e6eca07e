//! Records that a run has made, by the keys of its self lookups: what the rows that follow them need, and no more.
//!
//! The mirror would tell the same, but it would be read with all of its fields, landed, and joined anew; here a few columns
//! of what was modified since the load began are read, and of them the keys that rows wait for are kept.
//!
//! # Promises
//! * A reference is given only where one record of the run has the key, or the lookup takes any of several.
//! * What the tenant does not show yet is not guessed: the row waits, and a later run looks again.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use chrono::DateTime;
use chrono::Utc;
use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::compute::is_not_null;
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::DFSchema;
use datafusion::common::HashMap;
use datafusion::common::HashSet;
use datafusion::common::hash_utils::RandomState;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use crate::connect::gainsight::GainsightClient;
use crate::connect::gainsight::ObjectMetadata;
use crate::connect::gainsight::PAGE_ROWS;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::extract::gainsight;
use crate::extract::gainsight::Way;
use crate::matching::LookupKey;

use super::mirror::OWN_OVERLAP;
use super::waiting::Waiting;
use super::waiting::Wants;

/// Numbers the keys, the same in every list.
const NUMBERS: RandomState = RandomState::with_seed(0);

/// Keys of a lookup that somebody asks for, as numbers: a wrong yes costs a little room and no more.
#[derive(Debug, Default, Clone)]
pub(super) struct Wanted {
    numbers: HashSet<u64>,
}

impl Wanted {
    /// Adds all keys of a column.
    pub(super) fn add(&mut self, keys: &StringArray) {
        self.numbers.extend(keys.iter().flatten().map(number));
    }
}

fn number(key: &str) -> u64 {
    NUMBERS.hash_one(key)
}

/// Records by key, their texts one behind the other: millions of them come and go, and each alone would be allocated twice.
#[derive(Debug, Default)]
struct Found {
    texts: String,
    records: Vec<Record>,
    /// The last record of each number; those before it with the same number are linked.
    last: HashMap<u64, usize>,
}

#[derive(Debug)]
struct Record {
    key: Range<usize>,
    /// `None`: several records have the key.
    gsid: Option<Range<usize>>,
    before: Option<usize>,
}

impl Found {
    fn place(&self, number: u64, key: &str) -> Option<usize> {
        let mut place = self.last.get(&number).copied();
        while let Some(record) = place.map(|place| &self.records[place])
            && self.texts[record.key.clone()] != *key
        {
            place = record.before;
        }
        place
    }

    /// The record that has the key; `Some(None)` if several have.
    fn get(&self, key: &str) -> Option<Option<&str>> {
        let record = &self.records[self.place(number(key), key)?];
        Some(record.gsid.clone().map(|gsid| &self.texts[gsid]))
    }

    /// Adds a record. Of several with one key the one with the lowest id counts, or else none.
    fn add(&mut self, number: u64, key: &str, gsid: &str, lowest: bool) {
        let Some(place) = self.place(number, key) else {
            let record = Record {
                key: self.keep(key),
                gsid: Some(self.keep(gsid)),
                before: self.last.insert(number, self.records.len()),
            };
            self.records.push(record);
            return;
        };
        let known = self.records[place].gsid.clone().map(|known| &self.texts[known]);
        // The same record may be seen in two looks.
        if known.is_none_or(|known| known == gsid) || (lowest && known < Some(gsid)) {
            return;
        }
        self.records[place].gsid = lowest.then(|| self.keep(gsid));
    }

    fn keep(&mut self, text: &str) -> Range<usize> {
        let from = self.texts.len();
        self.texts.push_str(text);
        from..self.texts.len()
    }
}

/// Whose keys are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Those of all rows that wait.
    All,
    /// Those that these rows wait for.
    Parents(&'a [RecordBatch]),
    /// Those and the rows' own.
    ParentsAndOwn(&'a [RecordBatch]),
}

/// Keys that one call asks for: far from what makes a body long.
const KEYS_A_CALL: usize = 200;

/// Records by key.
#[derive(Debug)]
pub(super) struct Arrivals {
    lookups: Vec<Lookup>,
    /// From when on each object is looked at, and how many records of then have been seen.
    since: BTreeMap<String, (DateTime<Utc>, u64)>,
    /// Whether the tenant can be asked for keys, as far as is known.
    by_keys: bool,
}

#[derive(Debug)]
struct Lookup {
    key: LookupKey,
    /// `company_person.Manager`
    field: String,
    wanted: Wanted,
    found: Found,
}

impl Lookup {
    fn take(&mut self, keys: &StringArray, gsids: &StringArray) {
        for (key, gsid) in keys.iter().zip(gsids) {
            let (Some(key), Some(gsid)) = (key, gsid) else { continue };
            let number = number(key);
            if self.wanted.numbers.contains(&number) {
                self.found.add(number, key, gsid, self.key.lowest);
            }
        }
    }

    /// The record that has the key.
    fn find(&self, keys: &StringArray, row: usize) -> Option<&str> {
        if keys.is_null(row) {
            return None;
        }
        self.found.get(keys.value(row))?
    }
}

/// Records on their way into the lookups of one object.
struct Taking<'a> {
    lookups: Vec<(&'a mut Lookup, Arc<dyn PhysicalExpr>)>,
}

impl<'a> Taking<'a> {
    fn begin(lookups: &'a mut [Lookup], session: &SessionContext, object: &str, schema: &SchemaRef) -> Result<Self> {
        let schema = DFSchema::try_from(Arc::clone(schema))?;
        let lookups = lookups.iter_mut().filter(|lookup| lookup.key.object == object).map(|lookup| {
            let key = session.parse_sql_expr(&lookup.key.key, &schema)?;
            Ok((lookup, session.create_physical_expr(key, &schema)?))
        });
        Ok(Self { lookups: lookups.collect::<Result<_>>()? })
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let gsids = text(batch, "Gsid")?;
        for (lookup, key) in &mut self.lookups {
            let key = key.evaluate(batch)?.into_array(batch.num_rows())?;
            lookup.take(cast(&key, &DataType::Utf8)?.as_string(), &gsids);
        }
        Ok(())
    }
}

impl Arrivals {
    /// Nothing has come yet; the load begins at `begun`, on the tenant's clock.
    pub(super) fn new(lookups: Vec<(LookupKey, Wanted)>, begun: DateTime<Utc>) -> Self {
        let since = lookups.iter().map(|(key, _)| (key.object.clone(), (begun - OWN_OVERLAP, 0))).collect();
        let lookups = lookups.into_iter().map(|(key, wanted)| {
            let field = key.field.to_string();
            Lookup { key, field, wanted, found: Found::default() }
        });
        Self { lookups: lookups.collect(), since, by_keys: true }
    }

    /// Looks for what has come since the last look, `sent` rows among it. `session` knows the functions of matching.
    pub(super) async fn read(
        &mut self,
        client: &GainsightClient,
        session: &SessionContext,
        metadata: &BTreeMap<String, Arc<ObjectMetadata>>,
        sent: u64,
        asked: Asked<'_>,
    ) -> Result<()> {
        for (object, (_, again)) in self.since.clone() {
            let Some(metadata) = metadata.get(&object) else { continue };
            let rows = again + sent;
            if self.by_keys
                && let Some((field, keys)) = self.few_keys(&object, rows, asked)?
            {
                self.by_keys = self.read_keys(client, session, metadata, &object, &field, &keys).await?;
                if self.by_keys {
                    continue;
                }
            }
            match self.read_object(client, session, metadata, &object, Way::for_at_least(rows)).await {
                Err(error) if error.kind() == ErrorKind::Integrity => {
                    tracing::warn!(object, "Reading again, page by page: {error}.");
                    self.read_object(client, session, metadata, &object, Way::Pages).await?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// The first parts of the keys to ask for, and the field that has them, if that takes no more calls than to read the
    /// `rows` that are there at least: the tenant is asked by whole seconds, so after a quick round what came before it is
    /// read once more.
    fn few_keys(&self, object: &str, rows: u64, asked: Asked<'_>) -> Result<Option<(String, BTreeSet<String>)>> {
        let (batches, kinds): (_, &[&str]) = match asked {
            Asked::All => return Ok(None),
            Asked::Parents(batches) => (batches, &["wants"]),
            Asked::ParentsAndOwn(batches) => (batches, &["wants", "own"]),
        };
        let lookups: Vec<&Lookup> = self.of(object).collect();
        let [lookup] = lookups.as_slice() else { return Ok(None) };
        let Some(field) = &lookup.key.id else { return Ok(None) };
        let mut keys = BTreeSet::new();
        for batch in batches {
            for name in kinds.iter().map(|kind| format!("{kind}.{}", lookup.field)) {
                if batch.column_by_name(&name).is_some() {
                    let wanted = text(batch, &name)?;
                    let missing = wanted.iter().flatten().filter(|key| lookup.found.get(key).is_none());
                    keys.extend(missing.map(|key| LookupKey::first_part(key).to_owned()));
                }
            }
        }
        let fewer = keys.len().div_ceil(KEYS_A_CALL) as u64 <= rows / u64::from(PAGE_ROWS) + 1;
        Ok(fewer.then(|| (field.clone(), keys)))
    }

    /// The columns of its keys.
    fn columns(&self, object: &str) -> Vec<String> {
        let columns: BTreeSet<&String> = self.of(object).flat_map(|lookup| &lookup.key.columns).collect();
        columns.into_iter().cloned().collect()
    }

    fn of(&self, object: &str) -> impl Iterator<Item = &Lookup> {
        self.lookups.iter().filter(move |lookup| lookup.key.object == object)
    }

    /// Looks for `keys`. Gives whether the tenant answers that.
    async fn read_keys(
        &mut self,
        client: &GainsightClient,
        session: &SessionContext,
        metadata: &ObjectMetadata,
        object: &str,
        field: &str,
        keys: &BTreeSet<String>,
    ) -> Result<bool> {
        let columns = self.columns(object);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        for keys in keys.chunks(KEYS_A_CALL) {
            let found = gainsight::read_by_keys(client, metadata, &columns, field, keys).await?;
            let Some(batch) = found else { return Ok(false) };
            let mut taking = Taking::begin(&mut self.lookups, session, object, &batch.schema())?;
            taking.take(&batch)?;
        }
        Ok(true)
    }

    async fn read_object(
        &mut self,
        client: &GainsightClient,
        session: &SessionContext,
        metadata: &ObjectMetadata,
        object: &str,
        way: Way,
    ) -> Result<()> {
        let columns = self.columns(object);
        let mut reading =
            gainsight::read_mirror(client, metadata, &columns, self.since.get(object).map(|(since, _)| *since), way);
        let mut taking = Taking::begin(&mut self.lookups, session, object, &reading.schema())?;
        let mut seconds: BTreeMap<i64, u64> = BTreeMap::new();
        while let Some(batch) = reading.try_next().await? {
            taking.take(&batch)?;
            let modified = batch.column_by_name("ModifiedDate");
            let modified = modified.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            for modified in modified.into_iter().flatten().flatten() {
                *seconds.entry(modified.div_euclid(1_000_000)).or_default() += 1;
            }
        }
        // The next look begins in the second of the newest record: the tenant is asked by whole seconds of its own clock, and
        // nothing was on its way when this look began.
        if let Some((newest, records)) = seconds.pop_last()
            && let Some(newest) = DateTime::from_timestamp(newest, 0)
        {
            self.since.entry(object.to_owned()).and_modify(|since| *since = (*since).max((newest, records)));
        }
        Ok(())
    }

    /// New rows with the references that have come.
    pub(super) fn complete(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(self.referred(rows)?.0)
    }

    /// Of rows that are written by now, those whose references have come, as updates of these alone. Says of the others
    /// what they wait for.
    pub(super) fn updates(&self, rows: &RecordBatch, waiting: &mut Waiting) -> Result<RecordBatch> {
        let (mut rows, come) = self.referred(rows)?;
        let (ids, unresolved) = (text(&rows, "source_id")?, text(&rows, "unresolved")?);
        let (gsids, wants) = (self.own_gsids(&rows)?, Wants::of(&rows)?);
        let mut changed = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            // Persons are found by their keys, other records by their ids.
            let known = gsids.as_ref().is_none_or(|gsids| gsids.is_valid(row));
            if !known || unresolved.is_valid(row) {
                waiting.insert(ids.value(row).to_owned(), wants.at(row));
            }
            let here = self.lookups.iter().zip(&come).filter(|(_, come)| come.value(row));
            let fields: Vec<&str> = here.map(|(lookup, _)| lookup.field.as_str()).collect();
            changed.push((known && !fields.is_empty()).then(|| fields.join(",")));
        }
        let changed = StringArray::from(changed);
        let verdicts = StringArray::from_iter_values(std::iter::repeat_n("update", rows.num_rows()));
        let updated = is_not_null(&changed)?;
        rows = replaced(&rows, "verdict", Arc::new(verdicts))?;
        rows = replaced(&rows, "changed", Arc::new(changed))?;
        if let Some(gsids) = gsids {
            rows = replaced(&rows, "gsid", Arc::new(gsids))?;
        }
        Ok(filter_record_batch(&rows, &updated)?)
    }

    /// The rows with what has come, and for each lookup the rows that it has come for.
    fn referred(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<BooleanArray>)> {
        let mut referred = rows.clone();
        let mut come = Vec::with_capacity(self.lookups.len());
        for lookup in &self.lookups {
            let names = [format!("set.{}", lookup.field), format!("wants.{}", lookup.field)];
            let (set, wants) = (text(rows, &names[0])?, text(rows, &names[1])?);
            let own = own_keys(rows, lookup)?;
            let found = |row: usize| {
                let found = lookup.find(&wants, row)?;
                // Nobody is their own parent.
                let itself = own.as_ref().and_then(|own| lookup.find(own, row));
                (itself != Some(found)).then_some(found)
            };
            let found: StringArray = (0..rows.num_rows()).map(found).collect();
            let here = is_not_null(&found)?;
            let set = zip(&here, &found, &set)?;
            let wants = nullif(&wants, &here)?;
            referred = replaced(&replaced(&referred, &names[0], set)?, &names[1], wants)?;
            come.push(here);
        }
        let unresolved = text(rows, "unresolved")?;
        let unresolved: StringArray = (0..rows.num_rows())
            .map(|row| {
                let fields = unresolved.is_valid(row).then(|| unresolved.value(row))?.split(',');
                let has_come = |field: &str| {
                    self.lookups.iter().zip(&come).any(|(lookup, come)| lookup.field == field && come.value(row))
                };
                let left: Vec<&str> = fields.filter(|field| !has_come(field)).collect();
                (!left.is_empty()).then(|| left.join(","))
            })
            .collect();
        Ok((replaced(&referred, "unresolved", Arc::new(unresolved))?, come))
    }

    /// The rows' own records, where rows are written by their ids.
    fn own_gsids(&self, rows: &RecordBatch) -> Result<Option<StringArray>> {
        for lookup in &self.lookups {
            if let Some(own) = own_keys(rows, lookup)? {
                return Ok(Some((0..rows.num_rows()).map(|row| lookup.find(&own, row)).collect()));
            }
        }
        Ok(None)
    }
}

fn own_keys(rows: &RecordBatch, lookup: &Lookup) -> Result<Option<StringArray>> {
    let name = format!("own.{}", lookup.field);
    rows.column_by_name(&name).map(|_| text(rows, &name)).transpose()
}

fn replaced(rows: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let (at, field) = rows
        .schema_ref()
        .column_with_name(name)
        .ok_or_else(|| Error::bug(format!("the verdict query has no column `{name}`")))?;
    let mut columns = rows.columns().to_vec();
    columns[at] = cast(&column, field.data_type())?;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

fn text(rows: &RecordBatch, name: &str) -> Result<StringArray> {
    Ok(super::job::text(rows, name)?.as_string::<i32>().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::job::TargetField;
    use crate::ledger::WantsOf;

    fn texts(cells: &[Option<&str>]) -> StringArray {
        StringArray::from(cells.to_vec())
    }

    /// A lookup of users by id, with these records, of which rows wait for the keys up to `5`.
    fn arrivals(lowest: bool, records: &[(&str, &str)]) -> Arrivals {
        let key = LookupKey {
            field: TargetField { object: "gsuser".to_owned(), field: "Manager".to_owned() },
            object: "gsuser".to_owned(),
            key: "match_id(\"SfdcUserId\")".to_owned(),
            columns: vec!["SfdcUserId".to_owned()],
            id: Some("SfdcUserId".to_owned()),
            lowest,
        };
        let mut wanted = Wanted::default();
        wanted.add(&texts(&[Some("1"), Some("2"), None, Some("3"), Some("4"), Some("5")]));
        let mut arrivals = Arrivals::new(vec![(key, wanted)], DateTime::UNIX_EPOCH);
        for (key, gsid) in records {
            arrivals.lookups[0].take(&texts(&[Some(key)]), &texts(&[Some(gsid)]));
        }
        arrivals
    }

    /// Rows that wait: id, key, own key.
    fn rows(rows: &[(&str, &str, &str)]) -> RecordBatch {
        let column = |cells: Vec<Option<&str>>| Arc::new(StringArray::from(cells)) as ArrayRef;
        let all = |text: &'static str| column(vec![Some(text); rows.len()]);
        let none = || column(vec![None; rows.len()]);
        RecordBatch::try_from_iter_with_nullable([
            ("source_id", column(rows.iter().map(|row| Some(row.0)).collect()), true),
            ("verdict", all("insert"), true),
            ("gsid", none(), true),
            ("changed", none(), true),
            ("unresolved", all("gsuser.Manager"), true),
            ("set.gsuser.Manager", none(), true),
            ("own.gsuser.Manager", column(rows.iter().map(|row| Some(row.2)).collect()), true),
            ("wants.gsuser.Manager", column(rows.iter().map(|row| Some(row.1)).collect()), true),
        ])
        .unwrap()
    }

    fn cells(rows: &RecordBatch, name: &str) -> Vec<Option<String>> {
        text(rows, name).unwrap().iter().map(|cell| cell.map(str::to_owned)).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn keys_of_one_number_stay_apart() {
        let mut found = Found::default();
        for (key, gsid) in [("one", "A"), ("two", "B"), ("three", "C"), ("two", "B"), ("one", "D")] {
            found.add(7, key, gsid, false);
        }
        let gsid = |key: &str| found.place(7, key).map(|place| found.records[place].gsid.clone());
        assert_eq!(gsid("two").flatten().map(|gsid| &found.texts[gsid]), Some("B"));
        assert_eq!(gsid("three").flatten().map(|gsid| &found.texts[gsid]), Some("C"));
        assert_eq!((gsid("one"), gsid("four")), (Some(None), None), "several records, and none");
    }

    #[test]
    fn a_reference_is_given_where_one_record_has_the_key() {
        let records = [("1", "B"), ("1", "B"), ("2", "D"), ("2", "C"), ("2", "E"), ("9", "X")];
        let waiting = rows(&[("a", "1", "4"), ("b", "2", "5"), ("c", "3", "6")]);
        for (lowest, of_two) in [(false, None), (true, some("C"))] {
            let arrivals = arrivals(lowest, &records);
            assert!(arrivals.lookups[0].found.get("9").is_none(), "nobody waits for it");
            let complete = arrivals.complete(&waiting).unwrap();
            assert_eq!(cells(&complete, "set.gsuser.Manager"), [some("B"), of_two.clone(), None]);
            let still = of_two.is_none().then(|| "2".to_owned());
            assert_eq!(cells(&complete, "wants.gsuser.Manager"), [None, still.clone(), some("3")]);
            let open = still.map(|_| "gsuser.Manager".to_owned());
            assert_eq!(cells(&complete, "unresolved"), [None, open, some("gsuser.Manager")]);
        }
    }

    #[test]
    fn a_written_row_is_updated_by_its_own_id_and_nobody_is_their_own_parent() {
        let arrivals = arrivals(false, &[("1", "B"), ("2", "C"), ("4", "D")]);
        let written =
            rows(&[("a", "1", "4"), ("without a record", "1", "5"), ("itself", "2", "2"), ("orphan", "3", "4")]);
        let mut waiting = Waiting::new();
        let updates = arrivals.updates(&written, &mut waiting).unwrap();
        assert_eq!(cells(&updates, "source_id"), [some("a")]);
        assert_eq!(cells(&updates, "verdict"), [some("update")]);
        assert_eq!(cells(&updates, "gsid"), [some("D")]);
        assert_eq!(cells(&updates, "changed"), [some("gsuser.Manager")]);
        assert_eq!(cells(&updates, "set.gsuser.Manager"), [some("B")]);
        assert_eq!(waiting.keys().collect::<Vec<_>>(), ["itself", "orphan", "without a record"]);
        assert_eq!(waiting["orphan"], [WantsOf::lookup("gsuser.Manager").want("3")]);
        assert!(waiting["without a record"].is_empty(), "tried again each time");
    }
}

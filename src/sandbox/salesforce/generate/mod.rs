//! The org's records, made from a seed.
//!
//! Accounts are the real companies of `src/sandbox/data/sp500_companies.csv`, then their subsidiaries; users and contacts have
//! names of nine languages and the mess of the real world: apostrophes, umlauts, CJK, commas, quotes, line breaks, emoji.
//!
//! # Promises
//! * The same options give the same records.
//! * Every active standard user has a user name and an e-mail of its own, every contact an e-mail and a live account;
//!   one e-mail stands at two accounts where one human works for both. What is wrong on purpose is [`Planted`].
//! * All time stamps lie days to years in the past.

mod accounts;
mod cases;
mod contacts;
mod cultures;
mod currencies;
mod opportunities;
mod planted;
mod queues;
mod subscriptions;
mod users;

use chrono::DateTime;
use chrono::Utc;
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

pub(crate) use planted::Planted;

use super::schema::FieldIndex;
use super::schema::ObjectIndex;
use super::schema::Schema;
use super::store::Store;
use super::store::Value;
use crate::error::Error;
use crate::error::Result;

const DAY: i64 = 86_400;

/// How much to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) seed: u64,
    pub(crate) users: usize,
    pub(crate) accounts: usize,
    pub(crate) contacts: usize,
    pub(crate) opportunities: usize,
    pub(crate) cases: usize,
    pub(crate) subscriptions: usize,
    /// Nothing is wrong on purpose.
    pub(crate) clean: bool,
}

/// Fills an empty store and says what was planted.
///
/// # Errors
/// Bug, if the built-in data or the object files do not fit this code.
pub(crate) fn fill(store: &mut Store, sizes: Sizes, now: DateTime<Utc>) -> Result<Vec<Planted>> {
    let now = now.timestamp();
    let users = users::fill(store, sizes, now)?;
    let accounts = accounts::fill(store, sizes, now, &users)?;
    contacts::fill(store, sizes, now, &users, &accounts)?;
    let planted = if sizes.clean { Vec::new() } else { planted::plant(store, now, &users)? };
    let queues = queues::fill(store, now)?;
    opportunities::fill(store, sizes, now, &users)?;
    cases::fill(store, sizes, now, &users, &queues)?;
    subscriptions::fill(store, sizes, now, &users)?;
    currencies::fill(store, now)?;
    Ok(planted)
}

/// A repeatable source of choices.
struct Dice(ChaCha8Rng);

impl Dice {
    /// Choices of one kind of record.
    fn new(seed: u64, what: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ what))
    }

    /// A number below `n`, which is not zero.
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n as u64) as usize
    }

    /// True so many times in a thousand.
    fn chance(&mut self, per_mille: u32) -> bool {
        self.0.random_range(0..1000u32) < per_mille
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Created and changed: a creation up to six years ago, a change after it and at least two days ago.
    fn life(&mut self, now: i64) -> (i64, i64) {
        let created = now - 3 * DAY - self.below((6 * 365 * DAY) as usize) as i64;
        let span = now - 2 * DAY - created;
        (created, created + self.below(span as usize) as i64)
    }
}

/// The positions of fields.
fn fields<const N: usize>(schema: &Schema, object: ObjectIndex, names: [&str; N]) -> Result<[FieldIndex; N]> {
    let definition = &schema.objects[object];
    let mut found = [0; N];
    for (place, name) in found.iter_mut().zip(names) {
        *place = definition.find(name).ok_or_else(|| {
            Error::bug("an object file lacks a field that generated records fill")
                .context("object", definition.name.clone())
                .context("field", name)
        })?;
    }
    Ok(found)
}

/// The position of an object.
fn object(schema: &Schema, name: &'static str) -> Result<ObjectIndex> {
    schema
        .find(name)
        .ok_or_else(|| Error::bug("the sandbox has no file for an object it fills").context("object", name))
}

/// A record that is being made.
struct Record<'a> {
    store: &'a mut Store,
    object: ObjectIndex,
    row: u32,
}

impl<'a> Record<'a> {
    fn new(store: &'a mut Store, object: ObjectIndex) -> Self {
        let row = store.table_mut(object).append();
        Self { store, object, row }
    }

    fn text(&mut self, field: FieldIndex, text: &str) {
        self.store.set(self.object, self.row, field, Value::Text(text));
    }

    fn flag(&mut self, field: FieldIndex, value: bool) {
        self.store.set(self.object, self.row, field, Value::Boolean(value));
    }

    fn whole(&mut self, field: FieldIndex, value: i64) {
        self.store.set(self.object, self.row, field, Value::Whole(value));
    }

    fn number(&mut self, field: FieldIndex, value: f64) {
        self.store.set(self.object, self.row, field, Value::Double(value));
    }

    fn parent(&mut self, field: FieldIndex, row: u32) {
        self.store.set(self.object, self.row, field, Value::Row(row));
    }
}

/// The audit fields of an object.
struct Audit([FieldIndex; 5]);

impl Audit {
    fn new(schema: &Schema, object: ObjectIndex) -> Result<Self> {
        let names = ["CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp"];
        Ok(Self(fields(schema, object, names)?))
    }

    fn write(&self, record: &mut Record<'_>, (created, changed): (i64, i64), by: u32) {
        let [created_at, created_by, changed_at, changed_by, stamp] = self.0;
        record.whole(created_at, created);
        record.parent(created_by, by);
        record.whole(changed_at, changed);
        record.parent(changed_by, by);
        record.whole(stamp, changed);
    }
}

#[cfg(test)]
mod tests;

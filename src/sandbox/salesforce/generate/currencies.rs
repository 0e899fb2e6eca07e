//! The currencies of an org that has several, and the currency of each record.

use super::Audit;
use super::DAY;
use super::Record;
use super::fields;
use crate::error::Result;
use crate::sandbox::salesforce::schema::CURRENCIES;
use crate::sandbox::salesforce::store::Store;
use crate::sandbox::salesforce::store::Value;

/// Units of each currency for one US dollar, and decimal places.
const RATES: [(f64, i64); CURRENCIES.len()] = [(1.0, 2), (0.92, 2), (0.785, 2), (151.25, 0), (0.88, 2), (1.37, 2)];

/// Writes both, if the org has several currencies.
pub(super) fn fill(store: &mut Store, now: i64) -> Result<()> {
    let schema = std::sync::Arc::clone(&store.schema);
    let Some(currency) = schema.find("CurrencyType") else { return Ok(()) };
    let names = ["IsoCode", "ConversionRate", "DecimalPlaces", "IsActive", "IsCorporate"];
    let [code, rate, places, active, corporate] = fields(&schema, currency, names)?;
    let audit = Audit::new(&schema, currency)?;
    for (at, (iso, (units, digits))) in CURRENCIES.iter().zip(RATES).enumerate() {
        let mut record = Record::new(store, currency);
        record.text(code, iso);
        record.number(rate, units);
        record.whole(places, digits);
        record.flag(active, *iso != "CHF");
        record.flag(corporate, at == 0);
        audit.write(&mut record, (now - 1000 * DAY, now - 30 * DAY), 0);
    }
    for (object, definition) in schema.objects.iter().enumerate() {
        let Some(field) = definition.find("CurrencyIsoCode") else { continue };
        for row in 0..store.table(object).rows() as u32 {
            // Half of the records in dollars, the others in turn.
            let at = if row % 2 == 0 { 0 } else { (row / 2) as usize % 4 };
            store.set(object, row, field, Value::Text(CURRENCIES[at]));
        }
    }
    Ok(())
}

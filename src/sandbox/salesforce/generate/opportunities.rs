//! Opportunities at the accounts.

use super::Audit;
use super::DAY;
use super::Dice;
use super::Record;
use super::Sizes;
use super::fields;
use super::object;
use super::users::Users;
use crate::error::Result;
use crate::sandbox::salesforce::store::Store;

const STAGES: [(&str, f64); 6] = [
    ("Prospecting", 10.0),
    ("Qualification", 10.0),
    ("Proposal/Price Quote", 75.0),
    ("Negotiation/Review", 90.0),
    ("Closed Won", 100.0),
    ("Closed Lost", 0.0),
];
const TYPES: [&str; 3] = ["New Customer", "Existing Customer - Upgrade", "Existing Customer - Downgrade"];
const DEALS: [&str; 5] = ["Renewal", "Expansion", "Pilot", "\"Gold\" Support", "Add-on, Q4"];

/// Writes the opportunities.
pub(super) fn fill(store: &mut Store, sizes: Sizes, now: i64, users: &Users) -> Result<()> {
    let schema = std::sync::Arc::clone(&store.schema);
    let opportunity = object(&schema, "Opportunity")?;
    let accounts = store.table(object(&schema, "Account")?).rows();
    if accounts == 0 {
        return Ok(());
    }
    let names = ["AccountId", "Name", "StageName", "Amount", "Probability", "CloseDate", "Type", "OwnerId", "NextStep"];
    let [account, name, stage, amount, probability, close, kind, owner, step] = fields(&schema, opportunity, names)?;
    let audit = Audit::new(&schema, opportunity)?;
    let mut dice = Dice::new(sizes.seed, 4);
    for number in 0..sizes.opportunities {
        let life = dice.life(now);
        let (at, likely) = dice.pick(&STAGES);
        let mut record = Record::new(store, opportunity);
        record.parent(account, dice.below(accounts) as u32);
        record.text(name, &format!("{} {}", dice.pick(&DEALS), number + 1));
        record.text(stage, at);
        if !dice.chance(50) {
            record.number(amount, dice.below(2_000_000) as f64 / 4.0);
        }
        record.number(probability, likely);
        record.whole(close, (life.0 + dice.below((300 * DAY) as usize) as i64).div_euclid(DAY));
        record.text(kind, dice.pick(&TYPES));
        record.text(step, if dice.chance(300) { "Call back\nnext week" } else { "" });
        let by = dice.pick(&users.active);
        record.parent(owner, by);
        audit.write(&mut record, life, by);
    }
    Ok(())
}

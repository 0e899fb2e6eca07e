//! Records of the custom object `Subscription__c`: what accounts have bought, until when, at what price.

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

const STATUSES: [&str; 5] = ["Active", "Active", "Renewed", "Cancelled", "Draft"];
const PRODUCTS: [&str; 5] = ["Core", "Analytics", "Journeys", "Surveys", "Support Plus"];

/// Writes the subscriptions. One in fifty has a status that the picklist no longer offers.
pub(super) fn fill(store: &mut Store, sizes: Sizes, now: i64, users: &Users) -> Result<()> {
    let schema = std::sync::Arc::clone(&store.schema);
    let subscription = object(&schema, "Subscription__c")?;
    let user = object(&schema, "User")?;
    let accounts = store.table(object(&schema, "Account")?).rows();
    if accounts == 0 {
        return Ok(());
    }
    let names = [
        "External_Id__c",
        "Account__c",
        "Status__c",
        "Products__c",
        "MRR__c",
        "Discount__c",
        "Seats__c",
        "Start_Date__c",
        "End_Date__c",
        "Auto_Renew__c",
        "Terms__c",
        "OwnerId",
    ];
    let [key, account, status, products, mrr, discount, seats, start, end, renew, terms, owner] =
        fields(&schema, subscription, names)?;
    let audit = Audit::new(&schema, subscription)?;
    let mut dice = Dice::new(sizes.seed, 6);
    for number in 0..sizes.subscriptions {
        let life = dice.life(now);
        let by = dice.pick(&users.active);
        let owned = store.id(user, by);
        let mut record = Record::new(store, subscription);
        record.text(key, &format!("SUB-EXT-{:06}", number + 1));
        record.parent(account, dice.below(accounts) as u32);
        record.text(status, if number % 50 == 49 { "Pilot" } else { dice.pick(&STATUSES) });
        let chosen: Vec<_> = PRODUCTS.iter().copied().filter(|_| dice.chance(450)).collect();
        record.text(products, &chosen.join(";"));
        record.number(mrr, (dice.below(5_000_000) as f64) / 100.0);
        if dice.chance(300) {
            record.number(discount, (dice.below(3000) as f64) / 100.0);
        }
        record.number(seats, (1 + dice.below(5000)) as f64);
        let begins = (now - 400 * DAY + dice.below((380 * DAY) as usize) as i64).div_euclid(DAY);
        record.whole(start, begins);
        record.whole(end, begins + 365);
        record.flag(renew, dice.chance(700));
        if dice.chance(200) {
            record.text(terms, &format!("§ 1 Scope\n\nSeats: {number}\t(\"fair use\")\n").repeat(40));
        }
        record.text(owner, owned.as_str());
        audit.write(&mut record, life, by);
    }
    Ok(())
}

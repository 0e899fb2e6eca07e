//! Cases: of contacts and their accounts, owned by people and by queues.

use super::Audit;
use super::Dice;
use super::Record;
use super::Sizes;
use super::fields;
use super::object;
use super::users::Users;
use crate::error::Result;
use crate::sandbox::salesforce::store::Store;

const STATUSES: [&str; 4] = ["New", "Working", "Escalated", "Closed"];
const TYPES: [&str; 5] = ["Mechanical", "Electrical", "Electronic", "Structural", "Other"];
const PRIORITIES: [&str; 3] = ["High", "Medium", "Low"];
const ORIGINS: [&str; 3] = ["Phone", "Email", "Web"];
const SUBJECTS: [&str; 6] = [
    "Cannot log in",
    "Export is slow, very slow",
    "Question about \"seats\"",
    "Rechnung fehlt",
    "請求書の件",
    "🔥 production down",
];

/// Writes the cases.
pub(super) fn fill(store: &mut Store, sizes: Sizes, now: i64, users: &Users, queues: &[u32]) -> Result<()> {
    let schema = std::sync::Arc::clone(&store.schema);
    let case = object(&schema, "Case")?;
    let contacts = object(&schema, "Contact")?;
    let [of_account] = fields(&schema, contacts, ["AccountId"])?;
    let (user, group) = (object(&schema, "User")?, object(&schema, "Group")?);
    let names = [
        "ContactId",
        "AccountId",
        "Type",
        "Status",
        "Priority",
        "Origin",
        "Subject",
        "Description",
        "OwnerId",
        "ClosedDate",
        "IsEscalated",
    ];
    let [contact, account, kind, status, priority, origin, subject, description, owner, closed, escalated] =
        fields(&schema, case, names)?;
    let audit = Audit::new(&schema, case)?;
    let mut dice = Dice::new(sizes.seed, 5);
    let people = store.table(contacts).rows();
    for number in 0..sizes.cases {
        let life = dice.life(now);
        let person = (people > 0 && !dice.chance(30)).then(|| dice.below(people) as u32);
        let of = person.and_then(|person| store.parent(contacts, person, of_account));
        let by = dice.pick(&users.active);
        let owned = if !queues.is_empty() && dice.chance(250) {
            store.id(group, dice.pick(queues))
        } else {
            store.id(user, by)
        };
        let state = dice.pick(&STATUSES);
        let mut record = Record::new(store, case);
        if let Some(person) = person {
            record.parent(contact, person);
        }
        if let Some((_, of)) = of {
            record.parent(account, of);
        }
        record.text(kind, dice.pick(&TYPES));
        record.text(status, state);
        record.text(priority, dice.pick(&PRIORITIES));
        record.text(origin, dice.pick(&ORIGINS));
        record.text(subject, dice.pick(&SUBJECTS));
        if dice.chance(600) {
            record.text(description, &format!("Since build {number}:\n\n  \"It stopped.\"\r\nRegards"));
        }
        record.text(owner, owned.as_str());
        record.flag(escalated, state == "Escalated");
        if state == "Closed" {
            record.whole(closed, life.1);
        }
        audit.write(&mut record, life, by);
    }
    Ok(())
}

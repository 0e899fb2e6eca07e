//! Groups: two queues that own cases, and a public group.

use super::Audit;
use super::DAY;
use super::Record;
use super::fields;
use super::object;
use crate::error::Result;
use crate::sandbox::salesforce::store::Store;

const GROUPS: [(&str, &str, &str, &str); 3] = [
    ("Tier 1 Support", "Tier_1_Support", "Queue", "tier1@sandbox.example"),
    ("Escalations", "Escalations", "Queue", ""),
    ("All Internal Users", "AllInternalUsers", "Organization", ""),
];

/// Writes the groups and returns the rows of the queues.
pub(super) fn fill(store: &mut Store, now: i64) -> Result<Vec<u32>> {
    let schema = std::sync::Arc::clone(&store.schema);
    let group = object(&schema, "Group")?;
    let [name, developer, kind, email] = fields(&schema, group, ["Name", "DeveloperName", "Type", "Email"])?;
    let audit = Audit::new(&schema, group)?;
    let mut queues = Vec::new();
    for (label, api, of, address) in GROUPS {
        let mut record = Record::new(store, group);
        record.text(name, label);
        record.text(developer, api);
        record.text(kind, of);
        record.text(email, address);
        audit.write(&mut record, (now - 900 * DAY, now - 400 * DAY), 0);
        if of == "Queue" {
            queues.push(record.row);
        }
    }
    Ok(queues)
}

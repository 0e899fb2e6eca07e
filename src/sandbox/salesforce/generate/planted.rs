//! Records that are wrong on purpose, each with the code under which a sync should refuse it.

use serde::Serialize;

use super::Audit;
use super::DAY;
use super::Record;
use super::fields;
use super::object;
use super::users::Users;
use crate::error::Result;
use crate::sandbox::salesforce::store::Store;

/// One record that should be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Planted {
    pub(crate) object: &'static str,
    pub(crate) id: String,
    /// What is wrong with it.
    pub(crate) kind: &'static str,
    /// The reject code that it is planted for.
    pub(crate) code: &'static str,
}

/// Adds the records: one account and four contacts, of which one is right.
pub(super) fn plant(store: &mut Store, now: i64, users: &Users) -> Result<Vec<Planted>> {
    let schema = std::sync::Arc::clone(&store.schema);
    let account = object(&schema, "Account")?;
    let contact = object(&schema, "Contact")?;
    let owner = users.active[0];
    let mut planted = Vec::new();
    let mut note = |store: &Store, object, row, kind, code| {
        let name = if object == account { "Account" } else { "Contact" };
        planted.push(Planted { object: name, id: store.id(object, row).to_string(), kind, code });
    };

    let [name, account_owner] = fields(&schema, account, ["Name", "OwnerId"])?;
    let mut record = Record::new(store, account);
    // 252 characters: an account may have 255, the tenant's company name 250.
    let mut long = "Amalgamated ".repeat(21);
    long.truncate(247);
    long.push_str(" Inc.");
    record.text(name, &long);
    record.parent(account_owner, owner);
    Audit::new(&schema, account)?.write(&mut record, (now - 90 * DAY, now - 20 * DAY), owner);
    let row = record.row;
    note(store, account, row, "account_with_long_name", "VALUE_TOO_LONG");

    let audit = Audit::new(&schema, contact)?;
    let [parent, first, last, email, title, contact_owner] =
        fields(&schema, contact, ["AccountId", "FirstName", "LastName", "Email", "Title", "OwnerId"])?;
    let has_accounts = store.table(account).rows() > 1;
    let add = |store: &mut Store, names: (&str, &str), address: &str, of: Option<u32>, days: i64| {
        let mut record = Record::new(store, contact);
        record.text(first, names.0);
        record.text(last, names.1);
        record.text(email, address);
        record.text(title, "Consultant");
        if let Some(of) = of {
            record.parent(parent, of);
        }
        record.parent(contact_owner, owner);
        audit.write(&mut record, (now - 200 * DAY, now - days * DAY), owner);
        record.row
    };
    let row = add(store, ("Nora", "Nowhere"), "nora.nowhere@unattached.example", None, 40);
    note(store, contact, row, "contact_without_account", "LOOKUP_NO_MATCH");
    if has_accounts {
        let row = add(store, ("Emil", "O'Blank"), "", Some(0), 41);
        note(store, contact, row, "contact_without_email", "BLANK_IDENTIFIER");
        let row = add(store, ("Dora", "Double"), "Dora.Double@Twice.example", Some(0), 50);
        note(store, contact, row, "older_of_two_contacts_with_one_email", "DUPLICATE_IN_SOURCE");
        add(store, ("Dora", "Double"), "dora.double@twice.example", Some(0), 10);
    }
    Ok(planted)
}

//! What is written, and what is refused without a trace.

use serde_json::json;

use super::*;

/// An org with one user and one account, and who writes there.
fn org() -> (Store, Caller) {
    let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
    let users = store.schema.find("User").unwrap();
    store.table_mut(users).append();
    (store, Caller { user: 0, now: 1_000, access: Arc::default() })
}

fn object(store: &Store, name: &str) -> ObjectIndex {
    store.schema.find(name).unwrap()
}

fn field(store: &Store, object: ObjectIndex, name: &str) -> FieldIndex {
    store.schema.objects[object].find(name).unwrap()
}

/// Inserts a record given as JSON.
fn insert(store: &mut Store, caller: &Caller, name: &str, body: &serde_json::Value) -> Result<Written, ApiError> {
    let object = object(store, name);
    let schema = Arc::clone(&store.schema);
    let values = from_json(&schema, &caller.access, object, body.as_object().unwrap())?;
    Writer::new(store, caller).insert(object, &values)
}

/// Runs one operation on a row of CSV.
fn csv<T>(
    store: &mut Store,
    caller: &Caller,
    name: &str,
    cells: &[(&str, &str)],
    run: impl FnOnce(&mut Writer<'_>, ObjectIndex, &Row<'_>) -> T,
) -> Result<T, ApiError> {
    let object = object(store, name);
    let mut values = Vec::new();
    for (header, cell) in cells {
        values.push((target(&store.schema, &caller.access, object, header)?, Given::Text(cell)));
    }
    Ok(run(&mut Writer::new(store, caller), object, &values))
}

fn shown(store: &Store, name: &str, id: Id, name_of_field: &str) -> String {
    let object = object(store, name);
    format!("{:?}", store.cell(object, store.row(object, &id).unwrap(), field(store, object, name_of_field)))
}

#[test]
fn an_empty_cell_leaves_a_field_alone_and_a_marked_one_empties_it() {
    let (mut store, caller) = org();
    let id = insert(&mut store, &caller, "Account", &json!({ "Name": "A", "Site": "S", "Phone": "1" })).unwrap().id;
    let cells = [("Id", id.as_str()), ("Site", ""), ("Phone", "#N/A"), ("NumberOfEmployees", "7"), ("Fax", " x ")];
    csv(&mut store, &caller, "Account", &cells, |writer, object, row| writer.update(object, id.as_str(), row))
        .unwrap()
        .unwrap();
    assert_eq!(shown(&store, "Account", id, "Site"), "Text(\"S\")");
    assert_eq!(shown(&store, "Account", id, "Phone"), "Null");
    assert_eq!(shown(&store, "Account", id, "NumberOfEmployees"), "Integer(7)");
    assert_eq!(shown(&store, "Account", id, "Fax"), "Text(\" x \")", "blanks are not trimmed");
}

#[test]
fn a_refused_record_leaves_nothing_behind() {
    let (mut store, caller) = org();
    let cells = [("Name", "A"), ("NumberOfEmployees", "many")];
    let refused =
        csv(&mut store, &caller, "Account", &cells, |writer, object, row| writer.insert(object, row)).unwrap();
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str(), refused.fields),
        (
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            "Employees: value not of required type: many",
            Some(vec!["NumberOfEmployees".to_owned()])
        )
    );
    assert_eq!(store.table(object(&store, "Account")).rows(), 0);
}

#[test]
fn upserts_go_by_the_key_and_refuse_what_is_not_one_record() {
    let (mut store, caller) = org();
    let contact = object(&store, "Contact");
    let email = field(&store, contact, "Email");
    let run = |store: &mut Store, address: &str, name: &str| {
        let cells = [("Email", address), ("LastName", name)];
        csv(store, &caller, "Contact", &cells, |writer, object, row| writer.upsert(object, email, row)).unwrap()
    };
    let first = run(&mut store, "a@x.example", "One").unwrap();
    let second = run(&mut store, "A@X.example", "Two").unwrap();
    assert_eq!((first.created, second.created, first.id), (true, false, second.id));
    assert_eq!(shown(&store, "Contact", first.id, "LastName"), "Text(\"Two\")");
    let other = insert(&mut store, &caller, "Contact", &json!({ "LastName": "B", "Email": "a@x.example" })).unwrap().id;
    let refused = run(&mut store, "a@x.example", "Three").unwrap_err();
    assert_eq!(
        (refused.code, refused.message),
        ("DUPLICATE_VALUE", format!("More than one record found for external id field: [{}, {other}]", first.id))
    );
    assert_eq!(run(&mut store, "", "Four").unwrap_err().code, "MISSING_ARGUMENT");
    let mut writer = Writer::new(&mut store, &caller);
    let last = field(writer.store(), contact, "LastName");
    let row = [(Target::Field(email), Given::Text("n@x.example")), (Target::Field(last), Given::Text("N"))];
    assert!(writer.upsert(contact, email, &row).unwrap().created);
    let twice = writer.upsert(contact, email, &row).unwrap_err();
    assert_eq!(
        (twice.code, twice.message.as_str()),
        ("DUPLICATE_VALUE", "Duplicate external id specified: n@x.example")
    );
    writer.next_chunk();
    assert!(!writer.upsert(contact, email, &row).unwrap().created);
}

#[test]
fn parents_are_named_by_their_external_ids() {
    let (mut store, caller) = org();
    let users = object(&store, "User");
    store.set(users, 0, field(&store, users, "Username"), Value::Text("me@x.example"));
    let body = json!({ "Name": "A", "Owner": { "Username": "ME@x.example" } });
    let account = insert(&mut store, &caller, "Account", &body).unwrap().id;
    assert_eq!(shown(&store, "Account", account, "OwnerId"), format!("Id({:?})", store.id(users, 0)));
    let cells = [("LastName", "C"), ("Account.Id", account.as_str()), ("Owner.Username", "me@x.example")];
    let contact = csv(&mut store, &caller, "Contact", &cells, |writer, object, row| writer.insert(object, row));
    let contact = contact.unwrap().unwrap().id;
    assert_eq!(shown(&store, "Contact", contact, "AccountId"), format!("Id({account:?})"));
    let body = json!({ "Name": "A", "Owner": { "Username": "nobody" } });
    let refused = insert(&mut store, &caller, "Account", &body).unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        ("INVALID_FIELD", "Foreign key external ID: nobody not found for field Username in entity User")
    );
    let body = json!({ "Name": "A", "Owner": { "Title": "x" } });
    assert_eq!(insert(&mut store, &caller, "Account", &body).unwrap_err().code, "INVALID_FIELD");
}

#[test]
fn deletes_go_through_the_bin_or_past_it() {
    let (mut store, caller) = org();
    let account = insert(&mut store, &caller, "Account", &json!({ "Name": "A" })).unwrap().id;
    let child =
        insert(&mut store, &caller, "Account", &json!({ "Name": "B", "ParentId": account.as_str() })).unwrap().id;
    let body = json!({ "LastName": "C", "AccountId": account.as_str() });
    let contact = insert(&mut store, &caller, "Contact", &body).unwrap().id;
    let (accounts, contacts) = (object(&store, "Account"), object(&store, "Contact"));
    let later = Caller { now: 2_000, ..caller };

    Writer::new(&mut store, &later).delete(accounts, account.as_str()).unwrap();
    assert_eq!(shown(&store, "Contact", contact, "IsDeleted"), "Boolean(true)");
    assert_eq!(shown(&store, "Contact", contact, "SystemModstamp"), "Datetime(2000)");
    let refused = Writer::new(&mut store, &later).delete(accounts, account.as_str()).unwrap_err();
    assert_eq!(refused.code, "ENTITY_IS_DELETED");

    let later = Caller { now: 3_000, ..later };
    Writer::new(&mut store, &later).undelete(accounts, account.as_str()).unwrap();
    assert_eq!(shown(&store, "Contact", contact, "IsDeleted"), "Boolean(false)");
    assert_eq!(
        Writer::new(&mut store, &later).undelete(accounts, account.as_str()).unwrap_err().code,
        "UNDELETE_FAILED"
    );

    Writer::new(&mut store, &later).hard_delete(accounts, account.as_str()).unwrap();
    assert_eq!(store.row(accounts, &account), None);
    assert_eq!(store.row(contacts, &contact), None);
    assert_eq!(shown(&store, "Account", child, "ParentId"), "Null");
    assert_eq!(store.table(accounts).erased().values().collect::<Vec<_>>(), [&3_000]);
    let refused = Writer::new(&mut store, &later).hard_delete(accounts, account.as_str()).unwrap_err();
    assert_eq!(refused.code, "INVALID_CROSS_REFERENCE_KEY");
}

#[test]
fn what_a_user_may_not_do_is_refused() {
    use crate::sandbox::salesforce::access::Permission;
    let (mut store, caller) = org();
    let account = object(&store, "Account");
    let mut access = Access::default();
    access.set_field(account, field(&store, account, "Site"), Permission::Hidden);
    access.set_field(account, field(&store, account, "Phone"), Permission::ReadOnly);
    let caller = Caller { access: Arc::new(access.clone()), ..caller };
    let hidden = insert(&mut store, &caller, "Account", &json!({ "Name": "A", "Site": "x" })).unwrap_err();
    assert_eq!(hidden.message, "No such column 'Site' on sobject of type Account");
    let locked = insert(&mut store, &caller, "Account", &json!({ "Name": "A", "Phone": "1" })).unwrap_err();
    assert_eq!((locked.code, locked.fields), ("INVALID_FIELD_FOR_INSERT_UPDATE", Some(vec!["Phone".to_owned()])));
    access.set_object(account, Permission::ReadOnly);
    let caller = Caller { access: Arc::new(access), ..caller };
    let refused = insert(&mut store, &caller, "Account", &json!({ "Name": "A" })).unwrap_err();
    assert_eq!(refused.code, "INSUFFICIENT_ACCESS_OR_READONLY");
}

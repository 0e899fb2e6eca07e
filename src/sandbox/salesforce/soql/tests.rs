//! Table-driven: each line is a condition and the contacts that pass it.

use std::sync::Arc;

use chrono::DateTime;
use chrono::Utc;

use super::*;
use crate::sandbox::salesforce::access::Access;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::schema::Schema;
use crate::sandbox::salesforce::store::Store;
use crate::sandbox::salesforce::store::Value;

fn now() -> DateTime<Utc> {
    "2026-03-18T12:00:00Z".parse().unwrap()
}

/// Two users, two accounts and five contacts, numbered from nought.
fn org() -> Store {
    let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
    add(&mut store, "User", &[("LastName", Value::Text("Owner")), ("Email", Value::Text("owner@x.example"))]);
    add(&mut store, "User", &[("LastName", Value::Text("Boss")), ("IsActive", Value::Boolean(true))]);
    let user = store.schema.find("User").unwrap();
    let manager = store.schema.objects[user].find("ManagerId").unwrap();
    store.set(user, 0, manager, Value::Row(1));
    let acme = [
        ("Name", Value::Text("Acme")),
        ("OwnerId", Value::Row(0)),
        ("NumberOfEmployees", Value::Whole(50)),
        ("AnnualRevenue", Value::Double(1.5e9)),
    ];
    add(&mut store, "Account", &acme);
    add(&mut store, "Account", &[("Name", Value::Text("Über GmbH")), ("Type", Value::Text("Competitor"))]);
    let day = |text: &str| Value::Whole(i64::from(format::parse_date(text).unwrap()));
    let time = |text: &str| Value::Whole(format::parse_datetime(text).unwrap() / 1_000_000);
    for (last, first, account, modified, birth, deleted) in [
        ("O'Neil", "Ann", Some(0), "2026-03-18T08:00:00Z", None, false),
        ("Müller", "Jörg", Some(1), "2026-03-17T23:59:59Z", Some("1980-01-01"), false),
        ("Smith", "", Some(0), "2026-03-01T00:00:00Z", Some("1990-06-30"), false),
        ("100%_sure", "Zoë", None, "2025-12-31T00:00:00Z", None, false),
        ("Gone", "Bin", Some(0), "2026-03-18T09:00:00Z", None, true),
    ] {
        let mut values = vec![
            ("LastName", Value::Text(last)),
            ("FirstName", Value::Text(first)),
            ("SystemModstamp", time(modified)),
            ("IsDeleted", Value::Boolean(deleted)),
        ];
        values.extend(account.map(|row| ("AccountId", Value::Row(row))));
        values.extend(birth.map(|text| ("Birthdate", day(text))));
        add(&mut store, "Contact", &values);
    }
    store
}

fn add(store: &mut Store, object: &str, values: &[(&str, Value<'_>)]) {
    let object = store.schema.find(object).unwrap();
    let row = store.table_mut(object).append();
    for (field, value) in values {
        let field = store.schema.objects[object].find(field).unwrap();
        store.set(object, row, field, *value);
    }
}

fn run(store: &Store, text: &str, with_deleted: bool) -> Result<Vec<u32>, ApiError> {
    let query = parse(text)?;
    Ok(Bound::new(&query, store, &Access::default(), now())?.rows(store, with_deleted))
}

#[test]
fn conditions() {
    let store = org();
    for (condition, expected) in [
        ("LastName = 'o\\'neil'", vec![0]),
        ("lastname != 'SMITH'", vec![0, 1, 3]),
        ("Name = 'jörg müller'", vec![1]),
        ("Name LIKE '%MÜL%'", vec![1]),
        ("LastName LIKE '_mith'", vec![2]),
        ("LastName LIKE '100\\%\\_%'", vec![3]),
        ("LastName LIKE '100__sur_'", vec![3]),
        ("FirstName = null", vec![2]),
        ("FirstName = ''", vec![2]),
        ("FirstName != NULL", vec![0, 1, 3]),
        ("LastName IN ('Smith', 'müller')", vec![1, 2]),
        ("FirstName NOT IN ('Ann')", vec![1, 2, 3]),
        ("FirstName IN ('Ann', null)", vec![0, 2]),
        ("LastName > 'o'", vec![0, 2]),
        ("LastName >= 'o\\'neil'", vec![0, 2]),
        ("AccountId = null", vec![3]),
        ("Account.Name = 'acme'", vec![0, 2]),
        ("Account.Name = null", vec![3]),
        ("Account.Name = 'ÜBER GMBH'", vec![1]),
        ("Account.Owner.Manager.LastName = 'boss'", vec![0, 2]),
        ("Account.Owner.Email LIKE '%@x.example'", vec![0, 2]),
        ("Account.Owner.IsActive = false", vec![0, 1, 2, 3]),
        ("Account.Owner.Manager.IsActive = TRUE", vec![0, 2]),
        ("Account.NumberOfEmployees >= 50", vec![0, 2]),
        ("Account.NumberOfEmployees < 50", vec![]),
        ("Account.AnnualRevenue > 1.4e9", vec![0, 2]),
        ("Account.Type != 'Competitor'", vec![0, 2, 3]),
        ("SystemModstamp >= 2026-03-18T08:00:00Z", vec![0]),
        ("SystemModstamp > 2026-03-18T08:00:00.000+00:00", vec![]),
        ("SystemModstamp > 2026-03-18T07:59:59.999Z", vec![0]),
        ("SystemModstamp < 2026-03-18T08:00:00.001Z AND SystemModstamp >= 2026-03-18T09:00:00+01:00", vec![0]),
        ("SystemModstamp = 2026-03-18T08:00:00.5Z", vec![]),
        ("SystemModstamp = TODAY", vec![0]),
        ("SystemModstamp = yesterday", vec![1]),
        ("SystemModstamp < THIS_MONTH", vec![3]),
        ("SystemModstamp > LAST_N_DAYS:2", vec![]),
        ("SystemModstamp >= LAST_N_DAYS:2", vec![0, 1]),
        ("SystemModstamp != THIS_YEAR", vec![3]),
        ("Birthdate = 1980-01-01", vec![1]),
        ("Birthdate > 1980-01-01", vec![2]),
        ("Birthdate != 1980-01-01", vec![0, 2, 3]),
        ("(LastName = 'Smith' OR LastName = 'Müller') AND AccountId != null", vec![1, 2]),
        ("NOT LastName = 'Smith' AND FirstName != null", vec![0, 1, 3]),
        ("NOT (LastName = 'Smith' OR FirstName = 'Ann')", vec![1, 3]),
        ("AccountId IN (SELECT Id FROM Account WHERE Type = 'Competitor')", vec![1]),
        ("AccountId NOT IN (SELECT Id FROM Account WHERE Type = 'Competitor')", vec![0, 2, 3]),
        ("Contact.LastName = 'Smith'", vec![2]),
        ("IsDeleted = false", vec![0, 1, 2, 3]),
        ("LastName = '\\u004d\\u00fcller'", vec![1]),
    ] {
        let text = format!("SELECT Id FROM Contact WHERE {condition}");
        assert_eq!(run(&store, &text, false).unwrap(), expected, "{condition}");
        // Keywords in small letters, blanks and a line break at the end.
        let lower = text.replace("SELECT", "select").replace(" WHERE ", "\nwhere ").replace(" AND ", " and ") + " \n";
        assert_eq!(run(&store, &lower, false).unwrap(), expected, "{lower}");
    }
    assert_eq!(run(&store, "SELECT Id FROM Contact WHERE IsDeleted = true", true).unwrap(), [4]);
    assert_eq!(run(&store, "SELECT Id FROM Contact c WHERE c.LastName = 'Gone'", true).unwrap(), [4]);
}

#[test]
fn ids_compare_like_rows_in_both_lengths() {
    let store = org();
    let contact = store.schema.find("Contact").unwrap();
    let account = store.id(store.schema.find("Account").unwrap(), 0).to_string();
    let second = store.id(contact, 1).to_string();
    for (condition, expected) in [
        (format!("Id = '{second}'"), vec![1]),
        (format!("Id = '{}'", &second[..15]), vec![1]),
        (format!("Id > '{second}'"), vec![2, 3]),
        (format!("Id <= '{second}'"), vec![0, 1]),
        (format!("Id IN ('{second}', '{}')", store.id(contact, 3)), vec![1, 3]),
        (format!("AccountId = '{}'", &account[..15]), vec![0, 2]),
        (format!("AccountId != '{account}'"), vec![1, 3]),
        (format!("Account.Id = '{account}'"), vec![0, 2]),
        ("Id > '000000000000000'".to_owned(), vec![0, 1, 2, 3]),
        ("Id = '003bm00000NMK67'".to_owned(), vec![]),
    ] {
        let text = format!("SELECT Id FROM Contact WHERE {condition}");
        assert_eq!(run(&store, &text, false).unwrap(), expected, "{condition}");
    }
    let refused = run(&store, "SELECT Id FROM Contact WHERE Id = 'x'", false).unwrap_err();
    assert_eq!(refused.code, "INVALID_QUERY_FILTER_OPERATOR");
}

#[test]
fn order_limit_and_offset() {
    let store = org();
    for (rest, expected) in [
        ("ORDER BY LastName", vec![3, 1, 0, 2]),
        ("ORDER BY LastName DESC LIMIT 2", vec![2, 0]),
        ("ORDER BY FirstName", vec![2, 0, 1, 3]),
        ("ORDER BY FirstName DESC", vec![2, 3, 1, 0]),
        ("ORDER BY FirstName NULLS LAST", vec![0, 1, 3, 2]),
        ("ORDER BY FirstName DESC NULLS LAST", vec![3, 1, 0, 2]),
        ("order by Account.Name asc nulls last, Id desc", vec![2, 0, 1, 3]),
        ("ORDER BY SystemModstamp ASC", vec![3, 2, 1, 0]),
        ("LIMIT 2", vec![0, 1]),
        ("LIMIT 2 OFFSET 1", vec![1, 2]),
        ("LIMIT 0", vec![]),
        ("OFFSET 10", vec![]),
    ] {
        assert_eq!(run(&store, &format!("SELECT Id FROM Contact {rest}"), false).unwrap(), expected, "{rest}");
    }
}

#[test]
fn refusals_name_code_and_place() {
    let store = org();
    for (text, code, part) in [
        ("SELECT", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id Contact", "MALFORMED_QUERY", "Column:11"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE", "sObject type 'Nothing' is not supported."),
        (
            "SELECT Id, Foo FROM Contact",
            "INVALID_FIELD",
            "\n           ^\nERROR at Row:1:Column:12\nNo such column 'Foo' on entity 'Contact'.",
        ),
        ("SELECT Foo.Name FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Foo'"),
        ("SELECT Id, id FROM Contact", "INVALID_FIELD", "duplicate field selected: id"),
        (
            "SELECT Id FROM Contact WHERE LastName = 'a' AND LastName = 'b' OR LastName = 'c'",
            "MALFORMED_QUERY",
            "unexpected token: 'OR'",
        ),
        ("SELECT Id FROM Contact WHERE LastName = 'a", "MALFORMED_QUERY", "mismatched character"),
        ("SELECT Id FROM Contact WHERE LastName = 'a\\x'", "MALFORMED_QUERY", "Illegal character sequence"),
        (
            "SELECT Id FROM Contact WHERE LastName = 5",
            "INVALID_FIELD",
            "must be of type string and should be enclosed in quotes",
        ),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > '2024-01-01T00:00:00Z'",
            "INVALID_FIELD",
            "must be of type dateTime and should not be enclosed in quotes",
        ),
        ("SELECT Id FROM Contact WHERE SystemModstamp > 2024-01-01", "INVALID_FIELD", "dateTime"),
        ("SELECT Id FROM Contact WHERE IsDeleted = 'true'", "INVALID_FIELD", "boolean"),
        (
            "SELECT Id FROM Contact WHERE Id LIKE '003%'",
            "INVALID_QUERY_FILTER_OPERATOR",
            "invalid operator on id field",
        ),
        ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered"),
        ("SELECT Id FROM Contact WHERE SystemModstamp = LAST_N_DAYS", "MALFORMED_QUERY", "expecting ':'"),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > 2024-01-01T00:00:00.000 00:00",
            "MALFORMED_QUERY",
            "unexpected token",
        ),
        ("SELECT Id FROM Contact ORDER BY Description", "MALFORMED_QUERY", "can not be sorted"),
        ("SELECT Id FROM Contact OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "2000"),
        ("SELECT Id FROM Contact LIMIT -1", "MALFORMED_QUERY", "unexpected token: '-1'"),
        ("SELECT Id FROM Contact; DROP", "MALFORMED_QUERY", "unexpected token"),
        ("SELECT FIELDS(ALL) FROM Contact", "MALFORMED_QUERY", "LIMIT of at most 200"),
        (
            "SELECT ReportsTo.ReportsTo.ReportsTo.ReportsTo.ReportsTo.ReportsTo.Name FROM Contact",
            "MALFORMED_QUERY",
            "levels",
        ),
    ] {
        let refused = run(&store, text, false).unwrap_err();
        assert_eq!(refused.code, code, "{text}: {}", refused.message);
        assert!(refused.message.contains(part), "{text}: {}", refused.message);
        assert_eq!(refused.status, 400);
    }
    assert!(run(&store, &format!("SELECT Id FROM Contact WHERE LastName = '{}'", "x".repeat(100_000)), false).is_err());
}

#[test]
fn a_field_list_is_spelt_as_the_schema_spells_it() {
    let store = org();
    let query = parse("select ID, owner.EMAIL, Contact.lastname from contact").unwrap();
    let bound = Bound::new(&query, &store, &Access::default(), now()).unwrap();
    let names: Vec<_> = bound.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["Id", "Owner.Email", "LastName"]);
    let query = parse("SELECT FIELDS(ALL) FROM Account LIMIT 200").unwrap();
    assert!(Bound::new(&query, &store, &Access::default(), now()).unwrap().outputs.len() > 50);
    let query = parse("SELECT count() FROM Account").unwrap();
    assert!(Bound::new(&query, &store, &Access::default(), now()).unwrap().count);
}

//! What formulas are worth, and how their mistakes are told.

use std::sync::Arc;

use super::*;
use crate::sandbox::salesforce::store::Value;

/// An account and a subscription of it, on 1970-01-11.
fn org() -> (Store, ObjectIndex) {
    let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
    store.now = 10 * 86_400;
    let subscription = store.schema.find("Subscription__c").unwrap();
    for (name, values) in [
        ("Account", vec![("Name", Value::Text("Zoë")), ("Industry", Value::Text("Energy"))]),
        (
            "Subscription__c",
            vec![
                ("Account__c", Value::Row(0)),
                ("MRR__c", Value::Double(10.25)),
                ("End_Date__c", Value::Whole(40)),
                ("Status__c", Value::Text("Active")),
            ],
        ),
    ] {
        let object = store.schema.find(name).unwrap();
        store.table_mut(object).append();
        for (field, value) in values {
            let field = store.schema.objects[object].find(field).unwrap();
            store.set(object, 0, field, value);
        }
    }
    (store, subscription)
}

#[test]
fn values_are_those_of_the_service() {
    let (store, object) = org();
    for (text, kind, expected) in [
        ("MRR__c * 12 - 3", Kind::Currency, Cell::Double(120.0)),
        ("-MRR__c / (2 + 3)", Kind::Double, Cell::Double(-2.05)),
        ("MRR__c / 0", Kind::Double, Cell::Null),
        ("MRR__c + Seats__c", Kind::Double, Cell::Null),
        ("End_Date__c - TODAY()", Kind::Int, Cell::Integer(30)),
        ("TODAY() + 1", Kind::Date, Cell::Date(11)),
        ("NOW()", Kind::Datetime, Cell::Datetime(864_000)),
        ("Account__r.Name & \"/\" & TEXT(Account__r.Industry)", Kind::String, Cell::Computed("Zoë/Energy".into())),
        ("UPPER(Account__r.Owner.Name)", Kind::String, Cell::Null),
        ("BLANKVALUE(Account__r.Owner.Name, 'nobody')", Kind::String, Cell::Computed("nobody".into())),
        ("ISPICKVAL(Status__c, 'Active') && !Auto_Renew__c", Kind::Boolean, Cell::Boolean(true)),
        ("IF(MRR__c >= 10.25, 'big', 'small')", Kind::String, Cell::Computed("big".into())),
        ("CASE(Status__c, 'Draft', 1, 'Active', 2, 3)", Kind::Int, Cell::Integer(2)),
        ("YEAR(End_Date__c) * 100 + MONTH(End_Date__c)", Kind::Int, Cell::Integer(197_002)),
        ("ROUND(MRR__c, 1)", Kind::Double, Cell::Double(10.3)),
        ("ISBLANK(Seats__c) || Seats__c = 1", Kind::Boolean, Cell::Boolean(true)),
        ("Days_To_Renewal__c * 2", Kind::Double, Cell::Double(60.0)),
        ("'not a number'", Kind::Double, Cell::Null),
    ] {
        let formula = Formula::new(text, &store.schema, object).unwrap();
        let shown = format!("{text}: {:?}", formula.cell(&store, (object, 0), (kind, 2), 0));
        assert_eq!(shown, format!("{text}: {expected:?}"));
    }
}

#[test]
fn mistakes_are_told_in_words() {
    let (store, object) = org();
    for (text, expected) in [
        ("MRR__c *", "the formula ends too early"),
        ("MRR__c 12", "`12` is not expected there"),
        ("(MRR__c", "`)` is expected where the end stands"),
        ("Nothing__c", "Subscription__c has no field `Nothing__c`"),
        ("Account__r.Nothing", "Account has no field `Nothing`"),
        ("Owner.Name", "Subscription__c has no relationship `Owner` to one parent of this org"),
        ("ROUND(1)", "ROUND cannot take 1 arguments"),
        ("'open", "the text that begins at 'open does not end"),
        ("1 # 2", "`#` means nothing in a formula"),
    ] {
        assert_eq!(Formula::new(text, &store.schema, object), Err(expected.to_owned()), "{text}");
    }
    let unknown = Formula::new("SQRT(4)", &store.schema, object).unwrap_err();
    assert!(unknown.starts_with("there is no function `SQRT`; use one of ABS, AND"), "{unknown}");
}

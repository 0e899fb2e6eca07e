//! The generated org is the same for the same seed, and as messy as it promises.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::sandbox::salesforce::store::Cell;

fn made(users: usize, accounts: usize, contacts: usize, clean: bool) -> (Store, Vec<Planted>) {
    let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
    let sizes = Sizes { seed: 7, users, accounts, contacts, opportunities: 30, cases: 40, subscriptions: 100, clean };
    let now = DateTime::from_timestamp(1_780_000_000, 0).unwrap();
    let planted = fill(&mut store, sizes, now).unwrap();
    (store, planted)
}

fn text(store: &Store, object: &str, row: u32, field: &str) -> Option<String> {
    let object = store.schema.find(object).unwrap();
    let field = store.schema.objects[object].find(field).unwrap();
    match store.cell(object, row, field) {
        Cell::Null => None,
        Cell::Text(text) => Some(text.to_owned()),
        Cell::Id(id) => Some(id.to_string()),
        Cell::Boolean(value) => Some(value.to_string()),
        Cell::Integer(value) | Cell::Datetime(value) => Some(value.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_options_give_the_same_records() {
    let show = |(store, planted): (Store, Vec<Planted>)| {
        let rows = (0..100).map(|row| text(&store, "Contact", row, "Email")).collect::<Vec<_>>();
        (rows, planted)
    };
    assert_eq!(show(made(10, 50, 100, false)), show(made(10, 50, 100, false)));
}

#[test]
fn only_what_is_planted_is_wrong() {
    let (store, planted) = made(300, 20_000, 30_000, false);
    assert_eq!(planted.len(), 4);
    let wrong: HashSet<&str> = planted.iter().map(|one| one.id.as_str()).collect();

    let mut names = HashSet::new();
    for row in 0..store.table(store.schema.find("User").unwrap()).rows() as u32 {
        let name = text(&store, "User", row, "Username").unwrap().to_lowercase();
        let email = text(&store, "User", row, "Email").unwrap();
        assert!(name.len() <= 80 && email.len() <= 128 && name.is_ascii() && email.contains('@'), "{name}");
        assert!(names.insert(name.clone()), "{name} twice");
        let manager = text(&store, "User", row, "ManagerId");
        assert_ne!(manager, text(&store, "User", row, "Id"));
    }

    let mut names = HashSet::new();
    for row in 0..store.table(store.schema.find("Account").unwrap()).rows() as u32 {
        let id = text(&store, "Account", row, "Id").unwrap();
        let name = text(&store, "Account", row, "Name").unwrap();
        assert_eq!(name.chars().count() > 250, wrong.contains(id.as_str()), "{name}");
        assert!(name.chars().count() <= 255);
        assert!(names.insert(name.to_lowercase()), "{name} twice");
    }

    let mut emails: HashMap<(String, String), Vec<String>> = HashMap::new();
    let mut humans: HashMap<String, usize> = HashMap::new();
    let long = planted.iter().find(|one| one.object == "Account").unwrap();
    for row in 0..store.table(store.schema.find("Contact").unwrap()).rows() as u32 {
        let id = text(&store, "Contact", row, "Id").unwrap();
        assert!(text(&store, "Contact", row, "LastName").is_some());
        let account = text(&store, "Contact", row, "AccountId");
        let email = text(&store, "Contact", row, "Email");
        let (Some(account), Some(email)) = (account, email) else {
            assert!(wrong.contains(id.as_str()), "{id}");
            continue;
        };
        assert!(email.len() <= 80 && email.is_ascii() && email.matches('@').count() == 1, "{email}");
        assert_ne!(account, long.id);
        *humans.entry(email.to_lowercase()).or_default() += 1;
        emails.entry((email.to_lowercase(), account)).or_default().push(id);
    }
    let double: Vec<_> = emails.values().filter(|ids| ids.len() > 1).collect();
    assert_eq!(double.len(), 1);
    assert_eq!(double[0].iter().filter(|id| wrong.contains(id.as_str())).count(), 1);
    assert!(humans.values().filter(|times| **times == 2).count() > 50, "one human at two companies");
}

#[test]
fn a_clean_org_has_the_asked_sizes_and_the_real_companies() {
    let (store, planted) = made(40, 503, 2000, true);
    assert!(planted.is_empty());
    let rows = |name: &str| store.table(store.schema.find(name).unwrap()).rows();
    assert_eq!((rows("User"), rows("Account"), rows("Contact"), rows("Organization")), (40, 503, 2000, 1));
    assert_eq!(text(&store, "Account", 0, "Name").unwrap(), "3M");
    assert_eq!(text(&store, "Account", 0, "BillingState").unwrap(), "Minnesota");
    let types: HashSet<_> = (0..40).filter_map(|row| text(&store, "User", row, "UserType")).collect();
    assert!(types.len() > 2, "{types:?}");
    let now = 1_780_000_000;
    for row in 0..2000 {
        let stamp: i64 = text(&store, "Contact", row, "SystemModstamp").unwrap().parse().unwrap();
        assert!(stamp < now - 86_400);
    }
    let street = |row| text(&store, "Contact", row, "MailingStreet").unwrap_or_default();
    assert!((0..2000).any(|row| street(row).contains('\n')));
    assert!((0..2000).any(|row| text(&store, "Contact", row, "LastName").unwrap().contains('\'')));
}

//! Contacts: people at the accounts, most of them below another contact of the same account.

use super::Audit;
use super::Dice;
use super::Record;
use super::Sizes;
use super::accounts::Accounts;
use super::cultures::Cultures;
use super::fields;
use super::object;
use super::users::Users;
use crate::error::Result;
use crate::sandbox::salesforce::store::NO_ROW;
use crate::sandbox::salesforce::store::Store;

const TITLES: [&str; 20] = [
    "CEO",
    "CFO",
    "CIO",
    "VP, Engineering",
    "VP Customer Success",
    "Director, IT",
    "Director of Operations",
    "Head of Procurement",
    "IT Manager",
    "Product Manager",
    "Purchasing Agent",
    "Data Engineer",
    "Administrator",
    "Geschäftsführer",
    "Directeur général",
    "部長",
    "经理",
    "Chief \"Happiness\" Officer",
    "Analyst 📈",
    "Systems Architect",
];
const DEPARTMENTS: [&str; 8] = ["IT", "Finance", "Operations", "R&D", "Procurement", "Legal", "HR", "Sales, EMEA"];
const SALUTATIONS: [&str; 5] = ["Mr.", "Ms.", "Mrs.", "Dr.", "Prof."];
const SOURCES: [&str; 5] = ["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"];
/// One contact in so many is the human of the contact before, at another account.
const TWO_COMPANIES: usize = 400;
/// One contact in so many lies in the recycle bin.
const DELETED: usize = 1000;

/// Writes the contacts.
pub(super) fn fill(store: &mut Store, sizes: Sizes, now: i64, users: &Users, accounts: &Accounts) -> Result<()> {
    let schema = std::sync::Arc::clone(&store.schema);
    let contact = object(&schema, "Contact")?;
    let audit = Audit::new(&schema, contact)?;
    let names = [
        "AccountId",
        "LastName",
        "FirstName",
        "Salutation",
        "Email",
        "Title",
        "Department",
        "Phone",
        "MobilePhone",
        "ReportsToId",
        "LeadSource",
        "Birthdate",
        "MailingStreet",
        "MailingCity",
        "MailingState",
        "MailingPostalCode",
        "MailingCountry",
        "OwnerId",
        "HasOptedOutOfEmail",
        "DoNotCall",
        "IsDeleted",
        "Description",
    ];
    let [
        account,
        last,
        first,
        salutation,
        email,
        title,
        department,
        phone,
        mobile,
        reports,
        source,
        birth,
        street,
        city,
        state,
        code,
        country,
        owner,
        opted_out,
        no_call,
        deleted,
        description,
    ] = fields(&schema, contact, names)?;
    let cultures = Cultures::new();
    let mut dice = Dice::new(sizes.seed, 3);
    let mut above = vec![NO_ROW; accounts.domains.len()];
    let mut text = String::new();
    let mut before: Option<(String, String, String, usize)> = None;
    if accounts.domains.is_empty() {
        return Ok(());
    }
    for at in 0..sizes.contacts {
        let culture = cultures.pick(&mut dice);
        let person = culture.person(&mut dice);
        let mut place = dice.below(accounts.domains.len());
        let life = dice.life(now);
        let by = dice.pick(&users.active);
        let same = if at % TWO_COMPANIES == TWO_COMPANIES - 1 { before.take() } else { None };
        if let Some((.., other)) = &same
            && *other == place
        {
            place = (place + 1) % accounts.domains.len();
        }
        let same = same.filter(|(.., other)| *other != place);
        let mut record = Record::new(store, contact);
        if let Some((first_name, last_name, address, _)) = &same {
            record.text(first, first_name);
            record.text(last, last_name);
            record.text(email, address);
        } else {
            record.text(first, if at % 53 == 11 { "" } else { person.first });
            record.text(last, person.last);
            use std::fmt::Write;
            text.clear();
            let (given, family) = person.slug;
            let domain = &accounts.domains[place];
            let written = match at % 40 {
                // Addresses as people have them: capitals, a plus, an apostrophe.
                3 => write!(text, "{}.{}{at}@{domain}", given.to_uppercase(), family.to_uppercase()),
                7 => write!(text, "{given}+sfdc{at}@{domain}"),
                11 => write!(text, "{given}.o'{family}{at}@{domain}"),
                _ => write!(text, "{given}.{family}{at}@{domain}"),
            };
            debug_assert!(written.is_ok());
            record.text(email, &text);
            if at % TWO_COMPANIES == TWO_COMPANIES - 2 {
                before = Some((person.first.to_owned(), person.last.to_owned(), text.clone(), place));
            }
        }
        record.parent(account, place as u32);
        if dice.chance(300) {
            record.text(salutation, dice.pick(&SALUTATIONS));
        }
        if dice.chance(900) {
            record.text(title, dice.pick(&TITLES));
        }
        if dice.chance(600) {
            record.text(department, dice.pick(&DEPARTMENTS));
        }
        culture.phone(&mut dice, &mut text);
        record.text(phone, &text);
        if dice.chance(300) {
            culture.phone(&mut dice, &mut text);
            record.text(mobile, &text);
        }
        if dice.chance(400) {
            record.text(source, dice.pick(&SOURCES));
        }
        if dice.chance(50) {
            record.whole(birth, -3650 + dice.below(14_000) as i64);
        }
        if dice.chance(800) {
            culture.street(&mut dice, person.last, &mut text);
            record.text(street, &text);
            let (town, region, postal) = culture.place(&mut dice);
            record.text(city, town);
            record.text(state, region);
            record.text(code, &postal);
            record.text(country, culture.country);
        }
        if at % 700 == 5 {
            record.text(description, "=SUM(A1:A9), \"quoted\", \\backslash\\, NULL, #N/A, 中文, 😀\n- second line");
        }
        if dice.chance(30) {
            record.flag(opted_out, true);
        }
        if dice.chance(10) {
            record.flag(no_call, true);
        }
        if at % DELETED == DELETED - 500 {
            record.flag(deleted, true);
        }
        // Mostly a colleague; now and then somebody of another account.
        let manager = match dice.below(100) {
            0..=64 => above[place],
            65..=67 if at > 0 => dice.below(at) as u32,
            _ => NO_ROW,
        };
        if manager != NO_ROW {
            record.parent(reports, manager);
        }
        record.parent(owner, by);
        let row = record.row;
        audit.write(&mut record, life, by);
        if above[place] == NO_ROW || dice.chance(250) {
            above[place] = row;
        }
    }
    Ok(())
}

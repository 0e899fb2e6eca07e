//! The org itself and its users: the integration user first, then people in chains of managers.

use super::Audit;
use super::Dice;
use super::Record;
use super::Sizes;
use super::cultures::Cultures;
use super::fields;
use super::object;
use crate::error::Result;
use crate::sandbox::salesforce::store::Store;

/// Who can own records.
pub(super) struct Users {
    /// Rows of the active standard users; never empty.
    pub(super) active: Vec<u32>,
}

const TITLES: [&str; 14] = [
    "Account Executive",
    "Customer Success Manager",
    "Sr. Customer Success Manager",
    "Sales Engineer",
    "VP, Sales",
    "Support Engineer",
    "Renewals Manager",
    "Director of Customer Success",
    "Solutions Architect",
    "Marketing Manager",
    "RevOps Analyst",
    "Chief Customer Officer",
    "Onboarding Specialist 🚀",
    "Account Manager (EMEA)",
];
const DEPARTMENTS: [&str; 6] = ["Sales", "Customer Success", "Support", "Marketing", "Operations", "R&D"];
/// Users that are not people of the company: user type, profile.
const OTHERS: [&str; 5] = ["PowerPartner", "CsnOnly", "Guest", "AutomatedProcess", "PowerCustomerSuccess"];
const PROFILE: &str = "00eSb0000000Ab1IAE";
const DOMAIN: &str = "sandbox.example";

/// Writes the organization and the users.
pub(super) fn fill(store: &mut Store, sizes: Sizes, now: i64) -> Result<Users> {
    organization(store, now)?;
    let schema = std::sync::Arc::clone(&store.schema);
    let user = object(&schema, "User")?;
    let audit = Audit::new(&schema, user)?;
    let names = [
        "Username",
        "LastName",
        "FirstName",
        "Email",
        "Title",
        "Department",
        "Phone",
        "Alias",
        "CommunityNickname",
        "IsActive",
        "TimeZoneSidKey",
        "LocaleSidKey",
        "LanguageLocaleKey",
        "EmailEncodingKey",
        "ProfileId",
        "UserType",
        "EmployeeNumber",
        "ManagerId",
        "LastLoginDate",
        "CompanyName",
        "City",
        "Country",
        "DigestFrequency",
    ];
    let [
        username,
        last,
        first,
        email,
        title,
        department,
        phone,
        alias,
        nickname,
        active,
        zone,
        locale,
        language,
        encoding,
        profile,
        kind,
        number,
        manager,
        login,
        company,
        city,
        country,
        digest,
    ] = fields(&schema, user, names)?;
    let cultures = Cultures::new();
    let mut dice = Dice::new(sizes.seed, 1);
    let mut users = Users { active: Vec::new() };
    let mut text = String::new();
    for at in 0..sizes.users.max(1) {
        let culture = cultures.pick(&mut dice);
        let person = culture.person(&mut dice);
        let life = dice.life(now);
        let integration = at == 0;
        let standard = integration || !at.is_multiple_of(13);
        let is_active = integration || !at.is_multiple_of(9);
        let mut record = Record::new(store, user);
        if integration {
            record.text(first, "Integration");
            record.text(last, "User");
            record.text(username, &format!("integration@{DOMAIN}"));
            record.text(email, &format!("integration@{DOMAIN}"));
        } else {
            record.text(first, person.first);
            record.text(last, person.last);
            // User names are in capitals here and there; they compare without case.
            let address = format!("{}.{}{at}@{DOMAIN}", person.slug.0, person.slug.1);
            let shown = if at % 17 == 3 { address.to_uppercase() } else { address.clone() };
            record.text(username, &shown);
            record.text(email, &address);
        }
        if standard {
            record.text(kind, "Standard");
            record.text(title, dice.pick(&TITLES));
            record.text(department, dice.pick(&DEPARTMENTS));
            record.text(number, &format!("{at:06}"));
            record.text(company, "Sandbox, Inc.");
        } else {
            record.text(kind, OTHERS[at / 13 % OTHERS.len()]);
        }
        record.flag(active, is_active);
        record.text(alias, &format!("u{at}"));
        record.text(nickname, &format!("{}{at}", person.slug.0));
        record.text(locale, culture.keys.0);
        record.text(language, culture.keys.1);
        record.text(zone, culture.keys.2);
        record.text(encoding, "UTF-8");
        record.text(profile, PROFILE);
        record.text(digest, "D");
        record.text(city, culture.place(&mut dice).0);
        record.text(country, culture.country);
        if dice.chance(600) {
            culture.phone(&mut dice, &mut text);
            record.text(phone, &text);
        }
        if is_active && dice.chance(900) {
            record.whole(login, now - 3600 - dice.below(60 * 86_400) as i64);
        }
        // A tree of managers, five below each, the integration user apart; two people report to nobody.
        if at > 2 && standard {
            record.parent(manager, ((at - 3) / 5 + 1) as u32);
        }
        let row = record.row;
        audit.write(&mut record, life, 0);
        if standard && is_active {
            users.active.push(row);
        }
    }
    Ok(users)
}

fn organization(store: &mut Store, now: i64) -> Result<()> {
    let schema = std::sync::Arc::clone(&store.schema);
    let organization = object(&schema, "Organization")?;
    let audit = Audit::new(&schema, organization)?;
    let names = [
        "Name",
        "City",
        "State",
        "PostalCode",
        "Country",
        "OrganizationType",
        "InstanceName",
        "IsSandbox",
        "DefaultLocaleSidKey",
        "TimeZoneSidKey",
        "LanguageLocaleKey",
        "FiscalYearStartMonth",
        "PrimaryContact",
    ];
    let [name, city, state, code, country, edition, instance, is_sandbox, locale, zone, language, fiscal, contact] =
        fields(&schema, organization, names)?;
    let mut record = Record::new(store, organization);
    record.text(name, "Sandbox, Inc.");
    record.text(city, "Boston");
    record.text(state, "Massachusetts");
    record.text(code, "02110");
    record.text(country, "United States");
    record.text(edition, "Enterprise Edition");
    record.text(instance, "SBX1");
    record.flag(is_sandbox, false);
    record.text(locale, "en_US");
    record.text(zone, "America/New_York");
    record.text(language, "en_US");
    record.whole(fiscal, 1);
    record.text(contact, "Integration User");
    let created = now - 7 * 365 * super::DAY;
    audit.write(&mut record, (created, created), 0);
    Ok(())
}

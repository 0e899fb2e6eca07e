//! Accounts: the 503 companies of the S&P 500, then subsidiaries of them.

use super::Audit;
use super::Dice;
use super::Record;
use super::Sizes;
use super::cultures::Cultures;
use super::cultures::slug;
use super::fields;
use super::object;
use super::users::Users;
use crate::error::Error;
use crate::error::Result;
use crate::sandbox::salesforce::store::Store;

const COMPANIES: &str = include_str!("../../data/sp500_companies.csv");

/// What contacts need to know of their accounts.
pub(super) struct Accounts {
    /// Mail domain by account.
    pub(super) domains: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Company {
    #[serde(rename = "Symbol")]
    symbol: String,
    #[serde(rename = "Security")]
    name: String,
    #[serde(rename = "GICS Sector")]
    sector: String,
    #[serde(rename = "GICS Sub-Industry")]
    industry: String,
    #[serde(rename = "Headquarters Location")]
    headquarters: String,
    #[serde(rename = "Founded")]
    founded: String,
}

/// What tells a subsidiary from its parent.
const VARIANTS: [&str; 26] = [
    "Deutschland GmbH",
    "France S.A.S.",
    "UK Ltd.",
    "Japan K.K.",
    "Nederland B.V.",
    "Italia S.p.A.",
    "Brasil Ltda.",
    "(Shanghai) Co., Ltd.",
    "Canada Inc.",
    "Australia Pty Ltd",
    "India Pvt. Ltd.",
    "Österreich AG",
    "España, S.L.",
    "Türkiye A.Ş.",
    "Ventures LLC",
    "Services, Inc.",
    "Digital",
    "Research & Development",
    "Logistics",
    "Healthcare",
    "\"Labs\"",
    "Finance",
    "Retail",
    "Energy",
    "Real Estate",
    "Foundation",
];
/// Headquarters outside the United States: how the list names the country.
const ABROAD: [(&str, &str); 8] = [
    ("Ireland", "Ireland"),
    ("UK", "United Kingdom"),
    ("United Kingdom", "United Kingdom"),
    ("Switzerland", "Switzerland"),
    ("Netherlands", "Netherlands"),
    ("Bermuda", "Bermuda"),
    ("Canada", "Canada"),
    ("Luxembourg", "Luxembourg"),
];
const TYPES: [&str; 6] =
    ["Customer - Direct", "Customer - Direct", "Customer - Channel", "Prospect", "Technology Partner", "Competitor"];

/// Writes the accounts.
pub(super) fn fill(store: &mut Store, sizes: Sizes, now: i64, users: &Users) -> Result<Accounts> {
    let mut reader = csv::Reader::from_reader(COMPANIES.as_bytes());
    let companies = reader
        .deserialize()
        .collect::<Result<Vec<Company>, _>>()
        .map_err(|cause| Error::bug("the list of companies in the sandbox's data cannot be read").source(cause))?;
    let schema = std::sync::Arc::clone(&store.schema);
    let account = object(&schema, "Account")?;
    let audit = Audit::new(&schema, account)?;
    let names = [
        "Name",
        "Type",
        "ParentId",
        "BillingStreet",
        "BillingCity",
        "BillingState",
        "BillingPostalCode",
        "BillingCountry",
        "Phone",
        "Website",
        "Industry",
        "AnnualRevenue",
        "NumberOfEmployees",
        "Ownership",
        "TickerSymbol",
        "Description",
        "Rating",
        "AccountNumber",
        "OwnerId",
        "AccountSource",
        "YearStarted",
        "SicDesc",
        "LastActivityDate",
    ];
    let [
        name,
        kind,
        parent,
        street,
        city,
        state,
        code,
        country,
        phone,
        website,
        industry,
        revenue,
        employees,
        ownership,
        ticker,
        description,
        rating,
        number,
        owner,
        source,
        year,
        sic,
        activity,
    ] = fields(&schema, account, names)?;
    let cultures = Cultures::new();
    let mut dice = Dice::new(sizes.seed, 2);
    let mut accounts = Accounts { domains: Vec::with_capacity(sizes.accounts) };
    let mut text = String::new();
    for at in 0..sizes.accounts {
        let company = &companies[at % companies.len()];
        let round = at / companies.len();
        let life = dice.life(now);
        let by = dice.pick(&users.active);
        let mut domain = slug(&company.name);
        let mut record = Record::new(store, account);
        let size = 1.5f64.powi(dice.below(24) as i32);
        if round == 0 {
            record.text(name, &company.name);
            let (place, region) = company.headquarters.split_once(", ").unwrap_or((&company.headquarters, ""));
            record.text(city, place);
            // The list marks some places with a footnote or a second location.
            let region = region.split([';', '/', '[']).next().unwrap_or_default().trim();
            match ABROAD.iter().find(|(suffix, _)| region.ends_with(suffix)) {
                Some((_, name)) => record.text(country, name),
                None => {
                    record.text(state, region);
                    record.text(country, "United States");
                }
            }
            record.text(ticker, &company.symbol);
            record.text(ownership, "Public");
            let founded: String = company.founded.chars().take(4).collect();
            record.text(year, &founded);
            record.whole(employees, 2_000 + (size * 9.0) as i64 + dice.below(900) as i64);
            record.number(revenue, ((size * 1_000.0) as i64 * 1_000_000 + 250_000_000) as f64);
        } else {
            let variant = VARIANTS[(round - 1) % VARIANTS.len()];
            let again = (round - 1) / VARIANTS.len();
            text.clear();
            text.push_str(&company.name);
            text.push(' ');
            text.push_str(variant);
            if again > 0 {
                text.push_str(&format!(" {}", again + 1));
            }
            record.text(name, &text);
            domain.push_str(&format!("-{round}"));
            record.parent(parent, (at % companies.len()) as u32);
            let culture = cultures.pick(&mut dice);
            let (place, region, postal) = culture.place(&mut dice);
            record.text(city, place);
            record.text(state, region);
            record.text(code, &postal);
            record.text(country, culture.country);
            let person = culture.person(&mut dice);
            culture.street(&mut dice, person.last, &mut text);
            record.text(street, &text);
            record.text(ownership, "Subsidiary");
            if dice.chance(850) {
                record.whole(employees, 5 + size as i64);
            }
            if dice.chance(500) {
                record.number(revenue, (size * 12_345.0).round());
            }
            culture.phone(&mut dice, &mut text);
            record.text(phone, &text);
        }
        record.text(industry, sector(&company.sector));
        record.text(sic, &company.industry);
        record.text(kind, dice.pick(&TYPES));
        record.text(website, &format!("https://www.{domain}.example"));
        record.text(number, &format!("{:08}", at * 7 + 13));
        if dice.chance(700) {
            record.text(rating, dice.pick(&["Hot", "Warm", "Cold"]));
        }
        if dice.chance(300) {
            record.text(source, dice.pick(&["Web", "Partner Referral", "Other"]));
        }
        if at % 50 == 7 {
            record.text(
                description,
                "Key account.\nSays: \"NA\" means North America, not null; 50% off, 100€.\r\n\tRenewal in Q3 🎉",
            );
        }
        if dice.chance(400) {
            record.whole(activity, (now - dice.below(300 * 86_400) as i64).div_euclid(super::DAY));
        }
        record.parent(owner, by);
        audit.write(&mut record, life, by);
        accounts.domains.push(format!("{domain}.example"));
    }
    Ok(accounts)
}

/// The industry of the org's picklist for a sector of the list.
fn sector(name: &str) -> &'static str {
    match name {
        "Industrials" => "Manufacturing",
        "Financials" => "Finance",
        "Information Technology" => "Technology",
        "Health Care" => "Healthcare",
        "Consumer Discretionary" => "Retail",
        "Consumer Staples" => "Food & Beverage",
        "Utilities" => "Utilities",
        "Materials" => "Chemicals",
        "Communication Services" => "Communications",
        "Energy" => "Energy",
        _ => "Other",
    }
}

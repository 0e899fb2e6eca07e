//! Random jobs with random small tables: few values per column, so that everything collides with everything.

use std::collections::BTreeMap;

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prelude::prop_oneof;

use datafusion::arrow::datatypes::Field;
use sf2gs::config::job::OnMissing;
use sf2gs::config::job::OnMultiple;
use sf2gs::config::job::OnNull;
use sf2gs::config::job::Operation;
use sf2gs::config::job::TargetObject;

use crate::support::model;
use crate::support::model::World;
use crate::support::model::id18;
use crate::support::tables::Table;
use crate::support::tables::derive;
use crate::support::tables::gs;
use crate::support::tables::job;
use crate::support::tables::map;
use crate::support::tables::sf;
use crate::support::tables::table;

/// Values that compare as one, in their forms. `{}` stands for two digits, which tell records apart (`{n}`: as a number; `{q}`: three, for every third record); a leading `+`
/// makes an id of 15 characters one of 18.
type Groups = &'static [&'static [&'static str]];

/// Words with case, white space, composed and decomposed letters, and letters whose case is special.
const WORDS: Groups = &[
    &["a{}@x.org", " A{}@X.org", "a{}@x.org\u{a0}"],
    &["É{}@x", "e\u{301}{}@x", "é{}@X\u{3000}"],
    &["{}ΟΔΟΣ", "{}οδος", "{}οδοσ"],
    &["STRAẞE{}", "straße{}"],
    &["strasse{}", "STRASSE{}"],
    &["İ{}", "i\u{307}{}"],
    &["I{}", "i{}"],
    &["ı{}"],
    &["J\u{30c}{}", "\u{1f0}{}"],
    &["O'Brien {}", "o'brien {} "],
    &["null", "NULL ", "Null"],
    &["NULL", "", " \t", "\u{3000}"],
];
/// The same record's id in both lengths, another id that differs by case alone, and what is no id.
const IDS: Groups = &[
    &["+001A000000000{}", "001A000000000{}", " 001A000000000{} "],
    &["+001a000000000{}", "001a000000000{}"],
    &["+001A000000000{}", "001A000000000{}"],
    &["001A000000000{}AAA", "no id {}"],
    &["NULL", "", "  "],
];
/// As [`IDS`], rarely blank: what rows speak of.
const LINKS: Groups = &[
    &["+001A000000000{}", "001A000000000{}"],
    &["+001a000000000{}", "001a000000000{}"],
    &["+001A000000000{}"],
    &["+001a000000000{}"],
    &["NULL", " "],
];
/// The accounts that contacts belong to, some of them shared.
const ACCOUNTS: Groups =
    &[&["+001A00000000{q}", "001A00000000{q}"], &["+001A00000000{q}"], &["+001a00000000{q}"], &["NULL", " "]];
const NAMES: Groups = &[&["Acme"], &["acme"], &["Acme "], &["", "NULL"], &["Łódź {}"], &["a;b"]];
const INTS: Groups = &[&["0"], &["7"], &["-3"], &["{n}"], &["NULL"]];
const DOUBLES: Groups =
    &[&["0"], &["1.005"], &["2.5"], &["-2.5"], &["{n}.25"], &["{n}", "{n}.125"], &["1e30"], &["NULL"]];
const MONEY: Groups = &[&["1.0050"], &["2.5000"], &["-0.0050"], &["{n}.0000"], &["99999999999999.9999"], &["NULL"]];
const NUMBER_TEXTS: Groups = &[
    &["{}", " {} ", "+{}.0", "{}."],
    &["{}.5"],
    &["-1.005", "-1.00500"],
    &[".5", "0.50"],
    &["abc", "1e5", "99999999999999999999999999999"],
    &["", " ", "NULL"],
];
const FLAGS: Groups = &[&["true"], &["false"], &["NULL"]];
const FLAG_TEXTS: Groups = &[&["true", "TRUE", " 1"], &["False", "0"], &["yes"], &["", "NULL"]];
const DAYS: Groups = &[&["2026-01-31"], &["2026-02-01"], &["NULL"]];
const DAY_TEXTS: Groups = &[&["2026-01-31", " 2026-01-31"], &["2026-02-01"], &["2026-02-30", "soon"], &["", "NULL"]];
const MOMENTS: Groups = &[&["2026-01-31T23:59:59Z"], &["2026-02-01T00:00:00Z"], &["NULL"]];
const STARTS: Groups = &[&["2026-01-31T00:00:00Z"], &["2026-02-01T00:00:00Z"], &["NULL"]];
const STAMPS: &[&str] = &["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "2026-01-02T00:00:00.001Z", "NULL"];
const SETS: Groups = &[&["a;b", "b;a", "a; b"], &["a"], &["", "NULL"], &["a;b;c"]];
const WHOLE: Groups = &[&["0"], &["7"], &["{n}"], &["-3"], &["NULL"]];
const CENTS: Groups = &[&["0.00"], &["1.01"], &["2.50"], &["{n}.00"], &["-0.01"], &["NULL"]];
const SIZES: Groups = &[&["0"], &["2.5"], &["{n}"], &["NULL", ""]];

/// A column of the source that may be mapped: source field and type, target and type, what both sides hold.
type Column = (&'static str, &'static str, &'static str, &'static str, Groups, Groups);
/// A derived mapping that may be made: target, lookup object, pairs.
type Find = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// A column of a mirror: field, type, values, and the source field that it mirrors.
type Mirrored = (&'static str, &'static str, Groups, Option<&'static str>);

/// A kind of job, and all that it may hold.
struct Kind {
    object: TargetObject,
    /// Those that may be identifiers stand first.
    columns: &'static [Column],
    keyable: usize,
    finds: &'static [Find],
    /// Fields that only lookups read: source fields, then object, field, type and values.
    sources: &'static [(&'static str, &'static str, Groups)],
    others: &'static [(&'static str, &'static str, &'static str, Groups)],
}

const COMPANY: Kind = Kind {
    object: TargetObject::User, // replaced: an object's name is no constant
    keyable: 6,
    columns: &[
        ("Id", "id", "company.SfdcAccountId", "SFDCID", &[], IDS),
        ("Code", "string", "company.Code", "STRING", WORDS, WORDS),
        ("Ref", "reference", "company.Ref", "STRING", IDS, IDS),
        ("Number", "double", "company.Number", "NUMBER", DOUBLES, WHOLE),
        ("NumberText", "string", "company.NumberText", "NUMBER", NUMBER_TEXTS, WHOLE),
        ("IdText", "string", "company.IdText", "SFDCID", IDS, IDS),
        ("Name", "string", "company.Name", "STRING", NAMES, NAMES),
        ("Mail", "email", "company.Mail", "EMAIL", WORDS, WORDS),
        ("Money", "currency", "company.Arr", "CURRENCY", MONEY, CENTS),
        ("MoneyText", "string", "company.Mrr", "CURRENCY", NUMBER_TEXTS, CENTS),
        ("Count", "int", "company.Count", "CURRENCY", INTS, CENTS),
        ("Size", "double", "company.Size", "STRING", DOUBLES, SIZES),
        ("Flag", "boolean", "company.Flag", "BOOLEAN", FLAGS, FLAGS),
        ("FlagText", "string", "company.FlagText", "BOOLEAN", FLAG_TEXTS, FLAGS),
        ("FlagOne", "boolean", "company.FlagOne", "NUMBER", FLAGS, WHOLE),
        ("Tags", "multipicklist", "company.Tags", "MULTISELECTDROPDOWNLIST", SETS, SETS),
        ("Seen", "datetime", "company.Seen", "DATE", MOMENTS, DAYS),
        ("Born", "string", "company.Born", "DATE", DAY_TEXTS, DAYS),
        ("Start", "date", "company.Start", "DATETIME", DAYS, STARTS),
    ],
    finds: &[
        ("company.Csm", "gsuser", &[("OwnerMail", "Email")]),
        ("company.Csm2", "gsuser", &[("OwnerMail", "Email"), ("OwnerId", "SfdcUserId")]),
        ("company.Csm3", "gsuser", &[("OwnerNumber", "Number")]),
        ("company.Parent", "company", &[("ParentId", "SfdcAccountId")]),
        ("company.Parent2", "company", &[("ParentCode", "Code"), ("ParentRef", "Ref")]),
    ],
    sources: &[
        ("OwnerMail", "string", WORDS),
        ("OwnerId", "reference", LINKS),
        ("OwnerNumber", "string", NUMBER_TEXTS),
        ("ParentId", "reference", LINKS),
        ("ParentCode", "string", WORDS),
        ("ParentRef", "reference", LINKS),
    ],
    others: &[
        ("gsuser", "Email", "EMAIL", WORDS),
        ("gsuser", "SfdcUserId", "SFDCID", IDS),
        ("gsuser", "Number", "NUMBER", WHOLE),
    ],
};

const USER: Kind = Kind {
    object: TargetObject::User,
    keyable: 2,
    columns: &[
        ("Username", "string", "gsuser.SFDCUserName", "STRING", WORDS, WORDS),
        ("Email", "email", "gsuser.Email", "EMAIL", WORDS, WORDS),
        ("Id", "id", "avatar.SfdcUserId", "SFDCID", &[], IDS),
        ("FirstName", "string", "gsuser.FirstName", "STRING", NAMES, NAMES),
        ("Active", "boolean", "gsuser.IsActive", "BOOLEAN", FLAGS, FLAGS),
        ("Level", "string", "gsuser.Level", "NUMBER", NUMBER_TEXTS, WHOLE),
    ],
    finds: &[
        ("gsuser.Manager", "gsuser", &[("ManagerId", "SfdcUserId")]),
        ("gsuser.Deputy", "gsuser", &[("DeputyMail", "Email"), ("DeputyName", "FirstName")]),
        ("gsuser.CompanyID", "company", &[("AccountId", "SfdcAccountId")]),
    ],
    sources: &[
        ("ManagerId", "reference", LINKS),
        ("DeputyMail", "string", WORDS),
        ("DeputyName", "string", NAMES),
        ("AccountId", "reference", LINKS),
    ],
    others: &[("company", "SfdcAccountId", "SFDCID", IDS)],
};

const PEOPLE: Kind = Kind {
    object: TargetObject::People,
    keyable: 2,
    columns: &[
        ("Email", "email", "person.Email", "EMAIL", WORDS, WORDS),
        ("Code", "string", "person.Code", "STRING", NAMES, NAMES),
        ("Id", "id", "company_person.ExternalContactId", "STRING", &[], IDS),
        ("AccountId", "reference", "company_person.ExternalAccountId", "STRING", ACCOUNTS, ACCOUNTS),
        ("FirstName", "string", "person.FirstName", "STRING", NAMES, NAMES),
        ("Age", "string", "person.Age", "NUMBER", NUMBER_TEXTS, WHOLE),
        ("Title", "string", "company_person.Title", "STRING", NAMES, NAMES),
        ("Score", "string", "company_person.Score", "NUMBER", NUMBER_TEXTS, WHOLE),
    ],
    finds: &[
        ("company_person.Company_ID", "company", &[("AccountId", "SfdcAccountId")]),
        (
            "company_person.Manager",
            "company_person",
            &[("ReportsToId", "ExternalContactId"), ("AccountId", "ExternalAccountId")],
        ),
        ("company_person.Boss", "company_person", &[("ReportsToId", "ExternalContactId")]),
        ("person.Owner", "gsuser", &[("OwnerMail", "Email")]),
        ("person.Mentor", "person", &[("OwnerMail", "Email")]),
    ],
    sources: &[("ReportsToId", "reference", LINKS), ("OwnerMail", "string", WORDS)],
    others: &[("company", "SfdcAccountId", "SFDCID", ACCOUNTS), ("gsuser", "Email", "EMAIL", WORDS)],
};

/// Jobs on one object such as company.
pub(crate) fn company() -> impl Strategy<Value = World> {
    let kind = Kind { object: TargetObject::Object("company".to_owned()), ..COMPANY };
    worlds(kind)
}

/// Jobs on users, with avatars and managers.
pub(crate) fn user() -> impl Strategy<Value = World> {
    worlds(USER)
}

/// Jobs on people.
pub(crate) fn people() -> impl Strategy<Value = World> {
    worlds(PEOPLE)
}

/// A cell before it is written: group of values, form, digits.
#[derive(Debug, Clone, Copy)]
struct Choice {
    group: u8,
    form: u8,
    digits: u8,
}

/// What is random of a world, as numbers that shrink towards the simple.
#[derive(Debug, Clone)]
struct Dice {
    operation: Operation,
    maps: Vec<(bool, bool)>,
    keys: u8,
    finds: Vec<(bool, OnMultiple, OnMissing)>,
    source: Vec<Vec<u8>>,
    mirrors: Vec<Vec<u8>>,
    /// How many different digits there are.
    records: u8,
}

fn worlds(kind: Kind) -> impl Strategy<Value = World> {
    let operation =
        prop_oneof![6 => Just(Operation::Upsert), 1 => Just(Operation::Insert), 1 => Just(Operation::Update)];
    let multiple = prop_oneof![Just(OnMultiple::Any), Just(OnMultiple::Error)];
    let missing = prop_oneof![Just(OnMissing::Null), Just(OnMissing::Reject), Just(OnMissing::Keep)];
    let maps = vec((weighted(0.4), any::<bool>()), kind.columns.len());
    let finds = vec((weighted(0.4), multiple, missing), kind.finds.len());
    let width = kind.columns.len() + kind.sources.len() + 3;
    let source = vec(vec(any::<u8>(), width), 6..60);
    let mirrors = vec(vec(any::<u8>(), width + 6), 0..40 * (kind.others.len() + 2));
    (operation, maps, any::<u8>(), finds, source, mirrors, any::<u8>())
        .prop_map(|(operation, maps, keys, finds, source, mirrors, records)| Dice {
            operation,
            maps,
            keys,
            finds,
            source,
            mirrors,
            records,
        })
        .prop_map(move |dice| kind.world(&dice))
}

impl Kind {
    fn world(&self, dice: &Dice) -> World {
        let people = self.object == TargetObject::People;
        // now and then a key of several parts
        let several = dice.keys.is_multiple_of(4);
        let first = if people { 0 } else { usize::from(dice.keys / 4) % self.keyable };
        let second = if several { (first + 1 + usize::from(dice.keys / 32)) % self.keyable } else { first };
        let is_key = |at: usize| at == first || at == second;
        let fields: Vec<&str> = self.columns.iter().map(|column| column.0).collect();
        let mut job = job(self.object.clone(), "Thing", &fields);
        job.target.operation = dice.operation;
        for (at, (column, (wanted, keep))) in self.columns.iter().zip(&dice.maps).enumerate() {
            if *wanted || is_key(at) {
                let mut map = map(column.0, column.2);
                map.identifier = is_key(at) && !people;
                map.on_null = if *keep { OnNull::Keep } else { OnNull::Overwrite };
                job.target.maps.push(map);
            }
        }
        let keys = (0..self.keyable).filter(|at| people && is_key(*at));
        let person_key = keys.map(|at| self.columns[at].2["person.".len()..].to_owned()).collect();
        for (at, (find, (wanted, multiple, missing))) in self.finds.iter().zip(&dice.finds).enumerate() {
            if *wanted || (people && at == 0) {
                job.target.derives.push(derive(find.0, find.1, find.2, *multiple, *missing));
            }
        }
        let source = self.source(dice);
        let (mirrors, stems) = self.mirrors(dice, &source);
        let mut world = World { mirrors, source, job, person_key };
        self.link(dice, &stems, &mut world);
        world
    }

    fn source(&self, dice: &Dice) -> Table {
        let mut fields: Vec<Field> = self.columns.iter().map(|column| sf(column.0, column.1)).collect();
        fields.extend(self.sources.iter().map(|source| sf(source.0, source.1)));
        fields.push(sf("SystemModstamp", "datetime"));
        let domains: Vec<Groups> =
            self.columns.iter().map(|column| column.4).chain(self.sources.iter().map(|source| source.2)).collect();
        let mut choices: Vec<Vec<Choice>> = Vec::new();
        let mut rows = Vec::new();
        for (at, bytes) in dice.source.iter().enumerate() {
            // one row in five begins as a copy of an earlier one, in other forms
            let twin = (bytes[0] < 51 && at > 0).then(|| choices[usize::from(bytes[1]) % at].clone());
            let own: Vec<Choice> = domains
                .iter()
                .zip(&bytes[2..])
                .enumerate()
                .map(|(column, (domain, byte))| match &twin {
                    Some(twin) if *byte < 200 => Choice { form: byte / 8, ..twin[column] },
                    _ => random(domain, *byte, usize::from(bytes[1]) + column * usize::from(bytes[0] / 128), dice),
                })
                .collect();
            let mut row: Vec<String> = domains
                .iter()
                .zip(&own)
                .map(|(domain, choice)| match domain.is_empty() {
                    // Ids are unique, and some differ by case alone
                    true => write(IDS, Choice { group: (at % 2) as u8, form: 0, digits: (at / 2) as u8 }),
                    false => write(domain, *choice),
                })
                .collect();
            row.push(STAMPS[usize::from(bytes[bytes.len() - 1]) % STAMPS.len()].to_owned());
            choices.push(own);
            rows.push(row);
        }
        owned(fields, rows)
    }

    /// The mirrors: most records are what an earlier run would have made of a row of the source.
    fn mirrors(&self, dice: &Dice, source: &Table) -> (BTreeMap<String, Table>, BTreeMap<String, Vec<usize>>) {
        let mut columns: BTreeMap<&str, Vec<Mirrored>> = BTreeMap::new();
        for (from, _, target, kind, _, values) in self.columns {
            let (object, field) = target.split_once('.').expect("object.Field");
            let object = if object == "avatar" { "gsuser" } else { object };
            columns.entry(object).or_default().push((field, kind, values, Some(from)));
        }
        for (object, field, kind, values) in self.others {
            let pair = self.finds.iter().filter(|find| find.1 == *object).flat_map(|find| find.2);
            let from = pair.filter(|(_, to)| to == field).map(|(from, _)| *from).next();
            columns.entry(object).or_default().push((field, kind, values, from));
        }
        let (mut tables, mut stems) = (BTreeMap::new(), BTreeMap::new());
        let objects = columns.len();
        for (number, (object, columns)) in columns.iter().enumerate() {
            let mut fields = vec![gs("Gsid", "GSID")];
            fields.extend(columns.iter().map(|(field, kind, ..)| gs(field, kind)));
            fields.extend(self.links(object).iter().map(|(field, _)| gs(field, "LOOKUP")));
            let (mut rows, mut kept): (Vec<Vec<String>>, Vec<usize>) = Default::default();
            for (at, bytes) in dice.mirrors.iter().enumerate().filter(|(at, _)| at % objects == number) {
                // their order is not the order of the rows
                let mut row = vec![format!("{object}-{:03}", (at * 37) % 211)];
                let origin = origin(dice, objects, at, source.rows.len());
                for (column, (_, kind, values, from)) in columns.iter().enumerate() {
                    let byte = bytes[2 + column];
                    let copied = origin.zip(*from).filter(|_| byte < 215).and_then(|(origin, from)| {
                        let at = source.schema.index_of(from).expect("a source field");
                        let from = source.schema.field(at).metadata()["sf.type"].clone();
                        model::convert(&source.rows[origin][at], &from, kind).ok()
                    });
                    row.push(match copied {
                        Some(value) => value.unwrap_or_else(|| "NULL".to_owned()),
                        None => write(values, random(values, byte, usize::from(bytes[1]), dice)),
                    });
                }
                row.extend(self.links(object).iter().map(|_| "NULL".to_owned()));
                // most keys belong to one record
                if bytes[0] % 6 == 0 || !rows.iter().any(|other| short(&other[1]) == short(&row[1])) {
                    rows.push(row);
                    kept.push(at);
                }
            }
            tables.insert((*object).to_owned(), owned(fields, rows));
            stems.insert((*object).to_owned(), kept);
        }
        (tables, stems)
    }

    /// The lookup fields of an object, and where they point.
    fn links(&self, object: &str) -> Vec<(&'static str, &'static str)> {
        let finds = self.finds.iter().filter_map(|(to, lookup, _)| Some((to.split_once('.')?, *lookup)));
        let links = finds.filter(|((owner, _), _)| *owner == object).map(|((_, field), lookup)| (field, lookup));
        links.chain((object == "company_person").then_some(("Person_ID", "person"))).collect()
    }

    /// Fills the lookup fields: most with what the record's row would find, some with anything.
    fn link(&self, dice: &Dice, stems: &BTreeMap<String, Vec<usize>>, world: &mut World) {
        for (object, kept) in stems {
            for (field, lookup) in self.links(object) {
                for (row, &at) in kept.iter().enumerate() {
                    let bytes = &dice.mirrors[at];
                    let any = bytes[bytes.len() - 1 - field.len() % 4];
                    let origin = origin(dice, stems.len(), at, world.source.rows.len()).filter(|_| any < 215);
                    let found = origin.and_then(|origin| match field {
                        "Person_ID" => model::person(world, origin),
                        _ => model::find(world, origin, &format!("{object}.{field}")),
                    });
                    let there = &world.mirrors[lookup].rows;
                    let value = match found {
                        Some(gsid) => Some(gsid),
                        None if any.is_multiple_of(3) && !there.is_empty() => {
                            there[usize::from(any) % there.len()][0].clone()
                        }
                        None => (any % 3 == 1).then(String::new),
                    };
                    let table = world.mirrors.get_mut(object).expect("it is there");
                    let at = table.schema.index_of(field).expect("a lookup field");
                    table.rows[row][at] = value;
                }
            }
        }
    }
}

/// An id's first 15 characters; another text as it is.
fn short(text: &str) -> String {
    text.trim().chars().take(15).collect()
}

/// The row of the source that a record of a mirror stems from.
fn origin(dice: &Dice, objects: usize, at: usize, rows: usize) -> Option<usize> {
    let bytes = &dice.mirrors[at];
    match bytes[0] {
        _ if rows == 0 => None,
        0..150 => Some((at / objects) % rows),
        150..200 => Some(usize::from(bytes[1]) % rows),
        _ => None,
    }
}

fn random(domain: Groups, byte: u8, salt: usize, dice: &Dice) -> Choice {
    // the first groups are the usual ones
    let groups = domain.len().max(1);
    let group = if byte < 160 { usize::from(byte) % groups.div_ceil(2) } else { usize::from(byte) % groups };
    let digits = (usize::from(byte) / 3 + salt) % (3 + usize::from(dice.records % 40));
    Choice { group: group as u8, form: byte / 7, digits: digits as u8 }
}

fn write(domain: Groups, choice: Choice) -> String {
    let Some(forms) = domain.get(usize::from(choice.group)) else { return String::new() };
    let text = forms[usize::from(choice.form) % forms.len()].replace("{}", &format!("{:02}", choice.digits));
    let text = text.replace("{n}", &choice.digits.to_string()).replace("{q}", &format!("{:03}", choice.digits / 3));
    match text.strip_prefix('+').filter(|id| id.len() == 15) {
        Some(id) => id18(id).expect("an id"),
        None => text,
    }
}

fn owned(fields: Vec<Field>, rows: Vec<Vec<String>>) -> Table {
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    table(fields, &rows)
}

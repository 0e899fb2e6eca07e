//! Persons read straight from a body into cells, before the records are locked.
//!
//! Nearly all persons of nearly all calls are right, and a sandbox that is loaded with a million of them should cost less than
//! the loading. A call in which anything is out of the ordinary (a value that is refused, a field named twice, a lookup, a
//! record that does not exist) is not taken here: [`people`](super::people) reads it again and says what is wrong.

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use super::catalog::Catalog;
use super::catalog::Field;
use super::catalog::Kind;
use super::cell::Cell;
use super::cell::Rules;
use super::cell::from_json;
use super::cell::from_text;
use super::given::Given;
use super::given::Text;
use super::people::Fields;
use super::people::blank;
use super::people::put_company;
use super::people::put_person;
use super::record::exists;
use super::record::missing;
use super::store::Store;
use super::switches::Nulls;
use super::switches::Switches;

type Cells<'a> = Vec<(usize, Cell<'a>)>;

/// The persons of a call whose values are right, as far as they tell that themselves.
#[derive(Debug)]
pub(super) struct Persons<'c, 'a> {
    catalog: &'c Catalog,
    switches: &'c Switches,
    fields: Fields,
    /// One person's or company's cells behind the other's.
    person_cells: Cells<'a>,
    company_cells: Cells<'a>,
    /// How many cells and companies each person has, and how many cells each company.
    persons: Vec<(usize, usize)>,
    companies: Vec<usize>,
}

impl<'c, 'a> Persons<'c, 'a> {
    /// Reads a body; none if anything in it is out of the ordinary.
    pub(super) fn read(catalog: &'c Catalog, switches: &'c Switches, body: &'a [u8]) -> Option<Self> {
        let mut persons = Self {
            catalog,
            switches,
            fields: Fields::of(catalog)?,
            person_cells: Vec::with_capacity(512),
            company_cells: Vec::with_capacity(512),
            persons: Vec::with_capacity(64),
            companies: Vec::with_capacity(64),
        };
        let mut json = serde_json::Deserializer::from_str(std::str::from_utf8(body).ok()?);
        Body(&mut persons).deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(persons)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.persons.len()
    }

    /// Writes all of them and returns their rows; none, and nothing is written, if one names a record that does not exist.
    pub(super) fn write(self, store: &mut Store, now: i64) -> Option<Vec<u32>> {
        let Self { catalog, switches, fields, person_cells, company_cells, persons, companies } = self;
        let all_exist = |object: usize, cells: &Cells<'_>| {
            cells.iter().all(|(at, cell)| exists(store, &catalog.objects[object].fields[*at], cell))
        };
        if switches.raw_lookups_must_exist
            && !(all_exist(fields.person, &person_cells) && all_exist(fields.company_person, &company_cells))
        {
            return None;
        }
        // A key that names no field is the same for all.
        if switches.person_key.iter().any(|name| catalog.objects[fields.person].field(name).is_none()) {
            return None;
        }
        let mut rows = Vec::with_capacity(persons.len());
        let (mut person_cells, mut company_cells) = (person_cells.into_iter(), company_cells.into_iter());
        let mut companies = companies.into_iter();
        let (mut person, mut company) = (Vec::new(), Vec::new());
        for (cells, of_person) in persons {
            person.clear();
            person.extend(person_cells.by_ref().take(cells));
            let row = put_person(catalog, switches, &fields, store, &mut person, now).ok()?;
            let id = store.tables[fields.person].id(row);
            for cells in companies.by_ref().take(of_person) {
                company.clear();
                company.extend(company_cells.by_ref().take(cells));
                put_company(store, &fields, id, &mut company, now);
            }
            rows.push(row as u32);
        }
        Some(rows)
    }

    fn object(&self, level: Level) -> usize {
        match level {
            Level::Person => self.fields.person,
            Level::Company => self.fields.company_person,
        }
    }

    fn cells(&mut self, level: Level) -> &mut Cells<'a> {
        match level {
            Level::Person => &mut self.person_cells,
            Level::Company => &mut self.company_cells,
        }
    }

    /// The field of a key that may be written.
    fn field(&self, level: Level, key: &str) -> Option<usize> {
        let object = &self.catalog.objects[self.object(level)];
        let at = object.field(key).filter(|at| !object.fields[*at].read_only)?;
        // The person is the one around it.
        let own = level == Level::Company && at == self.fields.person_id;
        (!own).then_some(at)
    }

    /// Ends the person or company whose cells begin here; whether it has all that it must have.
    fn end(&mut self, level: Level, cells: usize, companies: usize) -> bool {
        match level {
            Level::Person => {
                let own = &self.person_cells[cells..];
                self.persons.push((own.len(), self.companies.len() - companies));
                !blank(own, self.fields.email)
            }
            Level::Company => {
                let own = &self.company_cells[cells..];
                self.companies.push(own.len());
                let absent = missing(self.catalog, self.fields.company_person, own);
                !blank(own, self.fields.company_id) && absent.iter().all(|fault| fault.field == "Person_ID")
            }
        }
    }
}

/// What an object in the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Person,
    Company,
}

/// The complaint that nobody reads.
fn unusual<E: Error>() -> E {
    E::custom("out of the ordinary")
}

/// `{"records": […]}`.
struct Body<'r, 'c, 'a>(&'r mut Persons<'c, 'a>);

impl<'de> DeserializeSeed<'de> for Body<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a body")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = map.next_key_seed(Text)? {
            if key != "records" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen {
                return Err(unusual());
            }
            seen = true;
            map.next_value_seed(List { persons: &mut *self.0, level: Level::Person })?;
        }
        Ok(())
    }
}

/// A list of persons or of companies.
struct List<'r, 'c, 'a> {
    persons: &'r mut Persons<'c, 'a>,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for List<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(One { persons: &mut *self.persons, level: self.level })?.is_some() {}
        Ok(())
    }
}

/// A person or a company.
struct One<'r, 'c, 'a> {
    persons: &'r mut Persons<'c, 'a>,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for One<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { persons, level } = self;
        let (start, companies) = (persons.cells(level).len(), persons.companies.len());
        let mut nested = false;
        while let Some(key) = map.next_key_seed(Text)? {
            if level == Level::Person && key.eq_ignore_ascii_case("companies") {
                if nested {
                    return Err(unusual());
                }
                nested = true;
                map.next_value_seed(List { persons: &mut *persons, level: Level::Company })?;
                continue;
            }
            let at = persons.field(level, &key).ok_or_else(unusual)?;
            if persons.cells(level)[start..].iter().any(|(other, _)| *other == at) {
                return Err(unusual());
            }
            let field = &persons.catalog.objects[persons.object(level)].fields[at];
            let cell = map.next_value_seed(Value { catalog: persons.catalog, switches: persons.switches, field })?;
            persons.cells(level).push((at, cell));
        }
        if persons.end(level, start, companies) { Ok(()) } else { Err(unusual()) }
    }
}

/// The value of a field, unless it is refused.
struct Value<'c> {
    catalog: &'c Catalog,
    switches: &'c Switches,
    field: &'c Field,
}

impl Value<'_> {
    fn rules(&self) -> Rules {
        Rules::of(self.switches, true)
    }

    fn read<E: Error>(&self, value: &Given<'_>) -> Result<Cell<'static>, E> {
        from_json(self.catalog, self.field, value, self.rules()).map(Cell::into_owned).map_err(|_| unusual())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Cell<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        if self.switches.nulls == Nulls::Ignore { Err(unusual()) } else { self.read(&Given::Null) }
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        self.read(&Given::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.read(&Given::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.read(&Given::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let number = serde_json::Number::from_f64(number).ok_or_else(unusual)?;
        self.read(&Given::Number(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        if self.field.kind == Kind::Json {
            return Err(unusual());
        }
        from_text(self.catalog, self.field, text, self.rules()).map_err(|_| unusual())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.read(&Given::Text(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::gainsight::column::Value as Kept;

    #[test]
    fn the_quick_way_takes_what_is_right_and_nothing_else() {
        let catalog = Catalog::read("test", &[]).unwrap();
        let switches = Switches::default();
        let mut store = Store::new(&catalog);
        let company = catalog.object("company").unwrap();
        let row = store.tables[company].insert(&[], 0);
        let id = String::from_utf8(catalog.gsids.write(store.tables[company].id(row)).to_vec()).unwrap();
        let stranger = id.replace("00000001", "00000002");
        let mut rows = |person: &str| {
            let body =
                format!(r#"{{"other":[1],"records":[{person}]}}"#).replace("KNOWN", &id).replace("NOBODY", &stranger);
            Persons::read(&catalog, &switches, body.as_bytes())?.write(&mut store, 0)
        };
        assert_eq!(
            rows(r#"{"Email":"a@x.org","companies":[{"Company_ID":"KNOWN","Title":"\"T\""}],"LastName":"B"}"#),
            Some(vec![0])
        );
        assert_eq!(
            rows(r#"{"EMAIL":"A@x.org ","FirstName":null},{"email":"b@x.org","companies":[]}"#),
            Some(vec![0, 1])
        );
        for odd in [
            r#"{"LastName":"B"}"#,
            r#"{"Email":"bad"}"#,
            r#"{"Email":"c@x.org","email":"c@x.org"}"#,
            r#"{"Email":"c@x.org","Bogus":1}"#,
            r#"{"Email":"c@x.org","Gsid":"KNOWN"}"#,
            r#"{"Email":"c@x.org","lookups":null}"#,
            r#"{"Email":"c@x.org","companies":null}"#,
            r#"{"Email":"c@x.org","companies":[{"Title":"T"}]}"#,
            r#"{"Email":"c@x.org","companies":[{"Company_ID":"KNOWN","Person_ID":"KNOWN"}]}"#,
            r#"{"Email":"c@x.org","companies":[{"Company_ID":"NOBODY"}]}"#,
            r#"{"Email":"c@x.org","companies":[],"Companies":[]}"#,
            r#"{"Email":"c@x.org"}],"records":[{"Email":"c@x.org"}"#,
            r#"{"Email":"c@x.org"}]} {"a":[1"#,
        ] {
            assert_eq!(rows(odd), None, "{odd}");
        }
        let fields = Fields::of(&catalog).unwrap();
        let title = catalog.objects[fields.company_person].field("Title").unwrap();
        let name = catalog.objects[fields.person].field("Name").unwrap();
        let [people, company_people] = [fields.person, fields.company_person].map(|object| &store.tables[object]);
        assert_eq!((people.len(), company_people.len()), (2, 1));
        assert_eq!(company_people.get(0, title), Kept::Text(b"\"T\""));
        assert_eq!(people.get(0, name), Kept::Text(b"B"));
    }
}

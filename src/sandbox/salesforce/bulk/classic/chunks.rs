//! PK chunking: a query of a whole table as several batches, one per range of ids.

use std::ops::Range;

use axum::http::HeaderMap;

use super::Refusal;
use crate::sandbox::salesforce::bulk::query::Plan;
use crate::sandbox::salesforce::bulk::refused;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::soql;
use crate::sandbox::salesforce::soql::Condition;
use crate::sandbox::salesforce::soql::Name;

/// Records of a chunk unless the client names a number.
const USUAL: u32 = 100_000;
/// The most records of a chunk.
const MOST: u32 = 250_000;

/// How a client wants its queries split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunking {
    size: u32,
    /// The id at which the first chunk begins.
    start: Option<Id>,
}

/// Reads `Sforce-Enable-PKChunking: true`, or `chunkSize=N; startRow=ID; parent=X`.
pub(super) fn asked(headers: &HeaderMap) -> Result<Option<Chunking>, Refusal> {
    let header = headers.get("sforce-enable-pkchunking").and_then(|value| value.to_str().ok());
    let Some(header) = header.map(str::trim).filter(|text| !text.eq_ignore_ascii_case("false")) else {
        return Ok(None);
    };
    let mut chunking = Chunking { size: USUAL, start: None };
    for part in header.split([';', ',']).map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || Refusal::new("InvalidJob", format!("Invalid PK chunking header: {part}"));
        match part.split_once('=').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim())) {
            None if part.eq_ignore_ascii_case("true") => {}
            Some((name, value)) if name == "chunksize" => {
                chunking.size = value.parse().ok().filter(|size| (1..=MOST).contains(size)).ok_or_else(wrong)?;
            }
            Some((name, value)) if name == "startrow" => chunking.start = Some(Id::parse(value).ok_or_else(wrong)?),
            // Sharing and history tables are split by their parent; the org has none.
            Some((name, _)) if name == "parent" || name == "usesampleddata" => {}
            _ => return Err(wrong()),
        }
    }
    Ok(Some(chunking))
}

/// The ranges of records that become batches; none where the query cannot be split and runs as one.
///
/// # Errors
/// Why the batch fails.
pub(super) fn split(chunking: &Chunking, plan: &Plan, text: &str) -> Result<Option<Vec<Range<u32>>>, String> {
    if !refused::chunkable(plan.object()) {
        return Err(format!("InvalidBatch : PK chunking is not supported for {}", plan.object()));
    }
    let query = soql::parse(text).map_err(|refusal| format!("InvalidBatch : {}", refusal.message))?;
    // An order and a condition on an id switch chunking off.
    if !query.order.is_empty() || query.limit.is_some() || query.condition.as_ref().is_some_and(names_an_id) {
        return Ok(None);
    }
    let object = plan.bound.object;
    let rows = u32::try_from(plan.store.table(object).rows()).unwrap_or(u32::MAX);
    let first = match &chunking.start {
        None => 0,
        Some(id) => id.number().and_then(|number| u32::try_from(number).ok()).unwrap_or(rows).min(rows),
    };
    let mut ranges: Vec<_> = (first..rows)
        .step_by(chunking.size as usize)
        .map(|start| start..start.saturating_add(chunking.size).min(rows))
        .collect();
    if ranges.is_empty() {
        ranges.push(first..first);
    }
    Ok(Some(ranges))
}

/// Whether a condition asks for an id.
fn names_an_id(condition: &Condition) -> bool {
    let is_id = |field: &Name| field.text.to_ascii_lowercase().ends_with("id");
    match condition {
        Condition::And(all) | Condition::Or(all) => all.iter().any(names_an_id),
        Condition::Not(inner) => names_an_id(inner),
        Condition::Compare { field, .. }
        | Condition::In { field, .. }
        | Condition::InQuery { field, .. }
        | Condition::Includes { field, .. } => is_id(field),
    }
}

/// The query of a chunk, as its request shows it.
pub(super) fn query_text(plan: &Plan, text: &str, range: &Range<u32>) -> String {
    let id = |row: u32| plan.store.id(plan.bound.object, row).as_str()[..15].to_owned();
    let bounds = format!("Id >= '{}' AND Id < '{}'", id(range.start), id(range.end));
    match condition_at(text) {
        Some((before, behind)) => {
            format!("{} WHERE ({}) AND {bounds}", text[..before].trim_end(), text[behind..].trim())
        }
        None => format!("{text} WHERE {bounds}"),
    }
}

/// Where WHERE begins and ends: a query that is split has nothing behind its condition.
fn condition_at(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut quoted = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'\'' => quoted = !quoted,
            b'w' | b'W' if !quoted => {
                let word = bytes.get(at..at + 5).is_some_and(|word| word.eq_ignore_ascii_case(b"where"));
                let before = at > 0 && bytes[at - 1].is_ascii_whitespace();
                let behind = bytes.get(at + 5).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'(');
                if word && before && behind {
                    return Some((at, at + 5));
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_found_outside_of_text() {
        let text = "SELECT Id FROM Account  where(Name = ' where \\' where ')";
        let (before, behind) = condition_at(text).unwrap();
        assert_eq!((&text[..before], &text[behind..]), ("SELECT Id FROM Account  ", "(Name = ' where \\' where ')"));
        assert_eq!(condition_at("SELECT Id, Elsewhere__c FROM A"), None);
    }

    #[test]
    fn the_header_is_read_in_all_its_forms() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("sforce-enable-pkchunking", text.parse().unwrap());
            asked(&headers)
        };
        assert_eq!(asked("true").unwrap(), Some(Chunking { size: 100_000, start: None }));
        assert_eq!(asked("FALSE").unwrap(), None);
        let id = Id::new(*b"001", 7);
        let full = asked(&format!("chunkSize=50; startRow={}; parent=Account", &id.as_str()[..15])).unwrap();
        assert_eq!(full, Some(Chunking { size: 50, start: Some(id) }));
        for wrong in ["chunkSize=250001", "chunkSize=0", "startRow=x", "magic"] {
            assert_eq!(asked(wrong).unwrap_err().code(), "InvalidJob", "{wrong}");
        }
        assert_eq!(super::asked(&HeaderMap::new()).unwrap(), None);
    }
}

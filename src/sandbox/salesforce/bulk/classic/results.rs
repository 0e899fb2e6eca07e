//! Results of batches: what became of each row, the results of a query, and their rows.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use super::Language;
use super::Refusal;
use super::batches::Batch;
use super::batches::BatchState;
use super::batches::Query;
use super::batches::Work;
use super::jobs::Content;
use super::jobs::Job;
use super::xml;
use crate::sandbox::salesforce::bulk::csv;
use crate::sandbox::salesforce::bulk::load;
use crate::sandbox::salesforce::bulk::load::Outcome;
use crate::sandbox::salesforce::bulk::load::Progress;
use crate::sandbox::salesforce::bulk::stream;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::rest::Call;
use crate::sandbox::salesforce::rows;
use crate::sandbox::salesforce::rows::Dialect;
use crate::sandbox::salesforce::rows::Member;
use crate::sandbox::salesforce::rows::Shape;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::soql::joined;
use crate::sandbox::salesforce::store::Cell;
use crate::sandbox::salesforce::store::Store;

/// What a CSV result says instead of a header when a query found nothing.
const NOTHING: &str = "Records not found for this query";
/// Rows that are written between two looks at the size of the chunk.
const STEP: usize = 128;
const COMMA: Dialect = Dialect { delimiter: b',', line_end: b"\n" };

/// `GET /job/{id}/batch/{id}/result`.
pub(super) fn list(call: &Call, job: &mut Job, id: &str) -> Result<Response, Refusal> {
    job.look(call.org.clock.now(), false);
    match &completed(job, id)?.work {
        Work::Query(query) => {
            let id = query.result.as_str();
            let body = match job.language() {
                Language::Json => json!([id]).to_string().into_bytes(),
                Language::Xml => {
                    let mut out = xml::Writer::new("result-list");
                    out.element("result", id);
                    out.finish()
                }
            };
            Ok(super::reply(StatusCode::OK, job.language(), body))
        }
        Work::Load(progress) => Ok(outcomes(job.content, progress)),
        Work::Failed(_) | Work::Split => Err(Refusal::new("InvalidBatch", "Records not processed")),
    }
}

/// The batch, if it is complete.
fn completed<'a>(job: &'a Job, id: &str) -> Result<&'a Batch, Refusal> {
    let batch = job.batch(id)?;
    match batch.state {
        BatchState::Completed => Ok(batch),
        BatchState::Queued | BatchState::InProgress => Err(Refusal::new("InvalidBatch", "Batch not completed")),
        // A failed batch shows the rows that it did write.
        BatchState::Failed if batch.counts().0 > 0 => Ok(batch),
        BatchState::Failed | BatchState::NotProcessed => Err(Refusal::new("InvalidBatch", "Records not processed")),
    }
}

/// What became of each row, in the order of the request.
fn outcomes(content: Content, progress: &Progress) -> Response {
    let chunks = progress.outcomes();
    let all = chunks.iter().flat_map(|chunk| chunk.iter());
    match content {
        Content::Csv => {
            let mut out = b"\"Id\",\"Success\",\"Created\",\"Error\"\n".to_vec();
            for outcome in all {
                csv_outcome(&mut out, outcome);
            }
            let headers = [(axum::http::header::CONTENT_TYPE, stream::CSV)];
            axum::response::IntoResponse::into_response((headers, out))
        }
        Content::Json => {
            let all: Vec<_> = all.map(json_outcome).collect();
            super::reply(StatusCode::OK, Language::Json, Value::Array(all).to_string().into_bytes())
        }
        Content::Xml => {
            let mut out = xml::Writer::new("results");
            for outcome in all {
                xml_outcome(&mut out, outcome);
            }
            super::reply(StatusCode::OK, Language::Xml, out.finish())
        }
    }
}

fn csv_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    let (id, success, created, error) = match &outcome.result {
        Ok(written) => (Some(written.id), "true", written.created.to_string(), String::new()),
        Err((id, refusal)) => (*id, "false", false.to_string(), load::spelt(refusal)),
    };
    let id = id.as_ref().map_or("", Id::as_str);
    for (at, value) in [id, success, &created, &error].into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        csv::write_quoted(out, value);
    }
    out.push(b'\n');
}

fn json_outcome(outcome: &Outcome) -> Value {
    match &outcome.result {
        Ok(written) => {
            json!({ "success": true, "created": written.created, "id": written.id.as_str(), "errors": [] })
        }
        Err((id, refusal)) => json!({
            "success": false,
            "created": false,
            "id": id.as_ref().map(Id::as_str),
            "errors": [{
                "message": refusal.message,
                "fields": refusal.fields.as_deref().unwrap_or_default(),
                "statusCode": refusal.code,
                "extendedErrorDetails": null,
            }],
        }),
    }
}

fn xml_outcome(out: &mut xml::Writer, outcome: &Outcome) {
    out.open("result");
    match &outcome.result {
        Ok(written) => {
            out.element("id", written.id.as_str());
            out.element("success", "true");
            out.element("created", if written.created { "true" } else { "false" });
        }
        Err((id, refusal)) => {
            out.open("errors");
            for field in refusal.fields.as_deref().unwrap_or_default() {
                out.element("fields", field);
            }
            out.element("message", &refusal.message);
            out.element("statusCode", refusal.code);
            out.close();
            if let Some(id) = id {
                out.element("id", id.as_str());
            }
            out.element("success", "false");
            out.element("created", "false");
        }
    }
    out.close();
}

/// `GET /job/{id}/batch/{id}/result/{id}`.
pub(super) fn rows(call: &Call, job: &mut Job, batch: &str, result: &str) -> Result<Response, Refusal> {
    let unknown = || Refusal::new("InvalidBatch", format!("Invalid result id: {result}"));
    job.look(call.org.clock.now(), false);
    let Work::Query(query) = &completed(job, batch)?.work else { return Err(unknown()) };
    if Id::parse(result) != Some(query.result) {
        return Err(unknown());
    }
    let gzip = call.takes_gzip();
    match job.content {
        Content::Csv => csv_rows(query, gzip),
        Content::Json => json_rows(query, gzip, call.base.clone()),
        Content::Xml => xml_rows(query, gzip),
    }
    .ok_or_else(unknown)
}

fn csv_rows(query: &Query, gzip: bool) -> Option<Response> {
    let (all, mut places) = query.rows()?;
    let plan = Arc::clone(&query.plan);
    let mut header = true;
    Some(stream::streamed(stream::CSV, gzip, move |out| {
        if std::mem::take(&mut header) {
            if places.is_empty() {
                out.extend_from_slice(NOTHING.as_bytes());
                return false;
            }
            rows::csv_header(out, &plan.bound, COMMA);
        }
        while out.len() < stream::CHUNK && !places.is_empty() {
            let end = (places.start + STEP).min(places.end);
            rows::csv_rows(out, &plan.store, &plan.bound, &all[places.start..end], COMMA);
            places.start = end;
        }
        !places.is_empty()
    }))
}

fn json_rows(query: &Query, gzip: bool, base: String) -> Option<Response> {
    let (all, mut places) = query.rows()?;
    let plan = Arc::clone(&query.plan);
    let shape = Shape::of(&plan.bound).with_times_in_millis();
    let mut separator: &[u8] = b"[";
    Some(stream::streamed(Language::Json.content_type(), gzip, move |out| {
        while out.len() < stream::CHUNK {
            let place = places.next();
            if place.is_some() || separator == b"[" {
                out.extend_from_slice(std::mem::replace(&mut separator, b","));
            }
            let Some(place) = place else {
                out.push(b']');
                return false;
            };
            shape.write(out, &plan.store, all[place], &base);
        }
        true
    }))
}

fn xml_rows(query: &Query, gzip: bool) -> Option<Response> {
    let (all, mut places) = query.rows()?;
    let plan = Arc::clone(&query.plan);
    let shape = Shape::of(&plan.bound);
    let mut started = false;
    Some(stream::streamed(Language::Xml.content_type(), gzip, move |out| {
        if !std::mem::replace(&mut started, true) {
            out.extend_from_slice(xml::RESULT_START.as_bytes());
        }
        while out.len() < stream::CHUNK {
            let Some(place) = places.next() else {
                out.extend_from_slice(xml::RESULT_END.as_bytes());
                return false;
            };
            out.extend_from_slice(b"<records xsi:type=\"sObject\">");
            xml_record(out, &plan.store, &shape, (shape.object, all[place]));
            out.extend_from_slice(b"</records>");
        }
        true
    }))
}

/// A record: its type, its id once more than asked for, then the fields of the query.
fn xml_record(out: &mut Vec<u8>, store: &Store, shape: &Shape, (object, row): (ObjectIndex, u32)) {
    let definition = &store.schema.objects[object];
    xml::element(out, "type", &definition.name);
    let has_id = shape.members.iter().any(|(_, member)| matches!(member, Member::Field(0)));
    if has_id {
        xml::element(out, "Id", store.id(object, row).as_str());
    } else {
        xml::nil(out, "Id");
    }
    for (name, member) in &shape.members {
        match member {
            Member::Field(field) => match store.cell_of((object, row), shape.object, *field) {
                Cell::Null => xml::nil(out, name),
                cell => xml::element(out, name, &cell_text(cell)),
            },
            Member::Parent(field, parent) => match store.parent(object, row, *field) {
                Some(found) if found.0 == parent.object || store.schema.is_name(parent.object) => {
                    out.extend_from_slice(format!("<{name} xsi:type=\"sObject\">").as_bytes());
                    xml_record(out, store, parent, found);
                    out.extend_from_slice(format!("</{name}>").as_bytes());
                }
                _ => xml::nil(out, name),
            },
            // The Bulk API refuses subqueries.
            Member::Children(..) => {}
        }
    }
}

fn cell_text(cell: Cell<'_>) -> String {
    let mut out = Vec::new();
    match cell {
        Cell::Null => {}
        Cell::Text(text) => return text.to_owned(),
        Cell::Computed(text) => return text,
        Cell::Name(first, last) => return joined(first, last),
        Cell::Boolean(value) => return value.to_string(),
        Cell::Integer(value) => format::integer(&mut out, value),
        Cell::Double(value) => format::double(&mut out, value),
        Cell::Date(days) => format::date(&mut out, i32::try_from(days).unwrap_or_default()),
        Cell::Datetime(seconds) => format::datetime(&mut out, seconds, b"Z"),
        Cell::Time(millis) => format::time(&mut out, millis),
        Cell::Id(id) => return id.to_string(),
    }
    String::from_utf8(out).unwrap_or_default()
}

//! The three result files of an ingest job.
//!
//! ```text
//!  successfulResults   "sf__Id","sf__Created",<header as uploaded>   rows written, in quotes
//!  failedResults       "sf__Id","sf__Error",<header as uploaded>     rows refused, in quotes
//!  unprocessedrecords  <header as uploaded>                          rows not reached, as uploaded
//! ```

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::csv;
use super::csv::LineEnd;
use super::csv::Reader;
use super::csv::Record;
use super::jobs;
use super::jobs::Csv;
use super::jobs::State;
use super::load;
use super::load::Outcome;
use super::stream;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest::Answer;
use crate::sandbox::salesforce::rest::Call;

/// The API version from which a refused row tells the id of its record.
const IDS_SINCE: u32 = 53;

/// Which file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Successful,
    Failed,
    Unprocessed,
}

impl File {
    /// The file behind a path; clients spell `unprocessedrecords` in several ways.
    fn named(path: &str) -> Option<Self> {
        match path.to_ascii_lowercase().as_str() {
            "successfulresults" => Some(Self::Successful),
            "failedresults" => Some(Self::Failed),
            "unprocessedrecords" => Some(Self::Unprocessed),
            _ => None,
        }
    }
}

/// Whether a path names a result file.
pub(super) fn is_file(path: &str) -> bool {
    File::named(path).is_some()
}

/// `GET /jobs/ingest/{id}/successfulResults` and its like.
pub(super) fn file(call: &Call, id: &str, path: &str) -> Answer {
    let file = File::named(path).ok_or_else(crate::sandbox::salesforce::error::ApiError::not_found)?;
    let mut jobs = lock(&call.org.jobs);
    let job = jobs::find(&mut jobs.ingests, id)?;
    job.look(call.org.clock.now(), false);
    // The rows of an aborted job that are being written now are done in a moment.
    if !job.state.has_ended() || job.progress.is_running() {
        return Err(jobs::wrong_state(format!("Results of Job in state {} not available", job.state.name())));
    }
    let outcomes = job.progress.outcomes();
    let (data, csv) = (job.data.clone().unwrap_or_default(), job.csv);
    let (version, complete) = (job.head.version, job.state == State::JobComplete);
    drop(jobs);
    // A job whose data is no text has failed and has no outcomes: what was uploaded is given back as it is.
    let Ok(text) = std::str::from_utf8(&data).map(Arc::<str>::from) else {
        let all = if file == File::Unprocessed { data } else { Bytes::new() };
        return Ok(([(CONTENT_TYPE, stream::CSV)], all).into_response());
    };
    let mut writer = Writer { outcomes, text, csv, version, file, complete, next: (0, 0), started: false };
    Ok(stream::streamed(stream::CSV, call.takes_gzip(), move |out| writer.fill(out)))
}

struct Writer {
    outcomes: Vec<Arc<[Outcome]>>,
    text: Arc<str>,
    csv: Csv,
    version: u32,
    file: File,
    /// Every row was worked on.
    complete: bool,
    /// The next outcome: chunk and place in it.
    next: (usize, usize),
    started: bool,
}

impl Writer {
    fn fill(&mut self, out: &mut Vec<u8>) -> bool {
        let whole = Arc::clone(&self.text);
        let text = &*whole;
        let line_end = if self.csv.line_ending.0 == "LF" { LineEnd::Lf } else { LineEnd::CrLf };
        let mut reader = Reader::new(text, self.csv.delimiter.1, line_end);
        if self.file == File::Unprocessed {
            self.rest(out, text, &mut reader);
            return false;
        }
        if !std::mem::replace(&mut self.started, true) {
            self.header(out, text);
        }
        let mut record = Record::default();
        while out.len() < stream::CHUNK {
            let Some(chunk) = self.outcomes.get(self.next.0) else { return false };
            let Some(outcome) = chunk.get(self.next.1) else {
                self.next = (self.next.0 + 1, 0);
                continue;
            };
            self.next.1 += 1;
            if outcome.result.is_ok() != (self.file == File::Successful) {
                continue;
            }
            self.before(out, outcome);
            reader.seek(outcome.at as usize);
            if reader.next(&mut record).is_ok() {
                for at in 0..record.len() {
                    out.push(self.csv.delimiter.1);
                    csv::write_quoted(out, record.get(at));
                }
            }
            out.extend_from_slice(self.csv.line_ending.1);
        }
        true
    }

    /// The header line, as the client wrote it behind the columns of the service.
    fn header(&self, out: &mut Vec<u8>, text: &str) {
        let own = match self.file {
            File::Successful => ["sf__Id", "sf__Created"],
            File::Failed => ["sf__Id", "sf__Error"],
            File::Unprocessed => ["", ""],
        };
        for name in own.iter().filter(|name| !name.is_empty()) {
            csv::write_quoted(out, name);
            out.push(self.csv.delimiter.1);
        }
        out.extend_from_slice(header_line(text).as_bytes());
        out.extend_from_slice(self.csv.line_ending.1);
    }

    /// The columns of the service.
    fn before(&self, out: &mut Vec<u8>, outcome: &Outcome) {
        let (id, second) = match &outcome.result {
            Ok(written) => (Some(written.id), written.created.to_string()),
            Err((id, refusal)) => (id.filter(|_| self.version >= IDS_SINCE), load::spelt(refusal)),
        };
        csv::write_quoted(out, id.as_ref().map_or("", |id| id.as_str()));
        out.push(self.csv.delimiter.1);
        csv::write_quoted(out, &second);
    }

    /// The rows behind the last one that was worked on, as they were uploaded.
    fn rest(&self, out: &mut Vec<u8>, text: &str, reader: &mut Reader<'_>) {
        if self.complete {
            return self.header(out, text);
        }
        let line_end = self.csv.line_ending.1;
        let mut from = 0;
        if let Some(last) = self.outcomes.last().and_then(|chunk| chunk.last()) {
            self.header(out, text);
            let mut record = Record::default();
            reader.seek(last.at as usize);
            if reader.next(&mut record).is_ok() {
                from = (record.place.end + line_end.len()).min(text.len());
            }
        }
        let rest = text.get(from..).unwrap_or_default();
        out.extend_from_slice(rest.as_bytes());
        if !rest.is_empty() && !rest.ends_with('\n') {
            out.extend_from_slice(line_end);
        }
    }
}

/// The first line; a line break in quotes does not end it.
fn header_line(text: &str) -> &str {
    let mut quoted = false;
    let end = text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'\n' && !quoted
    });
    let line = &text[..end.unwrap_or(text.len())];
    line.strip_suffix('\r').unwrap_or(line)
}

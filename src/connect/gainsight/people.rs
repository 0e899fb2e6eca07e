//! People: one person with the companies where it works, upserted by the tenant's person resolution key.
//!
//! Paths of the asynchronous call's status and its body are not published (gainsight-api §12, item 27); they are in one
//! place here.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connect::http::Method;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;

use super::client::Call;
use super::client::GainsightClient;
use super::envelope::CellError;
use super::envelope::cell_errors;
use super::write::Refusal;
use super::write::WriteAnswer;

const PATH: &str = "/v1/peoplemgmt/v1.0/people";

/// What became of an asynchronous people call.
#[derive(Debug, Clone, PartialEq)]
pub struct PeopleStatus {
    /// Whether it is over.
    pub done: bool,
    /// Persons written.
    pub count: u64,
    /// Refused records, each with its place in the request.
    pub errors: Vec<CellError>,
}

impl GainsightClient {
    /// The quota that asynchronous people calls use in this tenant.
    pub fn people_async_class(&self) -> CallClass {
        match self.settings().people_async_is_bulk {
            true => CallClass::GainsightBulk,
            false => CallClass::GainsightSync,
        }
    }

    /// Creates or updates one person. Body: the person with its `companies`. An upsert, so it may be repeated.
    pub async fn put_person(&self, body: Bytes) -> Result<WriteAnswer> {
        let mut call = Call::new(Method::PUT, PATH, "write a person");
        call.body = body;
        self.write(call).await
    }

    /// Creates or updates up to 50 persons; the answer is a status id. Body: `{"records":[…]}`.
    pub async fn put_people_async(&self, body: Bytes) -> Result<Result<String, Refusal>> {
        let path = format!("{PATH}/async");
        let mut call = Call::new(Method::PUT, &path, "write people");
        call.class = self.people_async_class();
        call.body = body;
        let answer = self.call(call).await?;
        if let Some(failure) = answer.failure {
            let blame_rows = failure.status == 400 || failure.status == 200;
            return if blame_rows { Ok(Err(failure.into())) } else { Err(failure.into_error("write people")) };
        }
        #[derive(Deserialize)]
        struct Started {
            #[serde(rename = "statusId", alias = "statusID", alias = "StatusId")]
            status_id: String,
        }
        let data = answer.data().unwrap_or_default();
        let started: Started = serde_json::from_slice(&data)
            .map_err(|e| Error::unavailable("Gainsight took the people but named no status id").source(e))?;
        Ok(Ok(started.status_id))
    }

    /// Asks how an asynchronous people call stands.
    pub async fn people_status(&self, status_id: &str) -> Result<PeopleStatus> {
        let path = format!("{PATH}/async/status/{status_id}");
        let answer = self.call(Call::new(Method::GET, &path, "ask how a people call stands")).await?;
        if let Some(failure) = answer.failure {
            return Err(failure.into_error("say how a people call stands"));
        }
        #[derive(Deserialize)]
        struct Status<'a> {
            #[serde(alias = "Status", alias = "jobStatus")]
            status: String,
            #[serde(alias = "Count", default)]
            count: u64,
            /// Taken apart only where there are some: the list of persons beside it is long.
            #[serde(borrow, default)]
            errors: Option<&'a RawValue>,
        }
        let data = answer.data().unwrap_or_default();
        let status: Status<'_> = serde_json::from_slice(&data)
            .map_err(|e| Error::unavailable("Gainsight's status of a people call cannot be read").source(e))?;
        let word = status.status.to_ascii_uppercase();
        Ok(PeopleStatus {
            done: !matches!(&*word, "IN_PROGRESS" | "INIT" | "SUBMITTED" | "NOT_STARTED" | "PENDING" | "QUEUED"),
            count: status.count,
            errors: match status.errors.map(RawValue::get) {
                None | Some("[]" | "null") => Vec::new(),
                Some(errors) => cell_errors(errors),
            },
        })
    }
}

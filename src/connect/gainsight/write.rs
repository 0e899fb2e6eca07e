//! Inserts and updates of objects and users, fifty records a call.

use bytes::Bytes;
use serde::Deserialize;

use crate::connect::http::Method;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::telemetry::CallClass;

use super::client::Call;
use super::client::GainsightClient;
use super::envelope::Answer;
use super::envelope::CellError;
use super::envelope::Failure;
use super::envelope::cell_errors;

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteAnswer {
    /// It was carried out.
    Accepted(Accepted),
    /// Nothing of it was carried out.
    Refused(Refusal),
    /// The connection ended after the request was sent, or the server failed: it may have been carried out.
    Unknown(String),
}

/// A write that was carried out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Accepted {
    /// The records' ids in the order of the answer, where it names them.
    pub gsids: Vec<String>,
    /// How many records Gainsight says were written.
    pub count: Option<u64>,
    /// Records that were left out all the same, such as updates of records that do not exist.
    pub errors: Vec<CellError>,
}

/// A write of which nothing was carried out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Refusal {
    /// `GSOBJ_1012`, …
    pub code: String,
    /// The sentence.
    pub description: String,
    /// The cells that are named.
    pub errors: Vec<CellError>,
    /// Gainsight's id of the request.
    pub request_id: Option<String>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let Failure { code, description, errors, request_id, .. } = failure;
        Self { code, description, errors, request_id }
    }
}

impl GainsightClient {
    /// Creates records of an object. Body: `{"records":[…]}`, at most 50.
    pub async fn insert(&self, object: &str, body: Bytes) -> Result<WriteAnswer> {
        let path = format!("/v1/data/objects/{object}");
        let mut call = Call::new(Method::POST, &path, "create records");
        call.body = body;
        self.write(call).await
    }

    /// Updates records of an object, found by `keys` (at most three).
    pub async fn update(&self, object: &str, keys: &str, body: Bytes) -> Result<WriteAnswer> {
        let path = format!("/v1/data/objects/{object}");
        let mut call = Call::new(Method::PUT, &path, "update records");
        let query = [("keys", keys)];
        call.query = &query;
        call.body = body;
        self.write(call).await
    }

    /// Creates users without sending them an e-mail. Body: `{"records":[…]}`, at most 50.
    pub async fn create_users(&self, body: Bytes) -> Result<WriteAnswer> {
        let mut call = Call::new(Method::POST, "/v1/users/services", "create users");
        call.query = &[("notify", "false")];
        call.class = CallClass::GainsightUsers;
        call.body = body;
        self.write(call).await
    }

    /// Updates users, found by `key`: `Gsid`, `SFDCUserName` or `SfdcUserId`.
    pub async fn update_users(&self, key: &str, body: Bytes) -> Result<WriteAnswer> {
        let mut call = Call::new(Method::PUT, "/v1/users/services", "update users");
        let query = [("key", key)];
        call.query = &query;
        call.class = CallClass::GainsightUsers;
        call.body = body;
        self.write(call).await
    }

    /// Sends a write and sorts its answer.
    pub(super) async fn write(&self, call: Call<'_>) -> Result<WriteAnswer> {
        let (what, idempotent) = (call.what, call.idempotent);
        let answer = match self.call(call).await {
            Ok(answer) => answer,
            // `Http` has tried what may be tried. The limiter's errors come before anything is sent.
            Err(e) if e.kind() == ErrorKind::Unavailable && !idempotent && !super::limiter::is_quota(&e) => {
                return Ok(WriteAnswer::Unknown(e.message().to_owned()));
            }
            Err(e) => return Err(e),
        };
        match answer.failure.clone() {
            None => Ok(WriteAnswer::Accepted(accepted(&answer))),
            Some(failure) if failure.outcome_unknown() && !idempotent => {
                Ok(WriteAnswer::Unknown(format!("HTTP {} {}", failure.status, failure.code)))
            }
            // Rows cannot be blamed for these.
            Some(failure)
                if failure.outcome_unknown()
                    || matches!(failure.status, 401 | 403 | 404 | 408 | 429)
                    || matches!(
                        &*failure.code,
                        "GS_APIG_2401" | "GS_APIG_2402" | "GS_APIG_2404" | "GU_2400" | "GSOBJ_1023" | "GSOBJ_1024"
                    )
                    || failure.is_unknown_object() =>
            {
                Err(failure.into_error(what))
            }
            Some(failure) => Ok(WriteAnswer::Refused(failure.into())),
        }
    }
}

fn accepted(answer: &Answer) -> Accepted {
    #[derive(Deserialize)]
    struct Data {
        count: Option<u64>,
        #[serde(default)]
        records: Option<Vec<Record>>,
        #[serde(default)]
        errors: serde_json::Value,
    }
    #[derive(Deserialize)]
    struct Record {
        #[serde(rename = "Gsid", alias = "gsid", alias = "GSID")]
        gsid: Option<String>,
    }
    let Some(data) = answer.data() else { return Accepted::default() };
    match serde_json::from_slice::<Data>(&data) {
        Ok(found) => Accepted {
            gsids: found.records.unwrap_or_default().into_iter().filter_map(|record| record.gsid).collect(),
            count: found.count,
            errors: match found.errors {
                serde_json::Value::Null => Vec::new(),
                _ => cell_errors(&String::from_utf8_lossy(&data)),
            },
        },
        // A single person's answer is the record itself.
        Err(_) => Accepted {
            gsids: serde_json::from_slice::<Record>(&data).ok().and_then(|record| record.gsid).into_iter().collect(),
            ..Accepted::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::http::StatusCode;

    #[test]
    fn an_accepted_write_tells_ids_count_and_what_was_left_out() {
        let body = r#"{"result":true,"data":{"count":1,"errors":[{"errorMessage":"No entity matches","errorCode":"GSOBJ_1011","fieldName":"Gsid","invalidValue":"1P02B"}],"records":[{"Gsid":"1P02A","Name":"x"}]}}"#;
        let answer = accepted(&Answer::parse(StatusCode::OK, Bytes::from_static(body.as_bytes())));
        assert_eq!(answer.gsids, ["1P02A"]);
        assert_eq!(answer.count, Some(1));
        assert_eq!(answer.errors[0].code, "GSOBJ_1011");
    }
}

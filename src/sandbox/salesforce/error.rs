//! Refusals in the service's shape: an array of `{message, errorCode, fields}`.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Present in the body only for refusals of a record.
    pub(crate) fields: Option<Vec<String>>,
}

impl ApiError {
    /// A refusal with its HTTP status.
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), fields: None }
    }

    /// Names the fields that are wrong.
    pub(crate) fn fields<const N: usize>(mut self, fields: [&str; N]) -> Self {
        self.fields = Some(fields.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// The refusal of one record among several: `{statusCode, message, fields}`.
    pub(crate) fn of_record(&self) -> Value {
        json!({ "statusCode": self.code, "message": self.message, "fields": self.fields.as_deref().unwrap_or_default() })
    }

    /// There is no session, or it has ended.
    pub(crate) fn no_session() -> Self {
        Self::new(401, "INVALID_SESSION_ID", "Session expired or invalid")
    }

    /// The day's API requests are used up.
    pub(crate) fn requests_exceeded() -> Self {
        Self::new(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    }

    /// Nothing is at this address.
    pub(crate) fn not_found() -> Self {
        Self::new(404, "NOT_FOUND", "The requested resource does not exist")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "message": self.message, "errorCode": self.code });
        if let Some(fields) = self.fields {
            error["fields"] = json!(fields);
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(json!([error]))).into_response()
    }
}

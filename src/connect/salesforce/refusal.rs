//! What Salesforce says when it refuses, and what the reader must do about it.

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde::Deserialize;

use crate::connect::http::Answer;
use crate::connect::http::StatusCode;
use crate::connect::http::excerpt;
use crate::connect::http::status_words;
use crate::error::Error;
use crate::error::ErrorKind;

/// One element of the array that REST and Bulk 2.0 answer with.
#[derive(Debug, Deserialize)]
struct ApiError {
    #[serde(default)]
    message: String,
    #[serde(rename = "errorCode", default)]
    code: String,
}

/// What the token endpoint answers with.
#[derive(Debug, Deserialize)]
struct OAuthError {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// 401 texts that a new login does not cure.
const NOT_CURED_BY_LOGIN: [&str; 2] =
    ["This session is not valid for use with the REST API", "Connected app is not attached to Agent"];

/// Whether a new login may help.
pub(super) fn is_expired_session(answer: &Answer) -> bool {
    if answer.status != StatusCode::UNAUTHORIZED {
        return false;
    }
    let text = String::from_utf8_lossy(&answer.body);
    !NOT_CURED_BY_LOGIN.iter().any(|known| text.contains(known))
}

/// What the Bulk API says of objects that only REST reads.
const NOT_BULK: [&str; 2] = ["not supported by the Bulk API", "does not support query"];

/// Whether the Bulk API refused because it does not offer the object: REST may.
pub fn is_not_offered_by_bulk(error: &Error) -> bool {
    NOT_BULK.iter().any(|known| error.message().contains(known)) || has(error, "code", "INVALIDENTITY")
}

/// Whether an error has this place.
pub(super) fn has(error: &Error, key: &str, value: &str) -> bool {
    error.places().iter().any(|(name, text)| *name == key && text == value)
}

/// A query job that is not found was there before: it was deleted, or is too old.
pub(super) fn job_gone(error: Error, id: &str) -> Error {
    if !has(&error, "status", "404") {
        return error.context("job", id);
    }
    Error::unavailable("the Salesforce query job is gone: somebody deleted it, or its results are older than 7 days")
        .context("job", id)
        .hint("run the same command again; it makes a new job")
        .source(error)
}

/// The error for an answer of the API whose status is not good.
pub(super) fn error(answer: &Answer, what: &'static str, now: DateTime<Utc>) -> Error {
    let errors: Vec<ApiError> = serde_json::from_slice(&answer.body)
        .or_else(|_| serde_json::from_slice::<ApiError>(&answer.body).map(|one| vec![one]))
        .unwrap_or_default();
    let Some(first) = errors.into_iter().find(|e| !e.code.is_empty() || !e.message.is_empty()) else {
        return by_status(answer, what);
    };
    let message = one_line(&first.message);
    let error = |kind| {
        Error::new(kind, format!("Salesforce did not {what}: {message} ({})", first.code))
            .context("code", first.code.clone())
            .context("status", answer.status.as_u16().to_string())
    };
    let (kind, hint) = ruling(&first.code, &first.message, answer.status, now);
    let error = error(kind);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Kind and remedy of a code. The texts of limits come without codes of their own, so the message is read as well.
pub(super) fn ruling(code: &str, message: &str, status: StatusCode, now: DateTime<Utc>) -> (ErrorKind, Option<String>) {
    let limit = |of: &str| {
        let all = (now + TimeDelta::hours(24)).format("%Y-%m-%d %H:%M UTC");
        format!(
            "Salesforce counts {of} over the last 24 hours: some come free every hour, all by {all}; run the same \
             command again then, or ask for a higher limit"
        )
    };
    let hint = |kind, text: &str| (kind, Some(text.to_owned()));
    if message.contains("per 24 hrs") || message.contains("DailyBulkV2Query") {
        return (ErrorKind::Unavailable, Some(limit("bulk queries and their results")));
    }
    if NOT_BULK.iter().any(|known| message.contains(known)) {
        return hint(ErrorKind::Config, "the Bulk API does not offer this object or field: leave it out");
    }
    match code {
        "REQUEST_LIMIT_EXCEEDED" if message.contains("Concurrent") => hint(
            ErrorKind::Unavailable,
            "too many long requests run in the org at once; run the same command again in a few minutes",
        ),
        "REQUEST_LIMIT_EXCEEDED" | "LIMIT_EXCEEDED" | "EXCEEDED_QUOTA" | "TXN_SECURITY_METERING_ERROR" => {
            (ErrorKind::Unavailable, Some(limit("API calls")))
        }
        "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER" => hint(
            ErrorKind::Access,
            "a fresh login was refused as well: check that the app's scopes include `api` and that the user may use it",
        ),
        "MALFORMED_QUERY" => hint(ErrorKind::Config, "correct `where` or the list of fields"),
        "INVALID_FIELD" => hint(
            ErrorKind::Config,
            "check the field's API name (custom fields end in `__c`) and that the user of this login may see it",
        ),
        "INVALID_TYPE" | "INVALIDENTITY" | "INVALID_TYPE_FOR_OPERATION" => hint(
            ErrorKind::Config,
            "check the object's API name and that the user of this login may read it; some objects are not offered \
             by the Bulk API",
        ),
        "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED" | "FeatureNotEnabled" | "FEATURENOTENABLED" => {
            hint(ErrorKind::Access, "the org's edition or the user's profile has no API access: enable it")
        }
        "INSUFFICIENT_ACCESS" | "INSUFFICIENT_ACCESS_OR_READONLY" | "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY" => {
            hint(ErrorKind::Access, "give the user of this login the permission, or leave the object or field out")
        }
        "QUERY_TIMEOUT" => hint(
            ErrorKind::Unavailable,
            "run the same command again; if it happens again, narrow `where` to indexed fields",
        ),
        "INVALID_QUERY_LOCATOR" => {
            hint(ErrorKind::Unavailable, "the result has gone; run the same command again, it makes a new query")
        }
        "INVALIDJOBSTATE" => hint(
            ErrorKind::Unavailable,
            "somebody has ended the job meanwhile; run the same command again, it makes a new one",
        ),
        _ => match status {
            StatusCode::CONFLICT => hint(
                ErrorKind::Config,
                "a job's results must be read with the API version that made the job: put `api_version` back, or \
                 start with a new job",
            ),
            StatusCode::NOT_FOUND => hint(
                ErrorKind::Config,
                "check the name; jobs and their results are deleted after 7 days, a new run makes new ones",
            ),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                hint(ErrorKind::Access, "check the permissions of the user of this login")
            }
            status if status.is_server_error() => {
                hint(ErrorKind::Unavailable, "run the same command again; it resumes where this run stopped")
            }
            StatusCode::BAD_REQUEST => hint(ErrorKind::Config, "correct `where` or the list of fields"),
            _ => hint(ErrorKind::Unavailable, "run the same command again"),
        },
    }
}

/// Bodies that are not Salesforce's JSON come from its edge, or from somebody in between.
fn by_status(answer: &Answer, what: &'static str) -> Error {
    let said = excerpt(&answer.body);
    let error = |kind| {
        Error::new(kind, format!("Salesforce did not {what}: {}, {said}", status_words(answer.status)))
            .context("status", answer.status.as_u16().to_string())
    };
    match answer.status {
        StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => error(ErrorKind::Config)
            .hint("the request's address is longer than 16,384 bytes: ask for fewer fields or shorten `where`"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            error(ErrorKind::Access).hint("check the permissions of the user of this login, and any proxy in between")
        }
        StatusCode::NOT_FOUND => {
            error(ErrorKind::Config).hint("check that `domain` is the org's address and that it has this API version")
        }
        status if status.is_redirection() => {
            error(ErrorKind::Config).hint("the org has moved: set `domain` to its present My Domain address")
        }
        StatusCode::CONFLICT => error(ErrorKind::Config).hint(
            "a job's results must be read with the API version that made the job: put `api_version` back, or start \
             with a new job",
        ),
        _ => error(ErrorKind::Unavailable).hint("run the same command again; it resumes where this run stopped"),
    }
}

/// The error for an answer of the token endpoint whose status is not good.
pub(super) fn login_error(answer: &Answer, login_url: &str) -> Error {
    let Ok(refused) = serde_json::from_slice::<OAuthError>(&answer.body) else {
        return Error::new(
            if answer.status.is_server_error() { ErrorKind::Unavailable } else { ErrorKind::Access },
            format!("the login at {login_url} was refused: {}, {}", status_words(answer.status), excerpt(&answer.body)),
        )
        .hint("check that `domain` is the org's address");
    };
    let description = one_line(&refused.error_description);
    let kind = match refused.error.as_str() {
        "rate_limit_exceeded" | "server_error" | "temporarily_unavailable" => ErrorKind::Unavailable,
        _ => ErrorKind::Access,
    };
    let hint = match (refused.error.as_str(), refused.error_description.as_str()) {
        (_, text) if text.contains("expired access/refresh token") => {
            "the refresh token is no longer valid: authorize the connection again"
        }
        (_, text) if text.contains("hasn't approved this consumer") => {
            "let an administrator pre-authorize the app for this user, or authorize the connection once in a browser"
        }
        (_, text) if text.contains("client credentials") => {
            "enable the client credentials flow in the app and give it a Run As user"
        }
        ("invalid_grant", _) => {
            "check the user and the key or token of this connection, that the user may log in from this network, and \
             for JWT that this machine's clock is right"
        }
        ("invalid_client_id" | "invalid_client" | "invalid_client_credentials", _) => {
            "check `client_id` and `client_secret`; a new app needs up to ten minutes before it works"
        }
        ("inactive_user" | "inactive_org", _) => "activate the user or the org in Salesforce",
        ("unsupported_grant_type" | "invalid_request", _) => {
            "the org does not allow this way of logging in: enable it in the app, or use another `auth`"
        }
        ("rate_limit_exceeded", _) => "too many logins: run the same command again in an hour",
        _ => "check the app and the user of this connection in Salesforce",
    };
    Error::new(kind, format!("the login at {login_url} was refused: {description} ({})", refused.error))
        .context("code", refused.error)
        .hint(hint)
}

/// Salesforce's texts run over several lines; a malformed query is repeated before what is wrong with it.
fn one_line(text: &str) -> String {
    let text = text.find("ERROR at Row").map_or(text, |at| &text[at..]);
    excerpt(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: Default::default(),
            body: body.to_owned().into(),
        }
    }

    fn api(status: u16, code: &str, message: &str) -> Error {
        let body = serde_json::json!([{ "message": message, "errorCode": code }]).to_string();
        error(&answer(status, &body), "read a describe", DateTime::UNIX_EPOCH)
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let cases = [
            (
                403,
                "REQUEST_LIMIT_EXCEEDED",
                "TotalRequests Limit exceeded.",
                ErrorKind::Unavailable,
                "1970-01-02 00:00",
            ),
            (
                403,
                "REQUEST_LIMIT_EXCEEDED",
                "ConcurrentPerOrgLongTxn Limit exceeded.",
                ErrorKind::Unavailable,
                "minutes",
            ),
            (
                400,
                "LIMIT_EXCEEDED",
                "Max bulk v2 query jobs (10000) per 24 hrs has been reached",
                ErrorKind::Unavailable,
                "1970-01-02 00:00",
            ),
            (400, "INVALID_FIELD", "No such column 'X' on entity 'Account'.", ErrorKind::Config, "API name"),
            (400, "INVALID_TYPE", "sObject type 'X' is not supported.", ErrorKind::Config, "API name"),
            (403, "INSUFFICIENT_ACCESS", "no", ErrorKind::Access, "permission"),
            (
                401,
                "INVALID_SESSION_ID",
                "This session is not valid for use with the REST API",
                ErrorKind::Access,
                "api",
            ),
            (409, "API_VERSION_MISMATCH", "other version", ErrorKind::Config, "api_version"),
            (404, "NOT_FOUND", "The requested resource does not exist", ErrorKind::Config, "name"),
            (500, "UNKNOWN_EXCEPTION", "oops", ErrorKind::Unavailable, "again"),
        ];
        for (status, code, message, kind, hint) in cases {
            let error = api(status, code, message);
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(error.hint_text().unwrap_or_default().contains(hint), "{error:?}");
            assert!(error.places().contains(&("code", code.to_owned())), "{error:?}");
        }
    }

    #[test]
    fn a_malformed_query_shows_what_is_wrong_with_it() {
        let error = api(
            400,
            "MALFORMED_QUERY",
            "\nSELECT a b FROM c\n         ^\nERROR at Row:1:Column:10\nunexpected token: b",
        );
        assert_eq!(
            error.message(),
            "Salesforce did not read a describe: ERROR at Row:1:Column:10 unexpected token: b (MALFORMED_QUERY)"
        );
    }

    #[test]
    fn pages_of_the_edge_become_their_title() {
        let page = "<html><head><title>URI Too Long</title></head></html>";
        for (status, kind) in [(414, ErrorKind::Config), (431, ErrorKind::Config), (502, ErrorKind::Unavailable)] {
            let error = error(&answer(status, page), "run a query", DateTime::UNIX_EPOCH);
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains("URI Too Long") && !error.message().contains('<'), "{error:?}");
        }
    }

    #[test]
    fn only_an_expired_session_asks_for_a_new_login() {
        let expired = r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#;
        assert!(is_expired_session(&answer(401, expired)));
        assert!(!is_expired_session(&answer(403, expired)));
        for text in NOT_CURED_BY_LOGIN {
            let body = format!(r#"[{{"message":"{text}","errorCode":"INVALID_SESSION_ID"}}]"#);
            assert!(!is_expired_session(&answer(401, &body)));
        }
    }

    #[test]
    fn a_refused_login_names_the_remedy() {
        let cases = [
            ("invalid_grant", "expired access/refresh token", "authorize"),
            ("invalid_grant", "user hasn't approved this consumer", "pre-authorize"),
            ("invalid_grant", "authentication failure", "clock"),
            ("invalid_client_id", "client identifier invalid", "client_id"),
            ("inactive_user", "user is inactive", "activate"),
        ];
        for (code, description, remedy) in cases {
            let body = serde_json::json!({ "error": code, "error_description": description }).to_string();
            let error = login_error(&answer(400, &body), "https://login.salesforce.com");
            assert_eq!(error.kind(), ErrorKind::Access);
            assert!(error.hint_text().unwrap().contains(remedy), "{error:?}");
        }
    }
}

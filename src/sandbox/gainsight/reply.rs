//! Answers: the envelope, its failures, and the gateway's own bodies (gainsight-api §1.5).

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value as Json;

use super::json::write_text;

use crate::clock::random_id;

/// The text of `GSOBJ_1011`.
pub(super) const NO_ENTITY: &str = "No entity matches the given criteria, please re-check your request";
/// The text of `GSOBJ_1004`.
pub(super) const INVALID_ID: &str = "Either the Gainsight ID is invalid or missing, please re-check your request.";
/// The text of `GSOBJ_1002`.
pub(super) const INVALID_FIELD: &str = "Invalid field, please re-check data mapping";

/// What a handler answers, before the request id is put in.
#[derive(Debug)]
pub(super) enum Reply {
    /// 200 with `data` as JSON text.
    Ok(Vec<u8>),
    /// A refusal by the API with `data` as JSON text.
    Fail { status: StatusCode, code: String, text: String, data: Vec<u8> },
    /// A refusal by the gateway.
    Gateway { status: StatusCode, code: &'static str, text: &'static str },
    /// The body that metadata and reads give for an object that does not exist.
    UnknownObject { instance: String },
    /// Anything without an envelope.
    Plain { status: StatusCode, content_type: &'static str, body: Body },
}

impl Reply {
    /// 200 with this value as `data`.
    pub(super) fn json(data: &Json) -> Self {
        Self::Ok(data.to_string().into_bytes())
    }

    /// 400 with `data: null`.
    pub(super) fn bad(code: &str, text: impl Into<String>) -> Self {
        Self::fail(StatusCode::BAD_REQUEST, code, text, b"null".to_vec())
    }

    /// A refusal with details.
    pub(super) fn fail(status: StatusCode, code: &str, text: impl Into<String>, data: Vec<u8>) -> Self {
        Self::Fail { status, code: code.to_owned(), text: text.into(), data }
    }

    /// 401.
    pub(super) fn unauthorized() -> Self {
        Self::Gateway { status: StatusCode::UNAUTHORIZED, code: "GS_APIG_2401", text: "Unauthorized" }
    }

    /// 404 for a route that does not exist.
    pub(super) fn unknown_route() -> Self {
        Self::Gateway { status: StatusCode::NOT_FOUND, code: "GS_APIG_1000", text: "Not Found" }
    }

    /// 413 as a web server in front of the API says it.
    pub(super) fn too_large() -> Self {
        Self::Plain {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            content_type: "text/html",
            body: Body::from(
                "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n\
                 <center><h1>413 Request Entity Too Large</h1></center>\r\n</body>\r\n</html>\r\n",
            ),
        }
    }

    /// CSV.
    pub(super) fn csv(body: Vec<u8>) -> Self {
        Self::Plain { status: StatusCode::OK, content_type: "text/csv; charset=utf-8", body: Body::from(body) }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let request_id = random_id();
        let mut body = Vec::with_capacity(256);
        let id = |out: &mut Vec<u8>, name: &str| {
            out.extend_from_slice(name.as_bytes());
            write_text(request_id.as_bytes(), out);
        };
        let status = match self {
            Self::Ok(data) => {
                body.reserve(data.len());
                body.extend_from_slice(br#"{"result":true,"errorCode":null,"errorDesc":null,"#);
                id(&mut body, "\"requestId\":");
                body.extend_from_slice(b",\"data\":");
                body.extend_from_slice(&data);
                body.extend_from_slice(b",\"message\":null}");
                StatusCode::OK
            }
            Self::Fail { status, code, text, data } => {
                body.extend_from_slice(br#"{"result":false,"errorCode":"#);
                write_text(code.as_bytes(), &mut body);
                body.extend_from_slice(b",\"errorDesc\":");
                write_text(text.as_bytes(), &mut body);
                id(&mut body, ",\"requestId\":");
                body.extend_from_slice(b",\"data\":");
                body.extend_from_slice(&data);
                body.extend_from_slice(b",\"message\":null}");
                status
            }
            Self::Gateway { status, code, text } => {
                body.extend_from_slice(
                    format!(r#"{{"result":false,"errorCode":"{code}","errorDesc":"{text}","requestId":"{request_id}","message":"{text}"}}"#)
                        .as_bytes(),
                );
                status
            }
            Self::UnknownObject { instance } => {
                body.extend_from_slice(
                    format!(
                        r#"{{"requestId":"{request_id}","result":false,"instance":"{instance}","title":"OBJECT_NOT_FOUND","detail":"Requested object not found.","errorDesc":"Requested object not found."}}"#
                    )
                    .as_bytes(),
                );
                StatusCode::NOT_FOUND
            }
            Self::Plain { status, content_type, body } => {
                let mut response = Response::new(body);
                *response.status_mut() = status;
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                name(&mut response, &request_id);
                return response;
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        name(&mut response, &request_id);
        response
    }
}

/// The request id, as the live headers carry it.
fn name(response: &mut Response, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-gs-request-id", value.clone());
        response.headers_mut().insert("x-request-id", value);
    }
}

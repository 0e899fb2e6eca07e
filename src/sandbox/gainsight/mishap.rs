//! Mishaps on order: armed by count under `/__sandbox/faults`, never by chance, and read back with how often they came.
//!
//! `POST /__sandbox/faults {"method": "POST", "path": "/v1/data/objects/company", "times": 2, "what": "cut-after"}`

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Deserialize;
use serde::Serialize;

use super::tenant::Tenant;
use super::tenant::lock;

/// What goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// This answer instead of the tenant's; nothing is done.
    Answer { status: u16, body: String },
    /// The connection is cut; nothing was done.
    CutBefore,
    /// The call is done, then the connection is cut before its answer.
    CutAfter,
    /// The call waits so many milliseconds, then it is done.
    Delay(u64),
}

/// A mishap that waits for its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mishap {
    /// Any method, if there is none.
    #[serde(default)]
    method: Option<String>,
    /// What the path begins with.
    path: String,
    /// Matching calls that go well before.
    #[serde(default)]
    skip: u32,
    /// How often it comes.
    times: u32,
    what: What,
    /// How often it came.
    #[serde(default)]
    fired: u32,
}

/// All mishaps that were armed.
#[derive(Debug, Default)]
pub(super) struct Mishaps(Mutex<Vec<Mishap>>);

impl Mishaps {
    fn next(&self, request: &Request) -> Option<What> {
        let mut armed = lock(&self.0);
        let fits = |one: &&mut Mishap| {
            one.fired < one.times
                && request.uri().path().starts_with(&one.path)
                && one.method.as_ref().is_none_or(|method| request.method().as_str().eq_ignore_ascii_case(method))
        };
        let mishap = armed.iter_mut().find(fits)?;
        if mishap.skip > 0 {
            mishap.skip -= 1;
            return None;
        }
        mishap.fired += 1;
        Some(mishap.what.clone())
    }
}

/// Lets what is armed happen to a call.
pub(super) async fn befall(State(tenant): State<Arc<Tenant>>, request: Request, next: Next) -> Response {
    match tenant.mishaps.next(&request) {
        None => next.run(request).await,
        Some(What::Delay(millis)) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            next.run(request).await
        }
        Some(What::CutBefore) => cut(),
        Some(What::CutAfter) => {
            let done = next.run(request).await;
            drop(done);
            cut()
        }
        Some(What::Answer { status, body }) => {
            (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response()
        }
    }
}

/// An answer that promises more than comes: the connection ends in the middle.
fn cut() -> Response {
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut on order")) });
    let mut response = Response::new(Body::from_stream(broken));
    response.headers_mut().insert(header::CONTENT_LENGTH, 1000.into());
    response
}

/// `GET /__sandbox/faults`.
pub(super) async fn list(State(tenant): State<Arc<Tenant>>) -> Response {
    axum::Json(lock(&tenant.mishaps.0).clone()).into_response()
}

/// `POST /__sandbox/faults`: one more.
pub(super) async fn arm(State(tenant): State<Arc<Tenant>>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(mishap) => {
            lock(&tenant.mishaps.0).push(mishap);
            list(State(tenant)).await
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// `DELETE /__sandbox/faults`: none any more.
pub(super) async fn disarm(State(tenant): State<Arc<Tenant>>) -> Response {
    lock(&tenant.mishaps.0).clear();
    list(State(tenant)).await
}

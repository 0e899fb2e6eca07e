//! Answers that break in transit: closed connections, bodies that end or stop early, compressed data without its end.

use std::io::Write;

use axum::body::Body;
use axum::body::Bytes;
use axum::body::HttpBody;
use axum::body::to_bytes;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::ACCEPT_ENCODING;
use axum::http::header::CONTENT_ENCODING;
use axum::http::header::CONTENT_LENGTH;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;

/// Marks an answer in whose place the connection closes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut;

/// Marks an answer whose `Date` is as it should go out.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnDate;

/// How a body ends that does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The connection closes.
    Cut,
    /// Nothing more comes, and the connection stays.
    Stall,
}

/// The connection closes before the first byte.
pub(super) fn cut() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Cut);
    response
}

/// A page as servers at the edge write it, before any API is asked.
pub(super) fn html(status: StatusCode) -> Response {
    let text = status.canonical_reason().unwrap_or("Error");
    let body = format!("<html><head><title>Error</title></head><body><h1>{text}</h1></body></html>");
    (status, [(CONTENT_TYPE, "text/html; charset=UTF-8")], body).into_response()
}

/// Whether a client offers to take gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// The headers and the first bytes of an answer (its half, if no number is given), never all of it.
pub(super) async fn part(response: Response, after: Option<usize>, end: End) -> Response {
    let (mut parts, body) = response.into_parts();
    let exact = body.size_hint().exact();
    let Ok(whole) = to_bytes(body, usize::MAX).await else { return cut() };
    if let Some(exact) = exact {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(exact));
    }
    let kept = whole.slice(..after.unwrap_or(whole.len() / 2).min(whole.len().saturating_sub(1)));
    let pieces = stream::unfold(Some(kept), move |kept| async move {
        match kept {
            Some(kept) if !kept.is_empty() => Some((Ok(kept), Some(Bytes::new()))),
            _ => {
                // What was written so far leaves for the client when the body has nothing to give for a moment.
                tokio::task::yield_now().await;
                if end == End::Stall {
                    std::future::pending::<()>().await;
                }
                Some((Err(std::io::Error::other("cut on order")), None))
            }
        }
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

/// An answer whose compressed body lacks its second half, in a whole HTTP message.
pub(super) async fn truncated(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(mut whole) = to_bytes(body, usize::MAX).await else { return cut() };
    if parts.headers.get(CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes() != b"gzip") {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        match encoder.write_all(&whole).and_then(|()| encoder.finish()) {
            Ok(small) => whole = small.into(),
            Err(_) => return cut(),
        }
        parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2)))
}

/// Adds to the number in a header; whether there was one.
pub(super) fn count(response: &mut Response, name: &str, add: i64) -> bool {
    let Some(value) = response.headers_mut().get_mut(name) else { return false };
    let Some(number) = value.to_str().ok().and_then(|text| text.parse::<i64>().ok()) else { return false };
    *value = HeaderValue::from(number.saturating_add(add));
    true
}

//! A body that is written while it is sent, and compressed if the client offers to take gzip.

use std::io::Write;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_ENCODING;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;

/// Bytes of a chunk; the buffer is a little larger so that it need not grow.
pub(super) const CHUNK: usize = 112 << 10;

/// The type of every CSV answer.
pub(super) const CSV: &str = "text/csv; charset=UTF-8";

/// An answer whose body `fill` writes chunk by chunk; it says whether more is to come.
pub(super) fn streamed(
    kind: &'static str,
    gzip: bool,
    fill: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static,
) -> Response {
    let encoder = gzip.then(|| GzEncoder::new(Vec::with_capacity(CHUNK), Compression::fast()));
    let writer = Writer { fill, encoder, ended: false };
    let chunks = stream::unfold(writer, |mut writer| async move {
        let chunk = writer.chunk()?;
        Some((chunk, writer))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

struct Writer<F> {
    fill: F,
    encoder: Option<GzEncoder<Vec<u8>>>,
    ended: bool,
}

impl<F: FnMut(&mut Vec<u8>) -> bool> Writer<F> {
    /// The next bytes; none behind the end.
    fn chunk(&mut self) -> Option<std::io::Result<Bytes>> {
        if self.ended {
            return None;
        }
        let mut out = Vec::with_capacity(CHUNK + (CHUNK >> 3));
        self.ended = !(self.fill)(&mut out);
        match self.encoder.take() {
            None => Some(Ok(out.into())),
            Some(encoder) => Some(self.compress(encoder, &out)),
        }
    }

    fn compress(&mut self, mut encoder: GzEncoder<Vec<u8>>, plain: &[u8]) -> std::io::Result<Bytes> {
        encoder.write_all(plain)?;
        if self.ended {
            return Ok(encoder.finish()?.into());
        }
        let ready = std::mem::replace(encoder.get_mut(), Vec::with_capacity(CHUNK));
        self.encoder = Some(encoder);
        Ok(ready.into())
    }
}

//! One connection: HTTP, HTTPS on the same port, or a tunnel that a client takes for a proxy's.
//!
//! The first bytes tell which. A TLS record begins with 22; `CONNECT host:443` is answered like a proxy would for the hosts
//! that the certificate is for, and what follows is looked at in the same way. So clients with hard-coded login hosts reach
//! the sandbox with `HTTPS_PROXY` and the authority's certificate, and no names have to be resolved.

use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::ALLOW;
use axum::http::header::CONTENT_LENGTH;
use axum::http::header::DATE;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::spoiled;
use super::tls::Tls;
use crate::clock::Clock;

/// The longest head of a CONNECT request.
const LONGEST_HEAD: usize = 16 << 10;

/// How a request came in; every request carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// As it stands in an address.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What all connections of a sandbox serve.
pub(super) struct Served {
    routes: Router,
    tls: Option<Tls>,
    clock: Clock,
    /// The second that was told last, and how it is written.
    date: Mutex<(i64, HeaderValue)>,
}

impl Served {
    pub(super) fn new(routes: Router, clock: Clock, tls: Option<Tls>) -> Self {
        Self { routes, tls, clock, date: Mutex::new((i64::MIN, HeaderValue::from_static(""))) }
    }

    /// The sandbox's own time as an IMF-fixdate (RFC 9110 §5.6.7); it is written anew once a second.
    fn date(&self) -> HeaderValue {
        let now = self.clock.now();
        let mut date = self.date.lock().unwrap_or_else(PoisonError::into_inner);
        if date.0 != now.timestamp()
            && let Ok(value) = HeaderValue::try_from(now.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
        {
            *date = (now.timestamp(), value);
        }
        date.1.clone()
    }
}

/// What a client says first.
enum Greeting {
    Http,
    Tls,
    Connect,
    /// It left.
    Nothing,
}

/// Serves a connection to its end.
pub(super) async fn serve(mut stream: TcpStream, served: Arc<Served>, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "TCP_NODELAY was refused.");
    }
    let ended = loop {
        let greeting = tokio::select! {
            greeting = greeting(&stream) => greeting,
            _ = stopped.changed() => return,
        };
        let tls = served.tls.as_ref();
        match (greeting, tls) {
            (Ok(Greeting::Nothing), _) => return,
            (Ok(Greeting::Tls), Some(tls)) => match tls.acceptor.accept(stream).await {
                Ok(stream) => break http(stream, Scheme::Https, &served, stopped).await,
                Err(error) => break Err(error.into()),
            },
            (Ok(Greeting::Connect), Some(tls)) => match tunnel(&mut stream, tls).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => break Err(error.into()),
            },
            (Ok(_), _) => break http(stream, Scheme::Http, &served, stopped).await,
            (Err(error), _) => break Err(error.into()),
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "A connection to the sandbox ended early.");
    }
}

/// Looks at the first bytes and leaves them where they are.
async fn greeting(stream: &TcpStream) -> std::io::Result<Greeting> {
    const CONNECT: &[u8] = b"CONNECT ";
    let mut first = [0; CONNECT.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        match &first[..seen] {
            [] => return Ok(Greeting::Nothing),
            // The content type of a handshake record, RFC 8446 §5.1.
            [22, ..] => return Ok(Greeting::Tls),
            CONNECT => return Ok(Greeting::Connect),
            part if CONNECT.starts_with(part) => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => return Ok(Greeting::Http),
        }
    }
}

/// Answers a CONNECT request; whether the tunnel stands.
async fn tunnel(stream: &mut TcpStream, tls: &Tls) -> std::io::Result<bool> {
    let mut head = Vec::new();
    // Byte by byte: what comes behind the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            stream.write_all(b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n").await?;
            return Ok(false);
        }
        head.push(stream.read_u8().await?);
    }
    let target = head.split(|byte| *byte == b' ').nth(1).map(String::from_utf8_lossy).unwrap_or_default();
    let host = target.rsplit_once(':').map_or(target.as_ref(), |(host, _)| host);
    if tls.is_for(host) {
        stream.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await?;
        return Ok(true);
    }
    let text = format!("This sandbox stands in for its own hosts only, and `{host}` is none of them.\n");
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    Ok(false)
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Serves HTTP/1.1 on whatever carries it.
async fn http<S>(stream: S, scheme: Scheme, served: &Served, mut stopped: watch::Receiver<bool>) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            // As the real services spell them; Airbyte's connector takes no other spelling of `Content-Type`.
            .title_case_headers(true)
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service_fn(|request| answer(served, scheme, request)))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    Ok(ended?)
}

/// A call that ends in a closed connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on order")]
struct CutOnOrder;

/// Has a call answered, with the sandbox's time; the error closes the connection without a byte.
async fn answer(
    served: &Served,
    scheme: Scheme,
    mut request: hyper::Request<Incoming>,
) -> Result<Response, CutOnOrder> {
    leave_wide_registers();
    request.extensions_mut().insert(scheme);
    let routes = TowerToHyperService::new(served.routes.clone());
    let mut response = routes.call(request).await.unwrap_or_else(|never| match never {});
    if response.extensions().get::<spoiled::Cut>().is_some() {
        return Err(CutOnOrder);
    }
    if response.extensions().get::<spoiled::OwnDate>().is_none() {
        let headers = response.headers_mut();
        // What the router puts in at the end stays there.
        let length = headers.remove(CONTENT_LENGTH);
        let methods = headers.remove(ALLOW);
        headers.insert(DATE, served.date());
        if let Some(methods) = methods {
            headers.insert(ALLOW, methods);
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length);
        }
    }
    Ok(response)
}

/// Runs something that ends with `vzeroupper`, where the processor has AVX2.
///
/// httparse looks at heads 32 bytes at a time, but jumps to other code for the last few without cleaning the upper halves
/// of the registers (LLVM adds no `vzeroupper` before a tail call). While they are dirty, every SSE instruction waits for
/// the one before: whether a head ended in a long or a short line made answers three times as dear.
fn leave_wide_registers() {
    std::hint::black_box(memchr::memchr(1, std::hint::black_box(&[0; 64])));
}

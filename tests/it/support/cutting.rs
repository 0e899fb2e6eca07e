//! A proxy that lets requests through and sometimes keeps the answer to itself: the outcome is unknown to the caller.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What happens to the requests that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server never sees the request.
    Request,
    /// The server carries it out, the caller never hears of it.
    Answer,
}

pub(crate) struct Cutting {
    address: std::net::SocketAddr,
    left: Arc<AtomicI64>,
    seen: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Cutting {
    /// Cuts the first `count` requests whose first line starts with `start`.
    pub(crate) async fn before(server: &str, start: &str, count: i64, cut: Cut) -> Self {
        let target: std::net::SocketAddr = server.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (left, seen) = (Arc::new(AtomicI64::new(count)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let (counted, matched, start) = (Arc::clone(&left), Arc::clone(&seen), start.to_owned());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (left, seen, start) = (Arc::clone(&counted), Arc::clone(&matched), start.clone());
                connections.spawn(async move { relay(stream, target, &start, cut, &left, &seen).await });
            }
        });
        Self { address, left, seen, _server: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Whether all cuts happened.
    pub(crate) fn done(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= 0
    }

    /// Requests that start so.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

/// Handles one request, then closes.
async fn relay(
    mut caller: TcpStream,
    target: std::net::SocketAddr,
    start: &str,
    cut: Cut,
    left: &AtomicI64,
    seen: &AtomicUsize,
) {
    let Some(request) = read_message(&mut caller).await else { return };
    let matches = request.starts_with(start.as_bytes());
    seen.fetch_add(usize::from(matches), Ordering::Relaxed);
    let cuts = matches && left.fetch_sub(1, Ordering::Relaxed) > 0;
    if cuts && cut == Cut::Request {
        return;
    }
    // One request a connection, on both sides.
    let text = String::from_utf8_lossy(&request).into_owned();
    let head_end = text.find("\r\n\r\n").unwrap_or(0);
    let mut server = TcpStream::connect(target).await.unwrap();
    let mut head = text[..head_end].to_owned();
    head.push_str("\r\nconnection: close\r\n\r\n");
    server.write_all(head.as_bytes()).await.unwrap();
    server.write_all(&request[head_end + 4..]).await.unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.ok();
    if !cuts {
        caller.write_all(&answer).await.ok();
        caller.shutdown().await.ok();
    }
}

async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(0);
            while bytes.len() < end + 4 + length {
                if stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            return Some(bytes);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

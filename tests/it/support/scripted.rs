//! A loopback server that gives the answers it was told, one a request, and remembers what it was asked.
//!
//! Enough to walk every path of a retry policy without a framework. Connections are closed after each answer.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Method.
    pub(crate) method: String,
    /// Path with query.
    pub(crate) path: String,
    /// Headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Body.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One answer to give.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Cut,
    delay: Duration,
}

/// Where the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Never,
    BeforeHead,
    AfterHead,
    AfterBytes(usize),
    /// Stays open and silent after so many bytes of the body.
    SilentAfter(usize),
}

impl Answer {
    /// An answer with a body.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: Cut::Never, delay: Duration::ZERO }
    }

    /// 200 with a JSON body.
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self::new(200, value.to_string()).header("content-type", "application/json")
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before answering.
    #[must_use]
    pub(crate) fn delayed(mut self, by: Duration) -> Self {
        self.delay = by;
        self
    }

    /// Reads the request, then hangs up.
    pub(crate) fn cut_before_headers() -> Self {
        Self { cut: Cut::BeforeHead, ..Self::new(200, "") }
    }

    /// Sends the head, then hangs up.
    #[must_use]
    pub(crate) fn cut_after_headers(self) -> Self {
        Self { cut: Cut::AfterHead, ..self }
    }

    /// Sends the head and so many bytes of the body, then hangs up.
    #[must_use]
    pub(crate) fn cut_after(self, bytes: usize) -> Self {
        Self { cut: Cut::AfterBytes(bytes), ..self }
    }

    /// Sends the head and so many bytes of the body, then nothing more.
    #[must_use]
    pub(crate) fn silent_after(self, bytes: usize) -> Self {
        Self { cut: Cut::SilentAfter(bytes), ..self }
    }
}

#[derive(Default)]
struct Script {
    /// Method and start of the path (empty: any), and the answer.
    answers: VecDeque<(String, String, Answer)>,
    received: Vec<Received>,
}

/// The server. Dropping it ends it.
pub(crate) struct Scripted {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _server: JoinSet<()>,
}

impl Scripted {
    /// Listens on a free loopback port.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    drop(serve(stream, shared).await);
                });
            }
        });
        Ok(Self { address, script, _server: server })
    }

    /// `http://127.0.0.1:port` plus `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request gets this answer.
    pub(crate) fn push(&self, answer: Answer) {
        self.push_for("", "", answer);
    }

    /// The next request with this method and a path that starts so gets this answer.
    pub(crate) fn push_for(&self, method: &str, path: &str, answer: Answer) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.answers.push_back((method.to_owned(), path.to_owned(), answer));
    }

    /// What came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).received.clone()
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> usize {
        self.received().len()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) -> io::Result<()> {
    let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
    let answer = {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = script.answers.iter().position(|(method, path, _)| {
            (method.is_empty() || *method == request.method) && request.path.starts_with(path.as_str())
        });
        let answer = wanted.and_then(|index| script.answers.remove(index)).map(|(_, _, answer)| answer);
        script.received.push(request);
        answer
    };
    let answer = answer.unwrap_or_else(|| Answer::new(599, "nothing was scripted for this request"));
    tokio::time::sleep(answer.delay).await;
    if answer.cut == Cut::BeforeHead {
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", answer.status);
    if answer.status != 204 {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len().max(usize::from(answer.cut != Cut::Never))));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let bytes = match answer.cut {
        Cut::Never => answer.body.len(),
        Cut::BeforeHead | Cut::AfterHead => 0,
        Cut::AfterBytes(bytes) | Cut::SilentAfter(bytes) => bytes.min(answer.body.len()),
    };
    stream.write_all(&answer.body[..bytes]).await?;
    stream.flush().await?;
    if matches!(answer.cut, Cut::SilentAfter(_)) {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Received>> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse::<usize>().ok())
        .unwrap_or(0);
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Received { method, path, headers, body: bytes[head_end..head_end + length].to_vec() }))
}

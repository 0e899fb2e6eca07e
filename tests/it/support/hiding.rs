//! A proxy that renames one word in answers: what the tenant says under that name, the caller does not understand.

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use reqwest::Url;
use tokio::task::JoinSet;

pub(crate) struct Hiding {
    address: std::net::SocketAddr,
    _server: JoinSet<()>,
}

#[derive(Clone)]
struct Rule {
    server: Url,
    word: &'static str,
    other: &'static str,
    http: reqwest::Client,
}

impl Hiding {
    /// Stands in front of `server`.
    pub(crate) async fn of(server: &Url, word: &'static str, other: &'static str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let rule = Rule { server: server.clone(), word, other, http };
        let router = Router::new().fallback(relay).with_state(rule);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, _server: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

async fn relay(State(rule): State<Rule>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut url = rule.server.clone();
    url.set_path(parts.uri.path());
    url.set_query(parts.uri.query());
    let mut headers = parts.headers;
    headers.remove("host");
    let answer = rule.http.request(parts.method, url).headers(headers).body(body).send().await.unwrap();
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let text = answer.bytes().await.unwrap();
    let text = String::from_utf8_lossy(&text).replace(rule.word, rule.other);
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

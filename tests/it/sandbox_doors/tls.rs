//! HTTPS on the same port, and the tunnel for clients whose login host is fixed.

use reqwest::Certificate;
use reqwest::Client as Http;
use reqwest::Proxy;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::caller::Client;
use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::start;

/// A client that trusts the org's authority and nobody else.
fn trusting(client: &Client, proxy: bool) -> Http {
    let authority = Certificate::from_pem(client.org.authority().as_bytes()).unwrap();
    let mut builder = Http::builder().tls_certs_only([authority]);
    if proxy {
        builder = builder.proxy(Proxy::https(client.org.url()).unwrap());
    } else {
        builder = builder.no_proxy();
    }
    builder.build().unwrap()
}

async fn log_in(http: &Http, client: &Client, at: &str) -> Value {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", client.org.client_id()),
        ("client_secret", client.org.client_secret()),
        ("refresh_token", &client.org.refresh_token()),
    ];
    let response = http.post(format!("{at}/services/oauth2/token")).form(&form).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn one_port_speaks_both() {
    let client = start(options()).await;
    let http = trusting(&client, false);
    let port = client.org.address().port();
    for at in [client.org.https_url().to_owned(), format!("https://localhost:{port}")] {
        let login = log_in(&http, &client, &at).await;
        assert_eq!(login["instance_url"], client.org.https_url(), "who comes by HTTPS goes on so");
        assert!(login["id"].as_str().unwrap().starts_with(client.org.https_url()));
        let limits = http.get(format!("{at}{V}/limits")).bearer_auth(login["access_token"].as_str().unwrap());
        assert_eq!(limits.send().await.unwrap().status(), 200);
    }
    assert_eq!(client.get(&format!("{V}/limits")).await.status, 200, "and plain HTTP as before");
    // Whoever does not know the authority does not talk.
    assert!(Http::builder().no_proxy().build().unwrap().get(client.org.https_url()).send().await.is_err());
}

#[tokio::test]
async fn a_tunnel_leads_to_the_hosts_that_clients_have_built_in() {
    let client = start(options()).await;
    let http = trusting(&client, true);
    for host in
        ["login.salesforce.com", "test.salesforce.com", "acme.my.salesforce.com", "a--b.sandbox.my.salesforce.com"]
    {
        let login = log_in(&http, &client, &format!("https://{host}")).await;
        assert_eq!(login["instance_url"], client.org.https_url(), "{host}");
    }
    // The client credentials flow knows by the host that it is not on a domain of one's own.
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client.org.client_id()),
        ("client_secret", client.org.client_secret()),
    ];
    for (host, status) in [("login.salesforce.com", 400), ("acme.my.salesforce.com", 200)] {
        let response = http.post(format!("https://{host}/services/oauth2/token")).form(&form).send().await.unwrap();
        assert_eq!(response.status(), status, "{host}");
    }
    assert!(http.get("https://example.com/").send().await.is_err(), "other hosts are not played");
}

/// Sends bytes and returns what comes until the other side closes or `until` was read.
async fn talk(stream: &mut TcpStream, bytes: &str, until: &str) -> String {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(until) {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn connect_is_answered_like_a_proxy_does() {
    let client = start(options()).await;
    let address = client.org.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // In pieces: the first bytes alone do not tell a tunnel from a request.
    stream.write_all(b"CONN").await.unwrap();
    let answer = talk(&mut stream, "ECT test.salesforce.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 Connection Established\r\n\r\n");
    // A tunnel carries plain HTTP as well.
    let answer =
        talk(&mut stream, "GET /services/data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "never").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("/services/data/v62.0"), "{answer}");

    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = talk(&mut stream, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", "never").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n") && answer.contains("`example.com`"), "{answer}");

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("CONNECT test.salesforce.com:443 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let answer = talk(&mut stream, &head, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn faults_reach_encrypted_connections_too() {
    let client = start(options()).await;
    let http = trusting(&client, false);
    let cut = serde_json::json!({ "path": "/services/data", "what": "cut-before" });
    client.send(reqwest::Method::PUT, "/__sandbox/faults", cut).await;
    assert!(http.get(format!("{}/services/data", client.org.https_url())).send().await.is_err());
    assert_eq!(http.get(format!("{}/services/data", client.org.https_url())).send().await.unwrap().status(), 200);
}

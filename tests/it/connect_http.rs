//! The retry policy against a scripted server: every row of its table, both for requests that may be repeated and for
//! requests that may not.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use sf2gs::clock::Clock;
use sf2gs::connect::http::Gate;
use sf2gs::connect::http::Http;
use sf2gs::connect::http::Method;
use sf2gs::connect::http::Request;
use sf2gs::connect::http::RetryPolicy;
use sf2gs::connect::http::Url;
use sf2gs::error::ErrorKind;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::CallClass;

use crate::support::scripted::Answer;
use crate::support::scripted::Scripted;

fn http() -> Http {
    Http::new(ApiCalls::default(), Clock::system(), RetryPolicy::quick()).unwrap()
}

fn request(url: &str, idempotent: bool) -> Request {
    Request {
        method: if idempotent { Method::GET } else { Method::POST },
        url: Url::parse(url).unwrap(),
        headers: Default::default(),
        body: if idempotent { Default::default() } else { "{}".into() },
        class: CallClass::SalesforceRest,
        idempotent,
        what: "do the thing",
    }
}

#[tokio::test]
async fn a_server_error_is_asked_again_only_if_that_is_harmless() {
    let server = Scripted::start().await.unwrap();
    for status in [500, 502, 503, 504] {
        server.push(Answer::new(status, "no"));
        server.push(Answer::new(200, "yes"));
        let answer = http().fetch(request(&server.url("/x"), true), None).await.unwrap();
        assert_eq!(answer.body, "yes");
    }
    let before = server.requests();
    server.push(Answer::new(500, "no"));
    let answer = http().fetch(request(&server.url("/x"), false), None).await.unwrap();
    assert_eq!(answer.status, 500);
    assert_eq!(server.requests(), before + 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_not_repeated_for_inserts() {
    for cut in [
        Answer::cut_before_headers(),
        Answer::new(200, "whole").cut_after_headers(),
        Answer::new(200, "whole").cut_after(2),
    ] {
        let server = Scripted::start().await.unwrap();
        server.push(cut.clone());
        let error = http().fetch(request(&server.url("/insert"), false), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.hint_text().unwrap().contains("may have been carried out"), "{error:?}");
        assert_eq!(server.requests(), 1);

        server.push(cut);
        server.push(Answer::new(200, "whole"));
        let answer = http().fetch(request(&server.url("/read"), true), None).await.unwrap();
        assert_eq!(answer.body, "whole");
    }
}

#[tokio::test]
async fn a_429_is_asked_again_after_its_time_whatever_the_request() {
    for idempotent in [true, false] {
        for (status, header) in [(429, Some("0")), (429, None), (503, Some("0"))] {
            let server = Scripted::start().await.unwrap();
            let refusal = Answer::new(status, "slow down");
            server.push(match header {
                Some(wait) => refusal.header("retry-after", wait),
                None => refusal,
            });
            server.push(Answer::new(200, "yes"));
            let answer = http().fetch(request(&server.url("/x"), idempotent), None).await.unwrap();
            assert_eq!(answer.body, "yes");
        }
    }
}

#[tokio::test]
async fn a_wait_beyond_the_total_is_not_begun() {
    let server = Scripted::start().await.unwrap();
    server.push(Answer::new(429, "slow down").header("retry-after", "3000"));
    let error = http().fetch(request(&server.url("/x"), true), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.hint_text().unwrap().contains("50 min"), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_wait_that_no_clock_can_hold_is_refused_like_any_other() {
    let server = Scripted::start().await.unwrap();
    server.push(Answer::new(503, "later").header("retry-after", "18446744073709551615"));
    let error = http().fetch(request(&server.url("/x"), true), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn other_answers_are_returned_at_once() {
    let server = Scripted::start().await.unwrap();
    for status in [200, 204, 300, 302, 400, 401, 403, 404, 409, 414, 431] {
        server.push(Answer::new(status, "").header("location", "http://127.0.0.1:1/elsewhere"));
        let answer = http().fetch(request(&server.url("/x"), true), None).await.unwrap();
        assert_eq!(answer.status, status);
    }
    assert_eq!(server.requests(), 11);
}

#[tokio::test]
async fn giving_up_says_what_was_tried_without_secrets() {
    let server = Scripted::start().await.unwrap();
    for _ in 0..4 {
        server.push(Answer::new(502, "<html><head><title>Bad Gateway</title></head><body>x</body></html>"));
    }
    let address = server.url("/services/data?token=hunter2");
    let error = http().fetch(request(&address, true), None).await.unwrap_err();
    let text = error.render();
    for part in [
        "could not do the thing",
        "GET http://127.0.0.1",
        "/services/data?token=…",
        "4 tries",
        " s;",
        "502",
        "Bad Gateway",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("<html>"), "{text}");
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_even_for_inserts() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = http().fetch(request(&format!("http://{closed}/x?key=hunter2"), false), None).await.unwrap_err();
    let text = error.render();
    assert!(text.contains("4 tries") && text.contains("no connection"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn silence_is_noticed_before_and_within_the_body() {
    let policy = RetryPolicy {
        answer_within: Duration::from_millis(100),
        idle: Duration::from_millis(100),
        ..RetryPolicy::quick()
    };
    let http = Http::new(ApiCalls::default(), Clock::system(), policy).unwrap();
    let server = Scripted::start().await.unwrap();
    server.push(Answer::new(200, "late").delayed(Duration::from_secs(20)));
    server.push(Answer::new(200, "half of it").silent_after(4));
    server.push(Answer::new(200, "whole"));
    let answer = http.fetch(request(&server.url("/x"), true), None).await.unwrap();
    assert_eq!(answer.body, "whole");

    server.push(Answer::new(200, "half of it").silent_after(4));
    let response = http.send(request(&server.url("/x"), true), None).await.unwrap();
    let chunks: Vec<_> = http.body(response).collect().await;
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[1].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn every_attempt_is_counted_and_passes_the_gate() {
    #[derive(Default)]
    struct Noting(Mutex<Vec<&'static str>>);
    #[async_trait]
    impl Gate for Noting {
        async fn pass(&self, _: CallClass) -> sf2gs::error::Result<()> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push("pass");
            Ok(())
        }
        fn refused(&self, _: CallClass) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push("refused");
        }
    }
    let server = Scripted::start().await.unwrap();
    server.push(Answer::new(500, ""));
    server.push(Answer::new(429, ""));
    server.push(Answer::new(200, "yes"));
    let calls = ApiCalls::default();
    let http = Http::new(calls.clone(), Clock::system(), RetryPolicy::quick()).unwrap();
    let gate = Arc::new(Noting::default());
    http.fetch(request(&server.url("/x"), true), Some(gate.as_ref())).await.unwrap();
    assert_eq!(*gate.0.lock().unwrap(), ["pass", "pass", "refused", "pass"]);
    assert_eq!(calls.read()[&CallClass::SalesforceRest], 3);
}

//! SOAP login, as the clients that search for its elements as text see it.

use crate::support::caller::Client;
use crate::support::caller::Reply;
use crate::support::caller::options;
use crate::support::caller::reply;
use crate::support::caller::start;

impl Client {
    async fn soap(&self, path: &str, header: &str, body: &str) -> Reply {
        let envelope = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\" ?><env:Envelope \
             xmlns:env=\"http://schemas.xmlsoap.org/soap/envelope/\"><env:Header>{header}</env:Header>\
             <env:Body>{body}</env:Body></env:Envelope>"
        );
        let request = self.http.post(format!("{}/services/Soap/{path}", self.org.url()));
        reply(request.header("content-type", "text/xml").header("soapaction", "login").body(envelope)).await
    }

    async fn soap_login(&self, path: &str, password: &str) -> Reply {
        let body = format!(
            "<n1:login xmlns:n1=\"urn:partner.soap.sforce.com\"><n1:username>{}</n1:username><n1:password>{password}\
             </n1:password></n1:login>",
            self.org.username()
        );
        self.soap(path, "", &body).await
    }
}

/// The text of the first element of that very name.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let from = xml.find(&format!("<{name}>")).unwrap_or_else(|| panic!("{name}: {xml}")) + name.len() + 2;
    &xml[from..][..xml[from..].find(&format!("</{name}>")).unwrap()]
}

#[tokio::test]
async fn a_login_gives_a_session_for_all_apis() {
    let client = start(options()).await;
    let whole = format!("{}{}", client.org.password(), client.org.security_token());
    for path in ["u/59.0", "u/62.0/", "u/59", "c/50.0", &format!("u/64.0/{}", client.org.org_id())] {
        let login = client.soap_login(path, &whole).await;
        assert_eq!((login.status.as_u16(), login.header("content-type")), (200, "text/xml;charset=UTF-8"), "{path}");
        assert_eq!(element(&login.text, "organizationId"), client.org.org_id());
        assert_eq!(element(&login.text, "passwordExpired"), "false");
        assert!(element(&login.text, "serverUrl").starts_with(&format!("{}/services/Soap/u/", client.org.url())));
        assert!(element(&login.text, "metadataServerUrl").contains("/services/Soap/m/"));
        assert!(element(&login.text, "userId").starts_with("005"));
        assert!(login.text.contains("<loginResponse><result>"), "{}", login.text);
        assert_eq!(client.status_with(element(&login.text, "sessionId")).await, 200);
    }
}

#[tokio::test]
async fn wrong_logins_are_faults() {
    let client = start(options()).await;
    let whole = format!("{}{}", client.org.password(), client.org.security_token());
    for password in ["x", client.org.password(), "&lt;&amp;"] {
        let fault = client.soap_login("u/59.0", password).await;
        assert_eq!(fault.status, 500);
        assert_eq!(element(&fault.text, "faultcode"), "sf:INVALID_LOGIN");
        assert_eq!(element(&fault.text, "sf:exceptionCode"), "INVALID_LOGIN");
        let text = "Invalid username, password, security token; or user locked out.";
        assert_eq!(element(&fault.text, "sf:exceptionMessage"), text);
        assert_eq!(element(&fault.text, "faultstring"), format!("INVALID_LOGIN: {text}"));
    }
    for (path, code) in
        [("u/12.0", "UNSUPPORTED_API_VERSION"), ("u/65.0", "UNSUPPORTED_API_VERSION"), ("x/59.0", "UNKNOWN_EXCEPTION")]
    {
        let fault = client.soap_login(path, &whole).await;
        assert_eq!((fault.status.as_u16(), element(&fault.text, "sf:exceptionCode")), (500, code), "{path}");
    }
    let unknown = client.soap("u/59.0", "", "<query/>").await;
    assert_eq!(element(&unknown.text, "sf:exceptionCode"), "INVALID_OPERATION");
    let garbage = reply(client.http.post(format!("{}/services/Soap/u/59.0", client.org.url())).body("{}")).await;
    assert_eq!((garbage.status.as_u16(), element(&garbage.text, "faultcode")), (500, "soapenv:Client"));
}

#[tokio::test]
async fn a_session_can_look_at_itself_and_end() {
    let client = start(options()).await;
    let header = format!("<SessionHeader><sessionId>{}</sessionId></SessionHeader>", client.token);
    let info = client.soap("u/59.0", &header, "<getUserInfo xmlns=\"urn:partner.soap.sforce.com\"/>").await;
    assert_eq!(element(&info.text, "userName"), client.org.username());
    assert_eq!(element(&info.text, "sessionSecondsValid"), "7200");
    let now = client.soap("u/59.0", &header, "<getServerTimestamp/>").await;
    assert_eq!(element(&now.text, "timestamp"), "2026-06-01T12:00:00.000Z");
    assert!(client.soap("u/59.0", &header, "<logout/>").await.text.contains("<logoutResponse/>"));
    assert_eq!(client.status_with(&client.token).await, 401);
    let ended = client.soap("u/59.0", &header, "<getUserInfo/>").await;
    assert_eq!((ended.status.as_u16(), element(&ended.text, "sf:exceptionCode")), (500, "INVALID_SESSION_ID"));
}

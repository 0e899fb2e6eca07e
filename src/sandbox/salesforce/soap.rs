//! SOAP, as far as clients log in by it: `/services/Soap/{u|c}/{version}[/{org}]` with `login`, `logout`, `getUserInfo` and
//! `getServerTimestamp`.
//!
//! Element names are without prefixes in replies and faults have the prefix `sf`, which real clients search for as text.
//!
//! # Knowingly different
//! * From version 65 on `login` is refused, as the service will; with which words is not documented.
//! * No other operation is there; all records go through REST and bulk.

use std::collections::HashMap;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use chrono::SecondsFormat;
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::ids::Id;
use super::oauth::Scopes;
use super::org::Org;
use super::org::lock;
use super::rest;
use super::sessions::Grant;
use super::sessions::user_text;
use crate::sandbox::connection::Scheme;

/// The last version whose `login` works.
const LAST_LOGIN: u32 = 64;

/// What a message asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    operation: String,
    /// Texts by the local names of their elements.
    texts: HashMap<String, String>,
}

/// Code and text of a fault.
type Fault = (&'static str, String);

/// `POST /services/Soap/…`; `path` is what stands behind `Soap`.
pub(super) fn handle(org: &Org, scheme: Scheme, path: &[&str], body: &[u8]) -> Response {
    org.count("soap");
    let (kind, version) = match path {
        ["u", version] | ["u", version, _] => ("partner", *version),
        ["c", version] | ["c", version, _] => ("enterprise", *version),
        _ => return fault("partner", &("UNKNOWN_EXCEPTION", "Destination URL not reset.".to_owned())),
    };
    let text = version.strip_suffix(".0").unwrap_or(version);
    let Some(number) = rest::version(&format!("v{text}.0")) else {
        return fault(kind, &("UNSUPPORTED_API_VERSION", format!("Invalid Api version specified on URL: {version}")));
    };
    let message = match read(body) {
        Some(message) => message,
        None => return fault("client", &("Client", "The request is not a SOAP envelope.".to_owned())),
    };
    let text = |name: &str| message.texts.get(name).map(String::as_str).unwrap_or_default();
    let answered = match message.operation.as_str() {
        "login" => login(org, scheme, number, text("username"), text("password")),
        "logout" => with_session(org, text("sessionId"), |_| {
            lock(&org.logins).sessions.remove(text("sessionId"));
            "<logoutResponse/>".to_owned()
        }),
        "getUserInfo" => with_session(org, text("sessionId"), |user| {
            format!("<getUserInfoResponse><result>{}</result></getUserInfoResponse>", user_info(org, user))
        }),
        "getServerTimestamp" => with_session(org, text("sessionId"), |_| {
            let now = org.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
            format!(
                "<getServerTimestampResponse><result><timestamp>{now}</timestamp></result></getServerTimestampResponse>"
            )
        }),
        other => Err(("INVALID_OPERATION", format!("No operation available for request {other}"))),
    };
    match answered {
        Ok(content) => {
            let namespace = format!("xmlns=\"urn:{kind}.soap.sforce.com\"");
            envelope(StatusCode::OK, &namespace, &content)
        }
        Err(refusal) => fault(kind, &refusal),
    }
}

/// Reads the operation and its texts; none of it if it is not a whole envelope.
fn read(body: &[u8]) -> Option<Message> {
    let mut reader = Reader::from_reader(body);
    let mut message = Message::default();
    let mut open: Vec<String> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            event @ (Event::Start(_) | Event::Empty(_)) => {
                let ends = matches!(event, Event::Empty(_));
                let (Event::Start(element) | Event::Empty(element)) = event else { continue };
                let name = String::from_utf8(element.local_name().as_ref().to_vec()).ok()?;
                match open.len() {
                    0 if name != "Envelope" => return None,
                    2 if open[1] == "Body" && message.operation.is_empty() => message.operation = name.clone(),
                    _ => {}
                }
                if !ends {
                    open.push(name);
                }
            }
            Event::End(_) => {
                open.pop()?;
            }
            Event::Text(text) => append(&mut message, &open, &text.xml10_content().ok()?),
            Event::CData(text) => append(&mut message, &open, &text.decode().ok()?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(character) => append(&mut message, &open, character.encode_utf8(&mut [0; 4])),
                None => append(&mut message, &open, resolve_predefined_entity(&reference.decode().ok()?)?),
            },
            Event::Eof => return (open.is_empty() && !message.operation.is_empty()).then_some(message),
            // Entities of one's own are how XML parsers are attacked; SOAP forbids document types.
            Event::DocType(_) => return None,
            _ => {}
        }
    }
}

fn append(message: &mut Message, open: &[String], text: &str) {
    if let Some(name) = open.get(2..).and_then(<[String]>::last) {
        message.texts.entry(name.clone()).or_default().push_str(text);
    }
}

fn login(org: &Org, scheme: Scheme, version: u32, username: &str, password: &str) -> Result<String, Fault> {
    if version > LAST_LOGIN {
        return Err(("UNSUPPORTED_API_VERSION", format!("login() is not available in API version {version}.0")));
    }
    let user = org.log_in_from_outside(username, password).ok_or_else(|| {
        ("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.".to_owned())
    })?;
    let family = lock(&org.logins).family();
    let session = org.open_session(Grant { user, app: None, scopes: Scopes::usual(), family });
    let at = |kind: &str| format!("{}/services/Soap/{kind}/{version}.0/{}", org.url_by(scheme), org.id);
    Ok(format!(
        "<loginResponse><result><metadataServerUrl>{}</metadataServerUrl><passwordExpired>false</passwordExpired>\
         <sandbox>{}</sandbox><serverUrl>{}</serverUrl><sessionId>{session}</sessionId><userId>{}</userId>\
         <userInfo>{}</userInfo></result></loginResponse>",
        at("m"),
        is_sandbox(org),
        at("u"),
        Id::new(*b"005", u64::from(user)),
        user_info(org, user)
    ))
}

fn with_session(org: &Org, token: &str, answer: impl FnOnce(u32) -> String) -> Result<String, Fault> {
    match org.session(token) {
        Ok(session) => Ok(answer(session.user)),
        Err(_) => Err((
            "INVALID_SESSION_ID",
            "Invalid Session ID found in SessionHeader: Illegal Session. Session not found, missing session key"
                .to_owned(),
        )),
    }
}

fn is_sandbox(org: &Org) -> bool {
    let store = org.snapshot();
    store.schema.find("Organization").is_some_and(|object| store.flag(object, 0, "IsSandbox"))
}

/// The elements of `GetUserInfoResult`.
fn user_info(org: &Org, user: u32) -> String {
    let store = org.snapshot();
    let text = |field: &str| user_text(&store, user, field);
    let organization = store.schema.find("Organization");
    let name = organization.and_then(|object| {
        let field = store.schema.objects[object].find("Name")?;
        match store.cell(object, 0, field) {
            super::store::Cell::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    });
    let values = [
        ("accessibilityMode", "false".to_owned()),
        ("currencySymbol", "$".to_owned()),
        ("orgAttachmentFileSizeLimit", "5242880".to_owned()),
        ("orgDefaultCurrencyIsoCode", "USD".to_owned()),
        ("orgDisallowHtmlAttachments", "false".to_owned()),
        ("orgHasPersonAccounts", "false".to_owned()),
        ("organizationId", org.id.to_string()),
        ("organizationMultiCurrency", "false".to_owned()),
        ("organizationName", name.unwrap_or_default()),
        ("profileId", text("ProfileId")),
        ("sessionSecondsValid", org.options.session_lifetime.num_seconds().to_string()),
        ("userDefaultCurrencyIsoCode", String::new()),
        ("userEmail", text("Email")),
        ("userFullName", text("Name")),
        ("userId", Id::new(*b"005", u64::from(user)).to_string()),
        ("userLanguage", text("LanguageLocaleKey")),
        ("userLocale", text("LocaleSidKey")),
        ("userName", text("Username")),
        ("userTimeZone", text("TimeZoneSidKey")),
        ("userType", text("UserType")),
        ("userUiSkin", "Theme3".to_owned()),
    ];
    values.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escape(value.as_str()))).collect()
}

fn envelope(status: StatusCode, namespaces: &str, content: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" {namespaces} \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{content}</soapenv:Body></soapenv:Envelope>"
    );
    (status, [(CONTENT_TYPE, "text/xml;charset=UTF-8")], body).into_response()
}

/// A fault; all of them have status 500, SOAP 1.1 §6.2.
fn fault(kind: &str, (code, text): &Fault) -> Response {
    let text = escape(text.as_str());
    let content = if kind == "client" {
        format!("<soapenv:Fault><faultcode>soapenv:{code}</faultcode><faultstring>{text}</faultstring></soapenv:Fault>")
    } else {
        let detail = match *code {
            "INVALID_LOGIN" => "LoginFault",
            _ => "UnexpectedErrorFault",
        };
        format!(
            "<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {text}</faultstring><detail>\
             <sf:{detail} xsi:type=\"sf:{detail}\"><sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{text}\
             </sf:exceptionMessage></sf:{detail}></detail></soapenv:Fault>"
        )
    };
    let kind = if kind == "client" { "partner" } else { kind };
    let namespace = format!("xmlns:sf=\"urn:fault.{kind}.soap.sforce.com\"");
    envelope(StatusCode::INTERNAL_SERVER_ERROR, &namespace, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = "<?xml version=\"1.0\"?><env:Envelope xmlns:env=\"http://schemas.xmlsoap.org/soap/envelope/\">\
        <env:Header><n1:CallOptions xmlns:n1=\"urn:x\"><n1:client>c</n1:client></n1:CallOptions></env:Header>\
        <env:Body><n2:login xmlns:n2=\"urn:partner.soap.sforce.com\"><n2:username>a&amp;b@x.example</n2:username>\
        <n2:password>p&#228;&lt;<![CDATA[&]]>\n</n2:password></n2:login></env:Body></env:Envelope>";

    #[test]
    fn prefixes_references_and_sections_are_read() {
        let message = read(LOGIN.as_bytes()).unwrap();
        assert_eq!(message.operation, "login");
        assert_eq!(
            (message.texts["username"].as_str(), message.texts["password"].as_str()),
            ("a&b@x.example", "pä<&\n")
        );
    }

    #[test]
    fn what_is_no_envelope_is_not_read() {
        let document_type = LOGIN.replacen("?>", "?><!DOCTYPE x [<!ENTITY a \"b\">]>", 1);
        for body in ["", "<a/>", "<Envelope><Body/></Envelope>", "<Envelope><Body><login>", "{}", &document_type] {
            assert_eq!(read(body.as_bytes()), None, "{body}");
        }
    }
}

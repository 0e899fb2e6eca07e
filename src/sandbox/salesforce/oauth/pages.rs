//! The pages that a person sees in the web-server flow: login, consent, and what went wrong.

use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::header::CONTENT_TYPE;
use axum::http::header::X_FRAME_OPTIONS;
use axum::response::IntoResponse;
use axum::response::Response;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;background:#f3f5f8;color:#16325c;margin:0}\
main{max-width:26rem;margin:4rem auto;padding:2rem;background:#fff;border:1px solid #d8dde6;border-radius:.5rem}\
label{display:block;margin:1rem 0 .25rem}input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem}\
button{font:inherit;padding:.5rem 1.5rem;margin:1.5rem .5rem 0 0}[role=alert]{color:#b00020}";

/// Text that stands in HTML as it is, in quoted attributes too.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn page(status: StatusCode, title: &str, content: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main>\n<h1>{title}</h1>\n{content}</main></body></html>\n"
    );
    let mut response = (status, html).into_response();
    // Nobody may put these pages into a frame, and no script runs in them. A form's answer leads to the app, so `form-action`
    // stays open: browsers hold redirects to it as well.
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=UTF-8"),
        (CACHE_CONTROL, "no-cache, no-store"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Asks for user name and password.
pub(super) fn login(id: &str, username: &str, error: Option<&str>) -> Response {
    let error = error.map(|text| format!("<p role=\"alert\" id=\"error\">{}</p>\n", escaped(text))).unwrap_or_default();
    let content = format!(
        "{error}<form method=\"post\" action=\"/services/oauth2/authorize/login\" id=\"login_form\">\n\
         <input type=\"hidden\" name=\"request\" value=\"{}\">\n\
         <label for=\"username\">Username</label>\n\
         <input type=\"text\" id=\"username\" name=\"username\" value=\"{}\" autocomplete=\"username\" required>\n\
         <label for=\"password\">Password</label>\n\
         <input type=\"password\" id=\"password\" name=\"pw\" autocomplete=\"current-password\" required>\n\
         <button type=\"submit\" id=\"Login\" name=\"Login\" value=\"Log In\">Log In</button>\n</form>\n",
        escaped(id),
        escaped(username)
    );
    page(StatusCode::OK, "Log in to the sandbox org", &content)
}

/// Asks whether an app may have what it asks for.
pub(super) fn consent(id: &str, app: &str, username: &str, wants: &[&str]) -> Response {
    let wants: String = wants.iter().map(|want| format!("<li>{}</li>\n", escaped(want))).collect();
    let content = format!(
        "<p>{} is asking to:</p>\n<ul>\n{wants}</ul>\n<p>You are logged in as <b>{}</b>.</p>\n\
         <form method=\"post\" action=\"/services/oauth2/authorize/approve\" id=\"approval_form\">\n\
         <input type=\"hidden\" name=\"request\" value=\"{}\">\n\
         <button type=\"submit\" id=\"oaapprove\" name=\"decision\" value=\"Allow\">Allow</button>\n\
         <button type=\"submit\" id=\"oadeny\" name=\"decision\" value=\"Deny\">Deny</button>\n</form>\n",
        escaped(app),
        escaped(username),
        escaped(id)
    );
    page(StatusCode::OK, "Allow Access?", &content)
}

/// Says what is wrong where nobody may be sent back to.
pub(super) fn error((error, description): super::Refusal) -> Response {
    let content = format!(
        "<p role=\"alert\" id=\"error\">We can't authorize you because of an OAuth error. For more information, contact \
         your Salesforce administrator.</p>\n<p>error={}&amp;error_description={}</p>\n",
        escaped(error),
        escaped(description)
    );
    page(StatusCode::BAD_REQUEST, "OAuth Error", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(escaped("<a href=\"x\" id='y'>&"), "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;");
    }
}

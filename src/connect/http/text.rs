//! Remote words made fit for an error message: URLs without secrets, bodies in one line.

use reqwest::StatusCode;
use reqwest::Url;

/// The longest excerpt of a body.
const EXCERPT_CHARS: usize = 300;

/// The URL without user, password, fragment and query values: `https://host/path?q=…`.
pub fn redacted(url: &Url) -> String {
    let mut text = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        text.push_str(&format!(":{port}"));
    }
    text.push_str(url.path());
    for (index, (key, _)) in url.query_pairs().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(&key);
        text.push_str("=…");
    }
    text
}

/// A status with its name, where it has one: Salesforce's edge also sends 420.
pub fn status_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(name) => format!("{} {name}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// A body in one short line. Of an HTML page, which both systems' edges send for 414, 431 and 502, the title.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(64 * 1024)]);
    let start = text.trim_start().get(..9).unwrap_or_default().to_ascii_lowercase();
    let text = if start.starts_with("<!doctype") || start.starts_with("<html") {
        html_title(&text).unwrap_or_else(|| without_tags(&text))
    } else {
        text.into_owned()
    };
    let mut short = String::new();
    for word in text.split_whitespace() {
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
        if short.chars().count() > EXCERPT_CHARS {
            short = short.chars().take(EXCERPT_CHARS).collect();
            short.push('…');
            break;
        }
    }
    if short.is_empty() { "an empty body".to_owned() } else { short }
}

fn html_title(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let from = open + lower[open..].find('>')? + 1;
    let to = from + lower[from..].find("</title")?;
    let title = page[from..to].trim();
    (!title.is_empty()).then(|| title.to_owned())
}

fn without_tags(page: &str) -> String {
    let mut inside = false;
    page.chars()
        .filter_map(|letter| match letter {
            '<' => {
                inside = true;
                None
            }
            '>' => {
                inside = false;
                Some(' ')
            }
            other => (!inside).then_some(other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_could_be_secret() {
        let url =
            Url::parse("https://me:secret@acme.my.salesforce.com:8443/services/data/v62.0/query?q=SELECT+Id&x=1#y");
        assert_eq!(redacted(&url.unwrap()), "https://acme.my.salesforce.com:8443/services/data/v62.0/query?q=…&x=…");
    }

    #[test]
    fn pages_become_their_title_and_text_one_line() {
        let page = b"<!DOCTYPE html>\n<html><head><TITLE>URI Too Long</TITLE></head><body>\n<h1>no</h1></body></html>";
        assert_eq!(excerpt(page), "URI Too Long");
        assert_eq!(excerpt(b"<html><body><h1>Bad\nGateway</h1></body></html>"), "Bad Gateway");
        assert_eq!(excerpt(b"[{\"message\":\n  \"x\"}]"), "[{\"message\": \"x\"}]");
        assert_eq!(excerpt(b""), "an empty body");
        assert_eq!(excerpt("ä ".repeat(1000).as_bytes()).chars().count(), EXCERPT_CHARS + 1);
    }
}

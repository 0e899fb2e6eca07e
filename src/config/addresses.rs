//! Addresses of the two systems: what is accepted, and what to write instead.
//!
//! An org on a custom domain (My Domain) is reached at `https://<name>.my.salesforce.com`, with `--<sandbox>.sandbox` in
//! the name of a sandbox. `*.lightning.force.com` is the address of the user interface: it serves no login for programs.

use url::{Host, Url};

/// What is wrong, and what to write instead.
pub(super) type Complaint = (String, String);

const OURS: &str = "https://your-domain.my.salesforce.com";

/// Hosts of the user interface, by the endings that take the place of `.my.salesforce.com`.
const USER_INTERFACE: &[&str] =
    &[".lightning.force.com", ".my.salesforce-setup.com", ".vf.force.com", ".my.site.com", ".file.force.com"];

/// The login address of an org with a custom domain.
pub(super) fn salesforce_domain(text: &str) -> Result<Url, Complaint> {
    let url = address(text, OURS)?;
    if is_loopback(&url) {
        return Ok(url);
    }
    let host = url.host_str().unwrap_or_default();
    if let Some(name) = USER_INTERFACE.iter().find_map(|ending| host.strip_suffix(ending)) {
        return Err((
            format!("`{host}` is the address of the user interface (Lightning), where programs cannot log in"),
            format!("write https://{name}.my.salesforce.com"),
        ));
    }
    if host == "login.salesforce.com" || host == "test.salesforce.com" {
        let org = if host.starts_with("test") { "sandbox" } else { "production" };
        return Err((format!("`{host}` is not a custom domain"), format!("remove `domain` and write org = \"{org}\"")));
    }
    let name = host.strip_suffix(".my.salesforce.com").or_else(|| host.strip_suffix(".my.salesforce.mil"));
    match name {
        Some(name) if !name.is_empty() && !host.split('.').any(|label| label.starts_with("xn--")) => Ok(url),
        _ => {
            let guess = host.strip_suffix(".salesforce.com").unwrap_or_default();
            let hint = match guess {
                guess if matches!(guess, "" | "my" | "www") || guess.ends_with(".my") => {
                    format!("write {OURS}; Setup → My Domain shows your org's")
                }
                guess => format!("write https://{guess}.my.salesforce.com; Setup → My Domain shows your org's"),
            };
            Err((format!("`{host}` is not the address of an org"), hint))
        }
    }
}

/// The address of a tenant; it may be the customer's own domain.
pub(super) fn gainsight(text: &str) -> Result<Url, Complaint> {
    address(text, "https://your-company.gainsightcloud.com")
}

/// Whether `url` stays on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Scheme and host, nothing else.
fn address(text: &str, example: &str) -> Result<Url, Complaint> {
    let text = text.trim();
    let whole =
        if text.contains("://") { text.to_owned() } else { format!("https://{}", text.trim_start_matches('/')) };
    let url = Url::parse(&whole)
        .ok()
        .filter(|url| url.host_str().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| (format!("`{text}` is not an address"), format!("write {example}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not repeated: it holds a password.
        return Err(("the address holds a user name or a password".to_owned(), format!("write only {example}")));
    }
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(("`http` would send the login unprotected".to_owned(), format!("write https://{host}")));
        }
        other => return Err((format!("`{other}` is not a scheme that can be used"), format!("write https://{host}"))),
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let scheme = url.scheme();
        return Err(("the address holds more than the host".to_owned(), format!("write {scheme}://{host}")));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_domains_are_taken_with_and_without_scheme_and_slash() {
        for (text, wanted) in [
            ("https://acme.my.salesforce.com", "https://acme.my.salesforce.com/"),
            ("acme.my.salesforce.com/", "https://acme.my.salesforce.com/"),
            ("//acme.my.salesforce.com", "https://acme.my.salesforce.com/"),
            (" HTTPS://ACME.my.salesforce.com ", "https://acme.my.salesforce.com/"),
            ("acme--uat.sandbox.my.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com/"),
            ("http://127.0.0.1:8701", "http://127.0.0.1:8701/"),
            ("http://[::1]:1/", "http://[::1]:1/"),
            ("http://localhost:1", "http://localhost:1/"),
        ] {
            assert_eq!(salesforce_domain(text).map(String::from), Ok(wanted.to_owned()), "{text}");
        }
    }

    #[test]
    fn other_addresses_are_refused_with_the_right_form() {
        for (text, wanted) in [
            ("https://acme.lightning.force.com", "write https://acme.my.salesforce.com"),
            ("acme--uat.sandbox.lightning.force.com", "write https://acme--uat.sandbox.my.salesforce.com"),
            ("https://acme.my.salesforce-setup.com", "write https://acme.my.salesforce.com"),
            ("https://login.salesforce.com", "remove `domain` and write org = \"production\""),
            ("https://test.salesforce.com", "remove `domain` and write org = \"sandbox\""),
            ("acme.salesforce.com", "write https://acme.my.salesforce.com; Setup → My Domain shows your org's"),
            (
                "https://my.salesforce.com",
                "write https://your-domain.my.salesforce.com; Setup → My Domain shows your org's",
            ),
            ("https://evil.example", "write https://your-domain.my.salesforce.com; Setup → My Domain shows your org's"),
            (
                "https://bücher.my.salesforce.com",
                "write https://your-domain.my.salesforce.com; Setup → My Domain shows your org's",
            ),
            ("http://acme.my.salesforce.com", "write https://acme.my.salesforce.com"),
            ("ftp://acme.my.salesforce.com", "write https://acme.my.salesforce.com"),
            ("https://acme.my.salesforce.com/services/data", "write https://acme.my.salesforce.com"),
            ("https://acme.my.salesforce.com?x=1", "write https://acme.my.salesforce.com"),
            ("https://me:pw@acme.my.salesforce.com", "write only https://your-domain.my.salesforce.com"),
            ("https://", "write https://your-domain.my.salesforce.com"),
            ("two words", "write https://your-domain.my.salesforce.com"),
        ] {
            let (message, hint) = salesforce_domain(text).expect_err(text);
            assert_eq!(hint, wanted, "{text}");
            assert!(!message.contains("pw"), "{message}");
        }
        assert!(gainsight("acme.us2.gainsightcloud.com").is_ok());
        assert!(gainsight("https://gainsight.acme.com/").is_ok());
        assert!(gainsight("http://acme.gainsightcloud.com").is_err());
    }
}

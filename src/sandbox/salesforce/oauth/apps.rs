//! Connected apps and the scopes that they may ask for.

use std::fmt;

/// A connected app.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: &'static str,
    pub(crate) client_id: String,
    /// A public app has none; one that has a secret must give it.
    pub(crate) client_secret: Option<String>,
    /// Where browsers may be sent back to; compared character by character.
    pub(crate) callbacks: Vec<String>,
}

/// The app that every org has for the Salesforce CLI, with the address at which the CLI waits.
pub(crate) fn platform_cli() -> App {
    App {
        name: "Salesforce CLI",
        client_id: "PlatformCLI".to_owned(),
        client_secret: None,
        callbacks: vec![CLI_CALLBACK.to_owned()],
    }
}

/// Where the Salesforce CLI and others wait for a browser that comes back.
pub(crate) const CLI_CALLBACK: &str = "http://localhost:1717/OauthRedirect";

/// Name of a scope, and what the consent page says of it.
const KNOWN: [(&str, &str); 9] = [
    ("address", "Access the address of the signed-in user"),
    ("api", "Manage user data via APIs"),
    ("email", "Access the e-mail address of the signed-in user"),
    ("full", "Full access"),
    ("id", "Access the identity URL service"),
    ("offline_access", "Perform requests at any time"),
    ("profile", "Access the profile of the signed-in user"),
    ("refresh_token", "Perform requests at any time"),
    ("web", "Manage user data via Web browsers"),
];
/// What an app gets that asks for nothing in particular.
const USUAL: [&str; 3] = ["api", "id", "refresh_token"];

/// What a user lets an app do, in the order of the alphabet and without repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scopes(Vec<&'static str>);

impl Scopes {
    /// What an app gets that asks for nothing in particular.
    pub(crate) fn usual() -> Self {
        Self(USUAL.to_vec())
    }

    /// Reads names with blanks between them; none if one is unknown.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let known = |name: &str| KNOWN.iter().find(|(known, _)| *known == name).map(|(known, _)| *known);
        let mut scopes: Vec<_> = text.split_ascii_whitespace().map(known).collect::<Option<_>>()?;
        scopes.sort_unstable();
        scopes.dedup();
        Some(if scopes.is_empty() { Self::usual() } else { Self(scopes) })
    }

    /// Whether a refresh token goes with it.
    pub(crate) fn offline(&self) -> bool {
        self.0.iter().any(|name| matches!(*name, "refresh_token" | "offline_access"))
    }

    /// What the consent page says.
    pub(crate) fn descriptions(&self) -> Vec<&'static str> {
        let mut all: Vec<_> =
            KNOWN.iter().filter(|(name, _)| self.0.contains(name)).map(|(_, description)| *description).collect();
        all.dedup();
        all
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

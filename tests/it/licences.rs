//! What we depend on may be used, as far as that can be checked without a network: every package names a licence that
//! is allowed, and none of the banned ones is there.

use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

/// The licences and bans that `cargo deny` is told, too.
#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

/// A licence that is fine for one package only.
#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    package: String,
    reason: String,
}

/// The packages that this machine's build takes in: cargo has fetched those, and no others, when a test runs.
fn packages() -> Vec<Value> {
    let cargo = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let text = cargo(&["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn every_dependency_has_an_allowed_licence_and_none_is_banned() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/.cargo/deny.toml");
    let deny: Deny = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let packages = packages();
    assert!(packages.len() > 300, "only {} packages were looked at", packages.len());
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("");
        if let Some(banned) = deny.bans.deny.iter().find(|banned| banned.package == name) {
            wrong.push(format!("{name} is banned: {}", banned.reason));
        }
        let own = deny.licenses.exceptions.iter().filter(|exception| exception.package == name);
        let fine: Vec<&str> =
            own.flat_map(|exception| &exception.allow).chain(&deny.licenses.allow).map(String::as_str).collect();
        if !allowed(licence, &fine) {
            wrong.push(format!("{name}: licence `{licence}` is not on the list in .cargo/deny.toml"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether an SPDX expression can be met by allowed licences. `AND` binds closer than `OR`.
fn allowed(expression: &str, fine: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words, fine) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, fine: &[&str]) -> bool {
    let mut met = both(words, fine);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, fine);
    }
    met
}

fn both(words: &mut Words<'_>, fine: &[&str]) -> bool {
    let mut met = one(words, fine);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, fine);
    }
    met
}

fn one(words: &mut Words<'_>, fine: &[&str]) -> bool {
    match words.next() {
        Some("(") => either(words, fine) & (words.next() == Some(")")),
        Some(name) if words.next_if_eq(&"WITH").is_some() => {
            let with = format!("{name} WITH {}", words.next().unwrap_or_default());
            fine.contains(&with.as_str())
        }
        Some(name) => fine.contains(&name),
        None => false,
    }
}

#[test]
fn alternatives_and_conjunctions_are_understood() {
    let fine = ["MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception"];
    let allowed = |expression| allowed(expression, &fine);
    assert!(allowed("MIT OR GPL-3.0"));
    assert!(allowed("MIT/Apache-2.0"));
    assert!(allowed("Apache-2.0 WITH LLVM-exception"));
    assert!(!allowed("GPL-3.0 WITH LLVM-exception"));
    assert!(!allowed("MIT AND GPL-3.0"));
    assert!(!allowed("(MIT OR Apache-2.0) AND GPL-3.0"));
    assert!(allowed("ISC AND (Apache-2.0 OR GPL-3.0)"));
    assert!(!allowed(""));
}

//! What we depend on may be used, as far as that can be checked without a network: every package names a licence that
//! is allowed, and none of the banned ones is there.

use std::process::Command;

use serde_json::Value;

/// Licences under which a dependency may be used here; `.cargo/deny.toml` holds the same list.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Packages that must not come in: a second TLS stack that needs a system library.
const BANNED: &[&str] = &["openssl-sys", "native-tls"];

#[test]
fn every_dependency_has_an_allowed_licence_and_none_is_banned() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("");
        if BANNED.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
        if !allowed(licence) {
            wrong.push(format!("{name}: licence `{licence}` is not on the list"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether an SPDX expression can be met by allowed licences. `AND` binds closer than `OR`.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>) -> bool {
    let mut met = both(words);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words);
    }
    met
}

fn both(words: &mut Words<'_>) -> bool {
    let mut met = one(words);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words);
    }
    met
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => either(words) & (words.next() == Some(")")),
        Some(name) if words.next_if_eq(&"WITH").is_some() => {
            let with = format!("{name} WITH {}", words.next().unwrap_or_default());
            ALLOWED.contains(&with.as_str())
        }
        Some(name) => ALLOWED.contains(&name),
        None => false,
    }
}

#[test]
fn alternatives_and_conjunctions_are_understood() {
    assert!(allowed("MIT OR GPL-3.0"));
    assert!(allowed("MIT/Apache-2.0"));
    assert!(!allowed("MIT AND GPL-3.0"));
    assert!(!allowed("(MIT OR Apache-2.0) AND GPL-3.0"));
    assert!(allowed("ISC AND (Apache-2.0 OR GPL-3.0)"));
    assert!(!allowed(""));
}

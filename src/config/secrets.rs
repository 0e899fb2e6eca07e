//! Secrets: where the project says that they are, and reading them there when they are needed.
//!
//! # Promises
//! * The files of a project hold no secret's value: a plain text where a secret belongs is a problem, and is not repeated.
//! * An error names the place of a secret, never its value.

use std::path::Path;

use super::job::SecretRef;
use super::tree::Table;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::Secret;

/// Reads a secret. `tokens` looks up the token store of the secret's connection by name. Relative files are those of the
/// project at `root`.
pub fn resolve(secret: &SecretRef, root: &Path, tokens: impl FnOnce(&str) -> Result<Option<Secret>>) -> Result<Secret> {
    let value = match secret {
        SecretRef::Env(name) => std::env::var(name).map_err(|e| match e {
            std::env::VarError::NotPresent => Error::config(format!("the environment variable {name} is not set"))
                .hint(format!("set it before the command: export {name}=…")),
            std::env::VarError::NotUnicode(_) => {
                Error::config(format!("the environment variable {name} is not text")).hint("set it again")
            }
        })?,
        SecretRef::File(file) => {
            let path = root.join(file);
            let text = std::fs::read_to_string(&path).map_err(|e| {
                Error::config(format!("the secret's file {} cannot be read", path.display()))
                    .hint("make it, readable by you alone, with the secret as its only line")
                    .source(e)
            })?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        SecretRef::Ledger(name) => match tokens(name)? {
            Some(token) => return Ok(token),
            None => {
                return Err(Error::access(format!("no `{name}` has been stored for this connection"))
                    .hint(format!("write {name} = {{ env = \"…\" }} in sf2gs.toml and set that variable")));
            }
        },
    };
    if value.trim().is_empty() {
        let place = match secret {
            SecretRef::Env(name) | SecretRef::Ledger(name) => name.clone(),
            SecretRef::File(file) => file.display().to_string(),
        };
        return Err(Error::config(format!("the secret in {place} is empty")).hint("put the value there"));
    }
    Ok(Secret::new(value))
}

/// Writes a secret to a file that only its owner can read, in a folder that only its owner can enter.
pub fn write_secret_file(path: &Path, value: &str) -> Result<()> {
    use std::io::Write as _;
    let mut folder = std::fs::DirBuilder::new();
    let mut options = std::fs::OpenOptions::new();
    folder.recursive(true);
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        folder.mode(0o700);
        options.mode(0o600);
    }
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            folder.create(parent)?;
        }
        let mut file = options.open(path)?;
        file.write_all(value.as_bytes())?;
        file.write_all(b"\n")
    };
    write().map_err(|e| {
        Error::unavailable(format!("the secret's file {} cannot be written", path.display()))
            .hint("make its folder writable")
            .source(e)
    })
}

/// A secret's place in a connection's table: `{ env = "…" }`, `{ file = "…" }` or `{ ledger = "…" }`.
pub(super) fn read(table: &Table<'_>, key: &'static str, example: &str) -> Option<SecretRef> {
    if table.is_text(key) {
        let text = table.text(key)?;
        table.report(
            &text.place,
            format!("`{key}` holds the secret itself, and this file may be shared"),
            format!("write {key} = {{ env = \"{example}\" }} and set that variable, or {key} = {{ file = \"…\" }}; then change the secret"),
        );
        return None;
    }
    let place = table.table(key)?;
    let env = place.text("env");
    let file = place.text("file");
    let ledger = place.text("ledger");
    let given = [env.is_some(), file.is_some(), ledger.is_some()].iter().filter(|given| **given).count();
    let at = place.place.clone();
    place.end();
    if given != 1 {
        table.report(
            &at,
            format!("`{key}` must name one place"),
            format!("write {key} = {{ env = \"{example}\" }} or {key} = {{ file = \"…\" }}"),
        );
        return None;
    }
    env.map(|found| SecretRef::Env(found.value))
        .or_else(|| file.map(|found| SecretRef::File(found.value.into())))
        .or_else(|| ledger.map(|found| SecretRef::Ledger(found.value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_its_place_and_an_error_names_only_the_place() {
        let folder = tempfile::tempdir().unwrap();
        write_secret_file(&folder.path().join("new/key"), "s3cret").unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let get = |secret: &SecretRef| {
            resolve(secret, folder.path(), |name| Ok((name == "known").then(|| Secret::new("kept"))))
        };
        assert_eq!(get(&SecretRef::File("new/key".into())).unwrap().reveal(), "s3cret");
        assert_eq!(get(&SecretRef::Ledger("known".into())).unwrap().reveal(), "kept");
        assert!(!get(&SecretRef::Env("PATH".into())).unwrap().reveal().is_empty());
        for (secret, said) in [
            (SecretRef::Env("SF2GS_NO_SUCH_VARIABLE".into()), "SF2GS_NO_SUCH_VARIABLE is not set"),
            (SecretRef::File("none".into()), "cannot be read"),
            (SecretRef::File("empty".into()), "is empty"),
            (SecretRef::Ledger("unknown".into()), "no `unknown` has been stored"),
        ] {
            let error = get(&secret).unwrap_err();
            assert!(error.message().contains(said), "{error}");
            assert!(error.hint_text().is_some());
        }
    }
}

//! The picture in `src/lib.rs`, checked against the source: who may import whom, and the house rules that a machine can
//! check. A failure says what to change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room → rooms that it may name. Every room but the ground may also name the ground.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("clock", &[]),
    ("telemetry", GROUND),
    ("config", GROUND),
    ("connect", GROUND),
    ("extract", &["connect", "error", "clock", "telemetry", "config"]),
    ("land", GROUND),
    ("engine", &["land", "error", "clock", "telemetry", "config"]),
    ("transform", &["engine", "land", "error", "clock", "telemetry", "config"]),
    ("matching", &["transform", "engine", "land", "error", "clock", "telemetry", "config"]),
    ("ledger", GROUND),
    ("load", &["connect", "land", "ledger", "error", "clock", "telemetry", "config"]),
    ("reconcile", &["engine", "land", "ledger", "error", "clock", "telemetry", "config"]),
    ("pipeline", ALL_BUT_CLI_AND_SANDBOX),
    ("sandbox", &["error", "clock"]),
    ("cli", ALL),
];
const GROUND: &[&str] = &["error", "clock", "telemetry", "config"];
const ALL_BUT_CLI_AND_SANDBOX: &[&str] = &[
    "error",
    "clock",
    "telemetry",
    "config",
    "connect",
    "extract",
    "land",
    "engine",
    "transform",
    "matching",
    "ledger",
    "load",
    "reconcile",
];
const ALL: &[&str] = &[
    "error",
    "clock",
    "telemetry",
    "config",
    "connect",
    "extract",
    "land",
    "engine",
    "transform",
    "matching",
    "ledger",
    "load",
    "reconcile",
    "pipeline",
    "sandbox",
];

/// What the top level holds, besides hidden files and what a build leaves.
const TOP: &[&str] =
    &["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "pipelines", "sql", "src", "target", "tests"];

const LONGEST: usize = 800;

/// A room names only rooms that the picture allows. Unit tests are held to the same.
#[test]
fn rooms_import_only_what_the_picture_allows() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        for file in files_of_room(room) {
            for (line, text) in code_lines(&file) {
                for name in names_after("crate::", &text) {
                    if name != *room && !allowed.contains(&name.as_str()) && is_room(&name) {
                        wrong.push(format!("{}:{line}: `{room}` names `{name}`", shown(&file)));
                    }
                }
                if let Some(deep) = reaches_past_its_room(&file, &text) {
                    wrong.push(format!("{}:{line}: `{deep}` leaves the room unseen; write `crate::…`", shown(&file)));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "rooms reach where the picture has no arrow:\n{}\n\
         Either pass the value in from `pipeline`, or change the picture in src/lib.rs and the table here together.",
        wrong.join("\n")
    );
}

/// `use crate::{a, b}` would hide what is imported from the test above, and from readers.
#[test]
fn an_import_names_one_room() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        for (line, text) in code_lines(&file) {
            if text.contains("crate::{") || text.contains("crate::*") {
                wrong.push(format!("{}:{line}: {}", shown(&file), text.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "write one `use crate::room::…;` a line:\n{}", wrong.join("\n"));
}

/// The table in the documentation, the table here and the folders are one picture.
#[test]
fn the_picture_and_the_table_agree() {
    let lib = read(Path::new("src/lib.rs"));
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in lib.lines().filter_map(|line| line.strip_prefix("//! | [`")) {
        let room = row.split('`').next().unwrap_or_default().to_owned();
        let may = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default().trim();
        told.insert(room.clone(), words_of_the_picture(&room, may));
    }
    let here: BTreeMap<String, BTreeSet<String>> = MAY_IMPORT
        .iter()
        .map(|(room, may)| {
            ((*room).to_owned(), may.iter().filter(|name| *name != room).map(|name| (*name).to_owned()).collect())
        })
        .collect();
    assert_eq!(told, here, "the table in src/lib.rs (left) and MAY_IMPORT in tests/it/layers.rs (right) differ");

    let folders: BTreeSet<String> = fs::read_dir(root().join("src"))
        .expect("src")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .filter(|name| name != "lib" && name != "main")
        .collect();
    assert_eq!(folders, here.into_keys().collect(), "the rooms in src (left) and in the table (right) differ");
}

/// What "May import" means for `room`, in rooms.
fn words_of_the_picture(room: &str, may: &str) -> BTreeSet<String> {
    let names: Vec<&str> = match may {
        "–" => Vec::new(),
        "all" => ALL.to_vec(),
        "all but cli and sandbox" => ALL_BUT_CLI_AND_SANDBOX.to_vec(),
        list => list.split(", ").flat_map(|name| if name == "ground" { GROUND.to_vec() } else { vec![name] }).collect(),
    };
    names.into_iter().filter(|name| *name != room).map(str::to_owned).collect()
}

#[test]
fn the_program_is_only_the_command_line() {
    let file = root().join("src/main.rs");
    let lines = code_lines(&file);
    assert!(read(&file).lines().count() <= 80, "src/main.rs only starts the command line; move code to src/cli");
    for (line, text) in lines {
        for name in names_after("sf2gs::", &text) {
            assert!(["cli", "error"].contains(&name.as_str()), "src/main.rs:{line} names `{name}`; only cli and error");
        }
    }
}

#[test]
fn every_module_opens_with_a_doc() {
    let wrong: Vec<_> = rust_files("src")
        .into_iter()
        .chain(rust_files("tests"))
        .chain(rust_files("benches"))
        .filter(|file| {
            !read(file).lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//! "))
        })
        .map(|file| shown(&file))
        .collect();
    assert!(wrong.is_empty(), "begin these with `//!` and what the module promises:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_800_lines() {
    let wrong: Vec<_> = ["src", "tests", "benches", "sql", "pipelines"]
        .into_iter()
        .flat_map(|folder| files(&root().join(folder)))
        .filter(|file| {
            ["rs", "sql", "slt", "toml", "py"].iter().any(|ending| file.extension().is_some_and(|e| e == *ending))
        })
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, file)| format!("{}: {lines} lines", shown(&file)))
        .collect();
    assert!(
        wrong.is_empty(),
        "a file has at most {LONGEST} lines; make a folder of it, one file per topic:\n{}",
        wrong.join("\n")
    );
}

/// Clippy refuses the macros too; this also sees streams that are opened by name.
#[test]
fn only_cli_prints() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let name = shown(&file);
        // Logs are the one other thing that goes to stderr.
        if name.starts_with("src/cli/") || name == "src/telemetry/subscriber.rs" {
            continue;
        }
        for (line, text) in code_lines(&file) {
            let prints = ["print!(", "println!(", "dbg!(", "io::stdout(", "io::stderr("];
            if prints.iter().any(|print| text.contains(print)) {
                wrong.push(format!("{name}:{line}: {}", text.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "report through `telemetry::Reporter` or tracing instead:\n{}", wrong.join("\n"));
}

#[test]
fn every_model_has_a_test_beside_it() {
    let wrong: Vec<_> = files(&root().join("sql"))
        .into_iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "sql") && !file.with_extension("slt").exists())
        .map(|file| shown(&file))
        .collect();
    assert!(wrong.is_empty(), "write the .slt file with the same name for:\n{}", wrong.join("\n"));
}

/// Two versions of one of these do not understand each other's types, and double the time of a build.
#[test]
fn the_data_crates_are_there_once() {
    let lock = read(Path::new("Cargo.lock"));
    for name in ["arrow", "datafusion", "deltalake", "object_store", "parquet", "tokio"] {
        let wanted = format!("name = \"{name}\"");
        let versions: Vec<&str> = lock
            .lines()
            .zip(lock.lines().skip(1))
            .filter(|(line, _)| *line == wanted)
            .map(|(_, version)| version.trim_start_matches("version = "))
            .collect();
        assert_eq!(
            versions.len(),
            1,
            "Cargo.lock holds {name} as {versions:?}; `cargo tree -i {name}` shows who wants which"
        );
    }
}

#[test]
fn dependencies_stand_in_alphabetical_groups() {
    let manifest = read(Path::new("Cargo.toml"));
    let mut last = String::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        }
        if line.is_empty() || line.starts_with('#') || line.starts_with('[') {
            last.clear();
        } else if in_dependencies {
            let name = line.split([' ', '=', '.']).next().unwrap_or_default().to_owned();
            assert!(last < name, "Cargo.toml: put `{name}` before `{last}`: groups are alphabetical");
            last = name;
        }
    }
}

#[test]
fn the_top_level_is_what_it_was() {
    let wrong: Vec<_> = fs::read_dir(root())
        .expect("the root")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .collect();
    assert!(
        wrong.is_empty(),
        "find these a place in a folder, or give tool settings a hidden name: {}",
        wrong.join(", ")
    );
}

/// The checks themselves see what they should.
#[test]
fn the_reader_of_code_sees_imports_and_overlooks_comments() {
    let text =
        "use crate::land::Lake; // crate::cli\n/* crate::cli\n crate::cli */ let x = \"// crate::load\"; crate :: y";
    let lines = code_lines_of(text);
    let names: Vec<String> = lines.iter().flat_map(|(_, text)| names_after("crate::", text)).collect();
    assert_eq!(names, ["land"]);
    assert_eq!(names_after("crate::", "pub(in crate::land::log) fn f(a: crate::error::Error)"), ["land", "error"]);
    let file = root().join("src/land/log.rs");
    assert_eq!(reaches_past_its_room(&file, "use super::super::cli::X;"), Some("super::super".to_owned()));
    assert_eq!(reaches_past_its_room(&file, "use super::X;"), None);
    assert_eq!(reaches_past_its_room(&root().join("src/land/mod.rs"), "use super::cli;"), Some("super".to_owned()));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn is_room(name: &str) -> bool {
    MAY_IMPORT.iter().any(|(room, _)| *room == name)
}

/// Every file below a folder that may be absent, sorted; hidden ones left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            found.extend(files(&path));
        } else if !hidden {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let all = files(&root().join(folder));
    all.into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")).collect()
}

fn files_of_room(room: &str) -> Vec<PathBuf> {
    let single = root().join(format!("src/{room}.rs"));
    if single.exists() { vec![single] } else { rust_files(&format!("src/{room}")) }
}

/// The lines of a file, numbered, without comments and without the insides of texts.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    code_lines_of(&read(file))
}

fn code_lines_of(text: &str) -> Vec<(usize, String)> {
    let mut in_comment = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut code = String::new();
        let mut rest = line;
        loop {
            if in_comment {
                let Some((_, after)) = rest.split_once("*/") else { break };
                (rest, in_comment) = (after, false);
            }
            let Some(at) = ["//", "/*", "\""].iter().filter_map(|mark| rest.find(mark)).min() else {
                code.push_str(rest);
                break;
            };
            let (before, after) = rest.split_at(at);
            // `'"'` is a character, not the beginning of a text.
            if after.starts_with('"') && before.ends_with('\'') && after[1..].starts_with('\'') {
                code.push_str(before);
                rest = &after[2..];
                continue;
            }
            code.push_str(before);
            if after.starts_with("//") {
                break;
            } else if let Some(inside) = after.strip_prefix("/*") {
                (rest, in_comment) = (inside, true);
            } else {
                rest = after_text(&after[1..]);
            }
        }
        lines.push((index + 1, code));
    }
    lines
}

/// What follows the closing quote; nothing if the text goes on in the next line.
fn after_text(inside: &str) -> &str {
    let mut escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return &inside[at + 1..],
            _ => {}
        }
    }
    ""
}

/// The names that follow `before` in a line of code.
fn names_after(before: &str, text: &str) -> Vec<String> {
    text.match_indices(before)
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$'))
        .map(|(at, mark)| text[at + mark.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

/// A chain of `super` that goes as far up as the crate's root.
fn reaches_past_its_room(file: &Path, text: &str) -> Option<String> {
    let path = file.strip_prefix(root().join("src")).ok()?;
    let depth = path.components().count() - usize::from(path.ends_with("mod.rs"));
    let chain = vec!["super"; depth].join("::");
    let names = names_after(&format!("{chain}::"), text);
    names.iter().any(|name| is_room(name)).then_some(chain)
}

//! The plan's verdicts equal those of nested loops in plain Rust ([`model`](crate::support::model)), on random jobs and
//! random tables full of nulls, blanks, white space, letter case, duplicates on both sides and ids of both lengths: over
//! mirrors narrowed to what the rows look for, over the whole, and over the whole part by part as where memory is short.
//!
//! The cases are the same in every run, so that a failure is everybody's. `SF2GS_SEED=<number>` draws others and
//! `SF2GS_CASES=<number>` more of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use proptest::strategy::Strategy;
use proptest::test_runner::Config;
use proptest::test_runner::FileFailurePersistence;
use proptest::test_runner::RngAlgorithm;
use proptest::test_runner::TestCaseError;
use proptest::test_runner::TestRng;
use proptest::test_runner::TestRunner;
use sf2gs::matching;
use sf2gs::matching::MatchInputs;
use sf2gs::matching::MatchPlan;
use tokio::runtime::Runtime;

use crate::support::model;
use crate::support::model::Expected;
use crate::support::model::World;
use crate::support::tables;
use crate::support::tables::Cell;
use crate::support::tables::session;
use crate::support::tables::session_without_room;
use crate::support::worlds;

/// Cases per kind of job; `SF2GS_CASES` asks for more.
const CASES: u32 = 30;

fn compile(world: &World, second: bool) -> Option<MatchPlan> {
    let schemas: BTreeMap<String, SchemaRef> =
        world.mirrors.iter().map(|(name, table)| (name.clone(), Arc::clone(&table.schema))).collect();
    let inputs =
        MatchInputs { job: &world.job, source: &world.source.schema, mirrors: &schemas, person_key: &world.person_key };
    if second {
        matching::compile_second_pass(&inputs).expect("a job that compiles")
    } else {
        Some(matching::compile(&inputs).expect("a job that compiles"))
    }
}

/// More rows than a run may have for its mirrors to be narrowed to what these rows look for.
const MANY: usize = 1_000_000;

/// What the program says of the world's rows, which it takes for `rows`, or else counts.
async fn real(ctx: &SessionContext, plan: &MatchPlan, people: bool, rows: Option<usize>) -> Vec<Expected> {
    let frame = plan.verdicts_of(ctx, rows).await.unwrap_or_else(|error| panic!("{error:?}\n{}", plan.sql));
    let got = tables::rows(frame).await;
    got.into_iter().map(|row| read(&row, people)).collect()
}

fn read(row: &HashMap<String, Cell>, people: bool) -> Expected {
    let text = |name: &str| row[name].clone();
    let flag = |name: &str| row[name].as_deref().expect("never null") == "true";
    assert_eq!(row["code"].is_some(), row["message"].is_some(), "a reject has a sentence: {row:?}");
    let mut expected = Expected {
        source_id: text("source_id").expect("never null"),
        verdict: text("verdict").expect("never null"),
        gsid: text("gsid"),
        changed: text("changed"),
        clears: flag("clears"),
        code: text("code"),
        field: text("field"),
        candidates: text("candidates"),
        retry: flag("retry"),
        unresolved: text("unresolved"),
        ..Expected::default()
    };
    if people {
        expected.person_gsid = text("person_gsid");
        expected.person_rows = text("person_rows").and_then(|rows| rows.parse().ok()).expect("a count");
        expected.person_winner = flag("person_winner");
    }
    if expected.code.is_none() {
        let set = row.iter().filter(|(name, _)| name.starts_with("set."));
        expected.set = set.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
    expected
}

fn register(ctx: &SessionContext, world: &World) {
    world.source.register(ctx, "source");
    for (name, table) in &world.mirrors {
        table.register(ctx, &format!("mirror_{name}"));
    }
}

/// Compares many worlds, and says how often each verdict was seen.
fn check(name: &str, worlds: impl Strategy<Value = World>, wanted: &[&str]) {
    let cases = std::env::var("SF2GS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = Config {
        cases,
        max_shrink_iters: 40,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    };
    let runtime = Runtime::new().expect("a runtime");
    let sessions = [session(1), session(3)];
    let short = [session_without_room(1), session_without_room(3)];
    let seen: RefCell<BTreeMap<String, usize>> = RefCell::default();
    let number: u64 = std::env::var("SF2GS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let seed: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(32).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let outcome = TestRunner::new_with_rng(config, random).run(&worlds, |world| {
        let people = world.mirrors.contains_key("company_person");
        let (ctx, short) = (&sessions[world.source.rows.len() % 2], &short[world.source.rows.len() % 2].0);
        register(ctx, &world);
        register(short, &world);
        for second in [false, true] {
            let expected = model::verdicts(&world, second);
            let Some(plan) = compile(&world, second) else { continue };
            // over narrowed mirrors, as few rows are decided, and over the whole, as many are
            for (ctx, told) in [(ctx, None), (ctx, Some(MANY)), (short, Some(MANY))] {
                let got = runtime.block_on(real(ctx, &plan, people, told));
                if got != expected {
                    let pairs = got.iter().zip(&expected).filter(|(got, expected)| got != expected);
                    let first = pairs.map(|(got, expected)| format!("plan:  {got:#?}\nmodel: {expected:#?}")).next();
                    return Err(TestCaseError::fail(format!(
                        "{} rows of the plan, {} of the model, second pass: {second}, told: {told:?}\n{}",
                        got.len(),
                        expected.len(),
                        first.unwrap_or_default()
                    )));
                }
            }
            if !second {
                let mut seen = seen.borrow_mut();
                for row in &expected {
                    let what = row.code.clone().unwrap_or_else(|| row.verdict.clone());
                    *seen.entry(what).or_default() += 1;
                    for (flag, word) in [
                        (row.unresolved.is_some(), "unresolved"),
                        (row.retry, "retry"),
                        (row.clears, "clears"),
                        (row.person_rows > 1, "twins"),
                    ] {
                        *seen.entry(word.to_owned()).or_default() += usize::from(flag);
                    }
                }
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    for (_, pool) in &short {
        assert!(pool.refused() > 0, "{name}: nothing was looked at part by part");
    }
    let seen = seen.borrow();
    println!("{name}: {seen:?}");
    // a generator that never leads to a verdict proves nothing about it
    for what in wanted {
        assert!(number != 0 || seen.get(*what).is_some_and(|count| *count >= 5), "{name}: hardly any {what}: {seen:?}");
    }
}

const ALWAYS: &[&str] = &[
    "insert",
    "update",
    "unchanged",
    "BLANK_IDENTIFIER",
    "DUPLICATE_IN_SOURCE",
    "AMBIGUOUS_TARGET",
    "ALREADY_EXISTS",
    "NOT_FOUND",
    "LOOKUP_NO_MATCH",
    "LOOKUP_MULTIPLE",
    "VALUE_INVALID",
    "unresolved",
    "retry",
    "clears",
];

#[test]
fn company_jobs_decide_as_the_model_does() {
    check("company", worlds::company(), ALWAYS);
}

#[test]
fn user_jobs_decide_as_the_model_does() {
    check("user", worlds::user(), ALWAYS);
}

#[test]
fn people_jobs_decide_as_the_model_does() {
    let wanted: Vec<_> = ALWAYS.iter().chain(&["twins"]).copied().collect();
    check("people", worlds::people(), &wanted);
}

//! The ledger's promises, on a file and with a clock that stands still.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sf2gs::clock::Clock;
use sf2gs::error::ErrorKind;
use sf2gs::ledger::{
    ChainRun, Counters, Landed, Ledger, MirrorState, NewChunk, NewEdit, NewRun, Outcome, Pending, PendingChange,
    RunFilter, RunStatus, Want, WantsOf, Watermark,
};
use sf2gs::telemetry::{CallClass, Secret};

struct World {
    folder: tempfile::TempDir,
    clock: Clock,
    ledger: Ledger,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::held_at(at(0));
        let ledger = Ledger::open(&folder.path().join("new/ledger.db"), clock.clone()).expect("a new ledger");
        Self { folder, clock, ledger }
    }

    /// The ledger as another process sees it.
    fn again(&self) -> Ledger {
        Ledger::open(self.ledger.path(), self.clock.clone()).expect("the ledger again")
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a time")
}

fn new_run() -> NewRun {
    NewRun {
        chain: Some(ChainRun { id: "c1".into(), name: "chain".into(), order: 2 }),
        source_hash: "s".into(),
        spec_hash: "m".into(),
        from: None,
        until: Some(at(-300)),
        full: true,
    }
}

fn watermark(until: DateTime<Utc>) -> Watermark {
    Watermark { until, source_hash: "s".into(), spec_hash: "m".into() }
}

fn waiting(source_id: &str) -> Pending {
    let mut wants = vec![
        WantsOf::lookup("company_person.Company_ID").want("001"),
        WantsOf::lookup("company_person.Manager").want("a"),
    ];
    wants.sort_unstable();
    Pending { source_id: source_id.into(), wants }
}

fn success() -> Outcome {
    Outcome {
        status: RunStatus::PartialSuccess,
        counters: Counters { extracted: 10, inserted: 4, updated: 3, unchanged: 2, rejected: 1, ..Default::default() },
        calls: [(CallClass::GainsightSync, 3)].into(),
        error: None,
        watermark: Some(watermark(at(-300))),
        pending: Some(vec![waiting("003")].into()),
    }
}

#[test]
fn a_run_is_stored_with_its_watermark_and_what_to_try_again() {
    let w = World::new();
    let lease = w.ledger.acquire("contacts").unwrap();
    let run = w.ledger.begin_run(&lease, new_run()).unwrap();
    assert_eq!(run.status, RunStatus::Running);
    w.ledger.record_step(&run.id, "extract", 10, &serde_json::json!({"soql": "SELECT Id FROM Contact"})).unwrap();
    w.ledger.record_step(&run.id, "load", 7, &serde_json::json!({})).unwrap();
    w.clock.advance(TimeDelta::seconds(5));
    let run = w.ledger.finish_run(&lease, &run.id, &success()).unwrap();
    drop(lease);

    let other = w.again();
    assert_eq!(other.find_run(run.short_id()).unwrap(), run);
    assert_eq!(other.find_run(&run.id[..20]).unwrap(), run);
    assert_eq!((run.seconds(), run.attempts, run.chain.clone().unwrap().order), (Some(5.0), 1, 2));
    assert_eq!(run.calls, [(CallClass::GainsightSync, 3)].into());
    assert_eq!(other.watermark("contacts").unwrap(), Some(watermark(at(-300))));
    assert_eq!(other.pending("contacts").unwrap(), success().pending.unwrap().waiting);
    let steps = other.steps(Some(&run.id)).unwrap();
    assert_eq!(
        steps.iter().map(|s| (s.order, s.step.as_str(), s.rows)).collect::<Vec<_>>(),
        [(1, "extract", 10), (2, "load", 7)]
    );
    assert!(other.leases().unwrap().is_empty());
    assert!(other.unfinished_run("contacts").unwrap().is_none());
}

#[test]
fn a_broken_identity_of_the_counters_moves_nothing() {
    let w = World::new();
    let lease = w.ledger.acquire("contacts").unwrap();
    let run = w.ledger.begin_run(&lease, new_run()).unwrap();
    let mut outcome = success();
    outcome.counters.rejected = 0;
    let error = w.ledger.finish_run(&lease, &run.id, &outcome).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(error.message().contains("read 10 rows") && error.message().contains("accounts for 9"), "{error}");
    assert_eq!(w.ledger.watermark("contacts").unwrap(), None);
    assert_eq!(w.ledger.unfinished_run("contacts").unwrap().unwrap().id, run.id);
}

#[test]
fn a_change_of_the_list_leaves_the_other_rows_waiting() {
    let w = World::new();
    let run = |pending: PendingChange| {
        let lease = w.ledger.acquire("contacts").unwrap();
        let run = w.ledger.begin_run(&lease, new_run()).unwrap();
        w.ledger.finish_run(&lease, &run.id, &Outcome { pending: Some(pending), ..success() }).unwrap();
        w.clock.advance(TimeDelta::seconds(60));
        let rows = w.ledger.pending("contacts").unwrap();
        assert_searches_agree(&w.ledger, &rows);
        let ids = rows.into_iter().map(|row| row.source_id);
        (ids.collect::<Vec<_>>(), w.ledger.last_success("contacts").unwrap())
    };
    assert_eq!(run(vec![waiting("1"), waiting("2"), waiting("3")].into()), (ids(&["1", "2", "3"]), Some(at(0))));
    let keyless = Pending { wants: Vec::new(), ..waiting("6") };
    let again = Pending { wants: vec![WantsOf::lookup("another").want("a")], ..waiting("1") };
    let change = PendingChange { settled: Some(ids(&["2", "4"])), waiting: vec![waiting("5"), again, keyless] };
    assert_eq!(run(change), (ids(&["1", "3", "5", "6"]), Some(at(60))));
    let wants = w.ledger.pending("contacts").unwrap().into_iter().map(|row| row.wants.len());
    assert_eq!(wants.collect::<Vec<_>>(), [3, 2, 2, 0], "a row that is named again waits for either");
    let change = PendingChange { settled: Some(ids(&["6", "3"])), waiting: Vec::new() };
    assert_eq!(run(change), (ids(&["1", "5"]), Some(at(120))));
    let many = |at: usize| Pending {
        wants: vec![WantsOf::lookup("x").want(&format!("{}", at % 7_000))],
        ..waiting(&format!("{at:05}"))
    };
    run((0..9_000).map(many).collect::<Vec<_>>().into());
    assert_eq!(run(Vec::new().into()), (ids(&[]), Some(at(240))));
    assert_eq!(w.ledger.last_success("another").unwrap(), None);
}

/// What searches find on the list of `contacts` is what its `rows` say.
fn assert_searches_agree(ledger: &Ledger, rows: &[Pending]) {
    let by_id = |ids: &[String]| {
        let (mut found, mut search) = (BTreeSet::new(), ledger.search_pending::<str>("contacts"));
        for some in ids.chunks(1_000) {
            search.find(some.iter().map(String::as_str), &mut found).unwrap();
        }
        found
    };
    let mut ids: Vec<String> = (0..9_500).map(|at| format!("no {at}")).collect();
    ids.extend(rows.iter().step_by(2).map(|row| row.source_id.clone()));
    let wanted: BTreeSet<_> = ids[9_500..].iter().cloned().collect();
    assert_eq!(by_id(&ids), wanted, "after too many to look for one by one");
    assert_eq!(by_id(&ids[9_500..]), wanted);
    assert_eq!(ledger.has_pending("contacts").unwrap(), !rows.is_empty());

    let by_want = |wants: &[Want]| {
        let (mut found, mut search) = (BTreeSet::new(), ledger.search_pending::<Want>("contacts"));
        for some in wants.chunks(1_000) {
            search.find(some, &mut found).unwrap();
        }
        found
    };
    let mut wanted: BTreeMap<Want, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        for want in row.wants.iter().copied().chain(row.wants.is_empty().then_some(Want::UNKNOWN)) {
            wanted.entry(want).or_default().insert(row.source_id.clone());
        }
    }
    for (want, ids) in wanted.iter().take(50) {
        assert_eq!(by_want(&[*want]), *ids);
    }
    assert!(by_want(&[WantsOf::lookup("company_person.Manager").want("b")]).is_empty());
    let mut wants: Vec<_> = (0..9_500).map(|at| WantsOf::lookup("no").want(&at.to_string())).collect();
    wants.extend(wanted.keys());
    assert_eq!(by_want(&wants).len(), rows.len());
    for name in ["company_person.Company_ID", "company_person.Manager", "another", "x", "company_person"] {
        let lookup = WantsOf::lookup(name);
        let some =
            ["001", "a"].map(|key| lookup.want(key)).into_iter().chain((0..7_000).map(|n| lookup.want(&n.to_string())));
        let expected = some.into_iter().any(|want| wanted.contains_key(&want));
        assert_eq!(ledger.has_pending_of("contacts", lookup).unwrap(), expected, "{name}");
        assert!(!ledger.has_pending_of("others", lookup).unwrap());
    }
    assert!(!ledger.has_pending("others").unwrap());
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn a_failed_run_leaves_the_watermark_and_can_be_taken_up_again() {
    let w = World::new();
    let lease = w.ledger.acquire("contacts").unwrap();
    let first = w.ledger.begin_run(&lease, new_run()).unwrap();
    let failed = Outcome {
        status: RunStatus::Failed,
        error: Some("the tenant is away".into()),
        watermark: None,
        pending: None,
        ..success()
    };
    w.ledger.finish_run(&lease, &first.id, &failed).unwrap();
    let moved = Outcome { watermark: success().watermark, ..failed };
    let lease = w.ledger.acquire("contacts").unwrap();
    let again = w.ledger.resume_run(&lease, &first.id, None).unwrap();
    assert_eq!((again.status, again.attempts, again.until, again.error), (RunStatus::Running, 2, first.until, None));
    assert_eq!(w.ledger.finish_run(&lease, &first.id, &moved).unwrap_err().kind(), ErrorKind::Bug);
    let done = w.ledger.finish_run(&lease, &first.id, &success()).unwrap();
    assert_eq!(done.calls, [(CallClass::GainsightSync, 6)].into(), "calls of both attempts");
}

#[test]
fn a_job_has_one_live_holder() {
    let w = World::new();
    let lease = w.ledger.acquire("contacts").unwrap();
    let run = w.ledger.begin_run(&lease, new_run()).unwrap();
    let error = w.again().acquire("contacts").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.message().contains(&run.id), "{error}");
    w.ledger.acquire("another job").unwrap();
    drop(lease);
    w.again().acquire("contacts").unwrap();
}

#[test]
fn a_silent_holder_is_replaced_and_can_then_neither_beat_nor_finish() {
    let w = World::new();
    let silent = w.ledger.acquire("contacts").unwrap();
    let run = w.ledger.begin_run(&silent, new_run()).unwrap();
    w.clock.advance(TimeDelta::seconds(100));
    silent.heartbeat().unwrap();
    w.clock.advance(TimeDelta::seconds(100));
    assert!(w.again().acquire("contacts").is_err(), "it gave a sign of life 100 s ago");
    w.clock.advance(TimeDelta::seconds(21));
    let new = w.again().acquire("contacts").unwrap();
    assert_eq!(w.ledger.unfinished_run("contacts").unwrap().unwrap().id, run.id);
    w.ledger.resume_run(&new, &run.id, None).unwrap();

    assert_eq!(silent.heartbeat().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(w.ledger.finish_run(&silent, &run.id, &success()).unwrap_err().kind(), ErrorKind::Conflict);
    drop(silent);
    new.heartbeat().expect("dropping the old lease does not end the new one");
    w.ledger.finish_run(&new, &run.id, &success()).unwrap();
}

/// The program is killed between two calls: what it had noted is all that is left.
#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_process_left_is_found_at_once() {
    let w = World::new();
    let lease = w.ledger.acquire("contacts").unwrap();
    let run = w.ledger.begin_run(&lease, new_run()).unwrap();
    let landed = Landed {
        run: run.id.clone(),
        table: "salesforce.contact".into(),
        sequence: 7,
        version: 3,
        rows: 10,
        deleted: 1,
    };
    w.ledger.set_landed(&landed).unwrap();
    let chunk =
        |hash: &str| NewChunk { route: "people".into(), object: "person".into(), rows: 5, keys_hash: hash.into() };
    let done = w.ledger.begin_chunk(&run.id, &chunk("a")).unwrap();
    w.ledger.end_chunk(done, 4, 1, 0).unwrap();
    let open = w.ledger.begin_chunk(&run.id, &chunk("b")).unwrap();
    w.ledger.note_status_id(open, "st-1").unwrap();
    w.ledger.note_remote_job(&run.id, "salesforce", "750A").unwrap();
    assert!(w.ledger.abandoned_remote_jobs().unwrap().is_empty(), "its run goes on");

    // A process that has just ended lends its id: the lease is now that of a holder that is gone.
    std::mem::forget(lease);
    let mut child = std::process::Command::new("true").spawn().expect("a process");
    child.wait().expect("its end");
    rusqlite::Connection::open(w.ledger.path())
        .and_then(|c| c.execute("UPDATE leases SET process = ?1, process_start = '1'", [child.id()]))
        .unwrap();

    let other = w.again();
    assert!(other.leases().unwrap()[0].dead);
    let lease = other.acquire("contacts").unwrap();
    let left = other.unfinished_run("contacts").unwrap().unwrap();
    assert_eq!(left.id, run.id);
    assert_eq!(other.landed(Some(&left.id)).unwrap(), [landed]);
    let chunks = other.open_chunks(&left.id).unwrap();
    assert_eq!(chunks.iter().map(|c| (c.id, c.status_id.as_deref())).collect::<Vec<_>>(), [(open, Some("st-1"))]);
    assert_eq!(other.abandoned_remote_jobs().unwrap()[0].id, "750A");
    other.remote_job_done("salesforce", "750A").unwrap();
    assert!(other.abandoned_remote_jobs().unwrap().is_empty());
    let chain = ChainRun { id: "c2".into(), name: "chain".into(), order: 1 };
    assert_eq!(other.resume_run(&lease, &left.id, Some(chain.clone())).unwrap().chain, Some(chain));
}

#[test]
fn runs_are_listed_newest_first_and_filtered() {
    let w = World::new();
    let mut ids = Vec::new();
    for job in ["a", "b", "a"] {
        let lease = w.ledger.acquire(job).unwrap();
        let run = w.ledger.begin_run(&lease, NewRun { chain: None, ..new_run() }).unwrap();
        w.ledger.finish_run(&lease, &run.id, &success()).unwrap();
        ids.insert(0, run.id);
        w.clock.advance(TimeDelta::seconds(60));
    }
    let listed =
        |filter: RunFilter| -> Vec<String> { w.ledger.runs(&filter).unwrap().into_iter().map(|run| run.id).collect() };
    assert_eq!(listed(RunFilter::default()), ids);
    assert_eq!(listed(RunFilter { job: Some("a".into()), ..Default::default() }), [ids[0].clone(), ids[2].clone()]);
    assert_eq!(listed(RunFilter { since: Some(at(60)), limit: Some(1), ..Default::default() }), [ids[0].clone()]);
    assert!(listed(RunFilter { status: Some(RunStatus::Failed), ..Default::default() }).is_empty());
    for (id, said) in [("zz", "not a run id"), ("0123456789", "no run"), (&ids[0][..4], "several runs")] {
        let error = w.ledger.find_run(id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(said), "{error}");
    }
}

#[test]
fn mirrors_tokens_and_edits_are_kept() {
    let w = World::new();
    let state = MirrorState { fields: vec!["Gsid".into(), "Name".into()], refreshed_until: at(1) };
    assert_eq!(w.ledger.mirror_state("gainsight", "company").unwrap(), None);
    w.ledger.set_mirror_state("gainsight", "company", &state).unwrap();
    assert_eq!(w.again().mirror_state("gainsight", "company").unwrap(), Some(state));
    w.ledger.forget_mirror("gainsight", "company").unwrap();
    assert_eq!(w.ledger.mirror_state("gainsight", "company").unwrap(), None);

    w.ledger.store_token("salesforce", "refresh_token", &Secret::new("one")).unwrap();
    w.ledger.store_token("salesforce", "refresh_token", &Secret::new("two")).unwrap();
    assert_eq!(w.again().token("salesforce", "refresh_token").unwrap(), Some(Secret::new("two")));
    assert_eq!(w.ledger.forget_tokens("salesforce").unwrap(), 1);
    assert_eq!(w.ledger.token("salesforce", "refresh_token").unwrap(), None);

    let edit = NewEdit {
        actor: "ann".into(),
        action: "edit".into(),
        subject: "job company_sync".into(),
        before: Some("a".into()),
        after: Some("b".into()),
    };
    w.ledger.record_edit(&edit).unwrap();
    let edits = w.again().edits().unwrap();
    assert_eq!((edits[0].at, &edits[0].edit), (at(0), &edit));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_file_whatever_its_mode_was() {
    use std::os::unix::fs::PermissionsExt;
    let w = World::new();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    w.ledger.store_token("salesforce", "refresh_token", &Secret::new("one")).unwrap();
    for file in std::fs::read_dir(w.ledger.path().parent().unwrap()).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let wide = w.folder.path().join("wide.db");
    std::fs::write(&wide, "").unwrap();
    std::fs::set_permissions(&wide, std::fs::Permissions::from_mode(0o644)).unwrap();
    Ledger::open(&wide, w.clock.clone()).unwrap();
    assert_eq!(mode(&wide), 0o600);
}

#[test]
fn a_file_of_a_newer_program_and_a_file_that_is_no_ledger_are_refused() {
    let w = World::new();
    let newer = w.folder.path().join("newer.db");
    rusqlite::Connection::open(&newer).and_then(|c| c.pragma_update(None, "user_version", 99)).unwrap();
    let error = Ledger::open(&newer, w.clock.clone()).unwrap_err();
    assert_eq!((error.kind(), error.message().contains("newer sf2gs")), (ErrorKind::Config, true), "{error}");
    let other = w.folder.path().join("notes.txt");
    std::fs::write(&other, "these are the notes of a meeting, and by no means a database\n".repeat(50)).unwrap();
    let error = Ledger::open(&other, w.clock.clone()).unwrap_err();
    assert_eq!((error.kind(), error.message().contains("not a SQLite database")), (ErrorKind::Config, true), "{error}");
}

/// Two terminals, a schedule and a person: the file is made once, and one of them gets the job.
#[test]
fn many_that_start_at_once_make_one_ledger_and_one_gets_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let all = std::sync::Barrier::new(8);
    let got: Vec<_> = std::thread::scope(|scope| {
        let begin = || {
            all.wait();
            let ledger = Ledger::open(&path, Clock::system()).expect("the ledger");
            let lease = ledger.acquire("contacts");
            all.wait();
            lease.map(drop).map_err(|e| e.kind())
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(got.iter().filter(|lease| lease.is_ok()).count(), 1, "{got:?}");
    assert!(got.iter().all(|lease| *lease == Ok(()) || *lease == Err(ErrorKind::Conflict)), "{got:?}");
}

/// The outcome, the watermark and the rows to try again are stored together or not at all.
#[test]
fn an_outcome_that_cannot_be_stored_whole_is_not_stored_at_all() {
    let w = World::new();
    let lease = w.ledger.acquire("contacts").unwrap();
    let run = w.ledger.begin_run(&lease, new_run()).unwrap();
    let other = rusqlite::Connection::open(w.ledger.path()).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON pending_rows BEGIN SELECT raise(ABORT, 'as if the disk were full'); END",
        )
        .unwrap();
    w.ledger.finish_run(&lease, &run.id, &success()).unwrap_err();
    assert_eq!(w.ledger.unfinished_run("contacts").unwrap().unwrap(), run);
    assert_eq!(w.ledger.watermark("contacts").unwrap(), None);
    lease.heartbeat().expect("the lease goes on");
    other.execute_batch("DROP TRIGGER full").unwrap();
    w.ledger.finish_run(&lease, &run.id, &success()).unwrap();
    assert_eq!(w.ledger.watermark("contacts").unwrap(), success().watermark);
}

/// `cargo test --test it ledger::speed -- --ignored --nocapture`: a chunk must cost far less than a call.
#[test]
#[ignore = "a measurement"]
fn speed_of_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db"), Clock::system()).unwrap();
    let lease = ledger.acquire("contacts").unwrap();
    let run = ledger.begin_run(&lease, new_run()).unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..20_000 {
        let chunk = NewChunk {
            route: "people".into(),
            object: "person".into(),
            rows: 50,
            keys_hash: "0123456789abcdef".into(),
        };
        let id = ledger.begin_chunk(&run.id, &chunk).unwrap();
        ledger.end_chunk(id, 50, 0, 0).unwrap();
    }
    println!("20,000 chunks: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    let pending: Vec<Pending> = (0..200_000).map(|n| waiting(&format!("003{n:015}"))).collect();
    ledger.finish_run(&lease, &run.id, &Outcome { pending: Some(pending.into()), ..success() }).unwrap();
    println!("an outcome with 200,000 rows to try again: {:?}", begun.elapsed());
}

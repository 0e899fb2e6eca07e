//! Runs of a project's job in the test's own process, and what they leave in the lake.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use sf2gs::clock::Clock;
use sf2gs::config::project::Project;
use sf2gs::connect::http::RetryPolicy;
use sf2gs::connect::salesforce::PollPolicy;
use sf2gs::error::Error;
use sf2gs::land::TableName;
use sf2gs::pipeline::JobReport;
use sf2gs::pipeline::Patience;
use sf2gs::pipeline::RunOptions;
use sf2gs::pipeline::World;
use sf2gs::pipeline::run_job;
use sf2gs::telemetry::Silent;

use crate::support::rows::shown;

/// What a run left.
pub(crate) struct Left {
    pub(crate) outcome: Result<JobReport, Error>,
    /// All rows in the files of the landed table, deletions among them; `None` if there is no table.
    pub(crate) landed: Option<Vec<String>>,
    /// The rows of the table as they are now.
    pub(crate) current: Option<Vec<String>>,
    /// The upper bound of the last window that was read.
    pub(crate) watermark: Option<DateTime<Utc>>,
    /// Calls of Salesforce.
    pub(crate) calls: u64,
}

/// As patient as the program is, but in milliseconds.
pub(crate) fn patience() -> Patience {
    Patience {
        retry: RetryPolicy { idle: Duration::from_millis(300), ..RetryPolicy::quick() },
        poll: PollPolicy {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(20),
            queued: Duration::from_millis(500),
            stuck: Duration::from_millis(300),
        },
    }
}

/// The project, opened as the program opens it.
pub(crate) async fn world(project: &Project) -> World {
    World::open_with(project.clone(), Arc::new(Silent), Clock::system(), patience()).await.unwrap()
}

/// Runs a job and looks at what it left.
pub(crate) async fn run(project: &Project, job: &str, options: &RunOptions) -> Left {
    let world = world(project).await;
    let job = world.job(job).unwrap().clone();
    let outcome = run_job(&world, &job, options).await;
    let calls = world.calls.read().iter().filter(|(class, _)| class.is_salesforce()).map(|(_, calls)| calls).sum();
    let table = TableName::new(&job.salesforce, &job.source.table).unwrap();
    let (mut landed, mut current) = (None, None);
    if let Some(snapshot) = world.lake.snapshot(&table).await.unwrap() {
        let session = world.engine.session();
        session.register_table("log", snapshot.log().unwrap()).unwrap();
        session.register_table("current", snapshot.current().unwrap()).unwrap();
        let log = session.sql("SELECT * EXCEPT (_sf2gs_sequence) FROM log").await.unwrap();
        landed = Some(shown(&log.collect().await.unwrap()));
        let now = session.sql("SELECT * FROM current").await.unwrap();
        current = Some(shown(&now.collect().await.unwrap()));
    }
    let watermark = world.ledger.watermark(&job.name).unwrap().map(|watermark| watermark.until);
    Left { outcome, landed, current, watermark, calls }
}

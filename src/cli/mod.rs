//! The command line: one file per verb, the only room that prints.
//!
//! # Promises
//! * stdout is the answer, stderr everything else; progress is drawn on a terminal only.
//! * Exit codes: 0 done · 1 done with rejects or differences · 2 wrong command, project or SQL, nothing ran ·
//!   3 stopped by a remote system or the machine, run again to resume · 4 a broken promise of ours.
//! * A closed pipe on stdout is not an error.

mod activity;
mod check;
mod demo;
mod init;
mod output;
mod plan;
mod progress;
mod reconcile;
mod report;
mod run;
mod sandbox;
mod sql;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::config::project::Project;
use crate::error::Error;
use crate::error::Result;
use crate::pipeline::World;
use crate::telemetry::Reporter;

use output::Format;

/// What a verb leaves behind for the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything done.
    Done,
    /// Done, but rows were rejected or the two sides differ.
    Differences,
}

/// Moves Salesforce into Gainsight: bulk extracts, SQL mappings, one verdict per row, only differences sent.
#[derive(Debug, Parser)]
#[command(name = "sf2gs", version, max_term_width = 110)]
struct Arguments {
    /// Project folder
    #[arg(short = 'C', long, global = true, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// How answers are written to stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Say more on stderr (-v steps, -vv requests, -vvv bodies, redacted)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing but the answer and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the out-of-the-box chain on two built-in sandboxes and show what happened
    Demo(demo::DemoArguments),
    /// Serve a Salesforce org and a Gainsight tenant on loopback until stopped
    Sandbox(sandbox::SandboxArguments),
    /// Make a project folder with the out-of-the-box jobs
    Init(init::InitArguments),
    /// Report every problem of the project
    Check(check::CheckArguments),
    /// All of a run but the write: verdicts, what differs, the SOQL and SQL, the calls; or what the quotas allow
    Plan(plan::PlanArguments),
    /// Run a job or a chain; resumes what a crash left
    Run(run::RunArguments),
    /// Compare both sides of a job by key
    Reconcile(reconcile::ReconcileArguments),
    /// Query the lake and the activity tables
    Sql(sql::SqlArguments),
    /// Show runs, or one run with its steps or rejects
    Activity(activity::ActivityArguments),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap's own codes: help and version are 0, everything else is a wrong command.
            let code = if error.use_stderr() { 2 } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(3),
            };
        }
    };
    match start(arguments) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Differences) => ExitCode::from(1),
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.render());
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// A statement is planned by functions that call themselves for every `AND` in it; only what is used of a stack takes memory.
const STACK_BYTES: usize = 32 << 20;

fn start(arguments: Arguments) -> Result<Outcome> {
    crate::telemetry::init(arguments.verbose, crate::telemetry::LogFormat::Text)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|e| Error::unavailable("the async runtime could not be started").source(e))?;
    runtime.block_on(async {
        // A task of its own: what it waits for comes to a thread of the runtime, which then goes on with it at once. This
        // thread would first have to be woken each time.
        let mut working = tokio::spawn(dispatch(arguments));
        tokio::select! {
            outcome = &mut working => outcome.map_err(|dead| Error::bug("the task of the command stopped").source(dead))?,
            signal = tokio::signal::ctrl_c() => {
                // Gone before the connections that it reads from, or else it would try again.
                working.abort();
                let _stopped = working.await;
                signal.map_err(|e| Error::unavailable("Ctrl-C could not be listened for").source(e))?;
                Err(Error::unavailable("stopped by Ctrl-C").hint("run the same command again: it resumes where it stopped"))
            }
        }
    })
}

async fn dispatch(arguments: Arguments) -> Result<Outcome> {
    let shared = Shared { project: arguments.project, format: arguments.format, quiet: arguments.quiet };
    match arguments.verb {
        Verb::Demo(verb) => Box::pin(demo::demo(shared, verb)).await,
        Verb::Sandbox(verb) => Box::pin(sandbox::sandbox(shared, verb)).await,
        Verb::Init(verb) => init::init(&shared, verb),
        Verb::Check(verb) => check::check(&shared, verb).await,
        Verb::Plan(verb) => Box::pin(plan::plan(shared, verb)).await,
        Verb::Run(verb) => Box::pin(run::run(shared, verb)).await,
        Verb::Reconcile(verb) => Box::pin(reconcile::reconcile(shared, verb)).await,
        Verb::Sql(verb) => Box::pin(sql::sql(shared, verb)).await,
        Verb::Activity(verb) => Box::pin(activity::activity(shared, verb)).await,
    }
}

/// The flags that every verb has.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    project: PathBuf,
    format: Format,
    quiet: bool,
}

impl Shared {
    fn reporter(&self) -> Arc<dyn Reporter> {
        progress::reporter(self.quiet)
    }

    fn load_project(&self) -> Result<Project> {
        let project = Project::load(&self.project).map_err(Error::from)?;
        if !self.quiet {
            for warning in project.warnings() {
                output::tell(&format!("warning: {warning}"));
            }
        }
        Ok(project)
    }

    async fn world(&self) -> Result<World> {
        World::open(self.load_project()?, self.reporter(), Clock::system()).await
    }
}

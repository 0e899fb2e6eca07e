//! `lake_version('connection.table', n)`: a table as it was at a version.

use std::sync::Arc;

use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::TableFunctionImpl;
use datafusion::catalog::TableProvider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use tokio::runtime::Handle;
use tokio::runtime::RuntimeFlavor;

use crate::engine::catalog::LakeCatalog;
use crate::error::Error;
use crate::error::Result;
use crate::land::Snapshot;
use crate::land::TableName;

/// The table function.
#[derive(Debug)]
pub(crate) struct LakeVersion {
    catalog: Arc<LakeCatalog>,
}

impl LakeVersion {
    pub(crate) fn new(catalog: Arc<LakeCatalog>) -> Self {
        Self { catalog }
    }

    fn open(&self, exprs: &[Expr]) -> Result<Snapshot> {
        let wrong = || {
            Error::config("lake_version takes a table and a version")
                .hint("such as `lake_version('salesforce.account', 3)`")
        };
        let [Expr::Literal(table, _), version] = exprs else { return Err(wrong()) };
        let table = table.try_as_str().flatten().ok_or_else(wrong)?;
        let version = match version {
            Expr::Literal(value, _) => integer(value).ok_or_else(wrong)?,
            Expr::Negative(value) => match value.as_ref() {
                Expr::Literal(value, _) => -integer(value).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        let name: TableName = table.trim_start_matches("lake.").parse()?;
        wait(self.catalog.at(&name, version))
    }
}

impl TableFunctionImpl for LakeVersion {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> DataFusionResult<Arc<dyn TableProvider>> {
        Ok(self.open(args.exprs())?.current()?)
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(value) => *value,
        ScalarValue::UInt64(value) => value.and_then(|value| i64::try_from(value).ok()),
        _ => None,
    }
}

/// A table function is called without `async`, but opening a table reads its log: the thread waits for it. On a runtime
/// of one thread that would stop the runtime itself, so there another one does the reading.
fn wait<T: Send>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let died = |_| Error::bug("the thread that opened a table died");
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(|| handle.block_on(work))
        }
        _ => std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .map_err(|error| Error::unavailable("no thread to open a table").source(error))?;
                runtime.block_on(work)
            });
            reader.join().map_err(died)?
        }),
    }
}

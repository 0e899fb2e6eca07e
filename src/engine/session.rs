//! The limits that all sessions share, and the one place where a session is made.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use datafusion::prelude::SessionContext;
use url::Position;
use url::Url;

use crate::config::project::EngineSettings;
use crate::engine::catalog::LakeCatalog;
use crate::engine::lookup::spilling;
use crate::engine::version::LakeVersion;
use crate::error::Error;
use crate::error::Result;
use crate::land::Lake;

/// The name of the lake's catalog.
pub(crate) const LAKE: &str = "lake";

/// Makes sessions that share their limits.
#[derive(Debug, Clone)]
pub struct Engine {
    /// What every session begins with.
    state: SessionState,
    lake: Lake,
}

impl Engine {
    /// An engine with `settings` whose sessions can read `lake`.
    pub fn new(settings: &EngineSettings, lake: &Lake) -> Result<Self> {
        // Named in the error when memory runs out: the five largest holders.
        const TOLD: NonZeroUsize = NonZeroUsize::new(5).unwrap();
        let pool = TrackConsumersPool::new(FairSpillPool::new(settings.memory_limit_bytes), TOLD);
        let mut builder = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_max_temp_directory_size(settings.spill_limit_bytes);
        if let Some(folder) = &settings.spill_dir {
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::config(format!("the spill folder {} can't be made: {error}", folder.display()))
                    .hint("change `[engine] spill_dir` in sf2gs.toml")
                    .source(error)
            })?;
            builder = builder.with_temp_file_path(folder);
        }
        let runtime = builder.build_arc()?;
        let (url, store) = lake.store();
        let root = Url::parse(&url[..Position::BeforePath])
            .map_err(|error| Error::bug(format!("the lake's URL {url} names no store")).source(error))?;
        runtime.register_object_store(&root, store);
        let threads = settings
            .threads
            .or_else(|| std::thread::available_parallelism().ok().map(NonZeroUsize::get))
            .unwrap_or(2)
            .max(1);
        let mut config =
            SessionConfig::new().with_target_partitions(threads).with_batch_size(8192).with_information_schema(true);
        let options = config.options_mut();
        // Unquoted names become lower case everywhere, so shared SQL means the same in every session.
        options.sql_parser.enable_ident_normalization = true;
        // Every sort sets this much aside to merge what it spilled; a small limit must leave room for several.
        let sorts = threads * 8;
        let aside = &mut options.execution.sort_spill_reservation_bytes;
        *aside = (*aside).min(settings.memory_limit_bytes / sorts);
        // A join with few changed keys then decodes only the rows it needs, and a filter skips the other columns.
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        // Pages have no statistics. Where they lie is read only by those who skip most of them.
        options.execution.parquet.enable_page_index = false;
        let state =
            SessionStateBuilder::new_with_default_features().with_config(config).with_runtime_env(runtime).build();
        let rules = spilling(state.physical_optimizers());
        let state = SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rules(rules).build();
        Ok(Self { state, lake: lake.clone() })
    }

    /// A new session within the shared limits: the functions of SQL, no tables.
    pub fn session(&self) -> SessionContext {
        // The functions are shared, as to make them anew takes longer than many a query; the tables are not.
        let config = self.state.config().clone().with_create_default_catalog_and_schema(true);
        let state = SessionStateBuilder::new_from_existing(self.state.clone())
            .with_config(config)
            .with_session_id(crate::clock::new_id())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .build();
        SessionContext::new_with_state(state)
    }

    /// Adds the catalog `lake` and the function `lake_version` to `session`.
    pub async fn catalogs(&self, session: &SessionContext) -> Result<()> {
        let catalog = LakeCatalog::list(&self.lake).await?;
        let catalog = Arc::new(catalog);
        session.register_udtf("lake_version", Arc::new(LakeVersion::new(Arc::clone(&catalog))));
        session.register_catalog(LAKE, catalog);
        Ok(())
    }

    /// The lake that the sessions can read.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Parallel streams of a plan.
    pub fn threads(&self) -> usize {
        self.state.config().target_partitions()
    }
}

//! Data files as a table: DataFusion's own Parquet scan over an explicit list, with the row counts of the log.
//!
//! Nothing is listed and no footer is read to plan. Filters are left to the engine, which pushes them into the scan
//! where they prune row groups and, if so set, drop rows while decoding.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::Statistics;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::physical_plan::ParquetSource;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::metadata::ParquetMetaData;
use tokio::sync::OnceCell;
use url::Position;

use crate::error::Error;
use crate::error::Result;
use crate::land::name::TableName;
use crate::land::snapshot::DataFile;
use crate::land::store::Place;

/// A table over data files of one schema (older files may lack columns; these read as null).
#[derive(Debug)]
pub(crate) struct FileScan {
    store: ObjectStoreUrl,
    schema: SchemaRef,
    files: Vec<(DataFile, ObjectMeta)>,
}

impl FileScan {
    pub(crate) fn new(place: &Place, table: &TableName, schema: SchemaRef, files: Vec<DataFile>) -> Result<Self> {
        let folder = place.prefix.clone().join(table.connection.as_str()).join(table.table.as_str());
        let files = files
            .into_iter()
            .map(|file| {
                let meta = ObjectMeta {
                    location: folder.clone().join(file.name.as_str()),
                    last_modified: DateTime::from_timestamp_millis(file.modified_ms).unwrap_or(DateTime::UNIX_EPOCH),
                    size: file.size,
                    e_tag: None,
                    version: None,
                };
                (file, meta)
            })
            .collect();
        Ok(Self { store: store_url(place)?, schema, files })
    }

    fn counted(&self, rows: u64) -> Statistics {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
        statistics
    }

    pub(crate) fn rows(&self) -> u64 {
        self.files.iter().map(|(file, _)| file.rows).sum()
    }
}

/// The key under which the engine knows the lake's store.
pub(crate) fn store_url(place: &Place) -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(&place.url[..Position::BeforePath])
        .map_err(|error| Error::bug(format!("the lake's URL {} names no store", place.url)).source(error))
}

/// Readers that learn where each page lies before they read the first one, so that pages without wanted rows are left
/// out. The engine's own do so only where the statistics of pages can rule some out, and these files have none.
#[derive(Debug)]
struct ByPage {
    factory: CachedParquetFileReaderFactory,
    /// What the parts of a scan that read one file at the same time would otherwise each work out.
    footers: Mutex<HashMap<Path, Footer>>,
}

type Footer = Arc<OnceCell<Arc<ParquetMetaData>>>;

impl ParquetFileReaderFactory for ByPage {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_bytes: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DataFusionResult<Box<dyn AsyncFileReader + Send>> {
        let mut footers = self.footers.lock().map_err(|_| DataFusionError::Internal("a reader died".to_owned()))?;
        let footer = Arc::clone(footers.entry(file.object_meta.location.clone()).or_default());
        Ok(Box::new(PageReader { reader: self.factory.create_reader(partition, file, footer_bytes, metrics)?, footer }))
    }
}

struct PageReader {
    reader: Box<dyn AsyncFileReader + Send>,
    footer: Footer,
}

impl AsyncFileReader for PageReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.reader.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.reader.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        Box::pin(async move {
            let options = options.cloned().unwrap_or_default().with_page_index_policy(PageIndexPolicy::Optional);
            self.footer.get_or_try_init(|| self.reader.get_metadata(Some(&options))).await.cloned()
        })
    }
}

#[async_trait]
impl TableProvider for FileScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.counted(self.rows()))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let runtime = state.runtime_env();
        let reader = CachedParquetFileReaderFactory::new(
            runtime.object_store(&self.store)?,
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let reader: Arc<dyn ParquetFileReaderFactory> = if state.config_options().execution.parquet.enable_page_index {
            Arc::new(ByPage { factory: reader, footers: Mutex::default() })
        } else {
            Arc::new(reader)
        };
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(reader);
        let files = self
            .files
            .iter()
            .map(|(file, meta)| {
                PartitionedFile::new_from_meta(meta.clone()).with_statistics(Arc::new(self.counted(file.rows)))
            })
            .collect();
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.counted(self.rows()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

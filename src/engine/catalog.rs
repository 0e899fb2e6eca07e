//! The lake as a catalog of SQL: a connection is a schema, an object a table, opened when a query names it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::CatalogProvider;
use datafusion::catalog::SchemaProvider;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::error::Result as DataFusionResult;

use crate::config::nearest;
use crate::error::Error;
use crate::error::Result;
use crate::land::Lake;
use crate::land::Snapshot;
use crate::land::TableName;

/// The tables of a lake, as they were when it was listed; newer ones are found by name all the same.
#[derive(Debug)]
pub struct LakeCatalog {
    lake: Lake,
    known: Arc<BTreeMap<String, BTreeSet<String>>>,
}

impl LakeCatalog {
    /// Lists `lake`.
    pub async fn list(lake: &Lake) -> Result<Self> {
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in lake.tables().await? {
            known.entry(name.connection).or_default().insert(name.table);
        }
        Ok(Self { lake: lake.clone(), known: Arc::new(known) })
    }

    /// The newest version of `connection.table`, or why there is none.
    pub(crate) async fn newest(&self, name: &TableName) -> Result<Snapshot> {
        let found = self.lake.snapshot(name).await?;
        found.ok_or_else(|| self.unknown(&name.connection, &name.table))
    }

    /// Version `version` of `connection.table`, or why there is none.
    pub(crate) async fn at(&self, name: &TableName, version: i64) -> Result<Snapshot> {
        self.newest(name).await?;
        self.lake.snapshot_at(name, version).await
    }

    fn unknown(&self, connection: &str, table: &str) -> Error {
        let error = Error::config(format!("the lake has no table `{connection}.{table}`"));
        let all: Vec<String> = self
            .known
            .iter()
            .flat_map(|(connection, tables)| tables.iter().map(move |table| format!("{connection}.{table}")))
            .collect();
        let inside = self.known.get(connection).into_iter().flatten().map(String::as_str);
        let meant = nearest(table, inside)
            .map(|table| format!("{connection}.{table}"))
            .or_else(|| nearest(&format!("{connection}.{table}"), all.iter().map(String::as_str)).map(str::to_owned))
            .or_else(|| all.iter().find(|name| name.ends_with(&format!(".{table}"))).cloned());
        match meant {
            Some(name) => error.hint(format!("did you mean `lake.{name}`?")),
            None if all.is_empty() => error.hint("the lake is empty; a run fills it"),
            None => error.hint(format!("it has {}", all.join(", "))),
        }
    }
}

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        // Unknown names as well: the table can then say what is near.
        Some(Arc::new(Connection {
            catalog: Self { lake: self.lake.clone(), known: Arc::clone(&self.known) },
            name: name.to_owned(),
        }))
    }
}

/// The tables of one connection.
#[derive(Debug)]
struct Connection {
    catalog: LakeCatalog,
    name: String,
}

#[async_trait]
impl SchemaProvider for Connection {
    fn table_names(&self) -> Vec<String> {
        self.catalog.known.get(&self.name).into_iter().flatten().cloned().collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Ok(table) = TableName::new(&self.name, name) else {
            return Err(self.catalog.unknown(&self.name, name).into());
        };
        Ok(Some(self.catalog.newest(&table).await?.current()?))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.catalog.known.get(&self.name).is_some_and(|tables| tables.contains(name))
    }
}

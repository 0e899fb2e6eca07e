//! The deeper check: both systems are logged in to and every field of a job is looked up in them. Nothing is written.

use std::collections::BTreeMap;

use crate::config::job::Job;
use crate::error::Result;
use crate::extract::gainsight;
use crate::extract::salesforce::{self, SourceRequest};
use crate::matching;
use crate::matching::MatchInputs;

use super::mirror;
use super::world::World;

/// Checks `job` against the org and the tenant.
pub async fn check_online(world: &World, job: &Job) -> Result<()> {
    let client = world.salesforce(&job.salesforce).await?;
    let request = SourceRequest {
        object: job.source.object.clone(),
        fields: job.source.fields.clone(),
        condition: job.source.condition.clone(),
        from: None,
        until: None,
    };
    let at = |error: crate::error::Error| error.context("job", job.name.clone());
    let prepared = salesforce::prepare(&client, &request).await.map_err(at)?;
    let metadata = world.metadata(job).await.map_err(at)?;
    let mut mirrors = BTreeMap::new();
    for (object, metadata) in &metadata {
        let fields: Vec<_> = mirror::fields_of(world, &job.gainsight, object).into_iter().collect();
        mirrors.insert(object.clone(), gainsight::mirror_schema(metadata, &fields).map_err(at)?);
    }
    let person_key = job.target.person_key();
    matching::compile(&MatchInputs { job, source: &prepared.schema, mirrors: &mirrors, person_key: &person_key })
        .map_err(at)?;
    world.reporter.end(&job.name, "check", "fits both systems");
    Ok(())
}

//! `sf2gs init [DIR]`.

use std::path::PathBuf;

use clap::Args;

use crate::config::project::{NewProject, SecretPlace};
use crate::error::Result;

use super::{Outcome, Shared, output};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// Folder to make the project in
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The org's custom domain, such as https://example.my.salesforce.com
    #[arg(long, value_name = "URL")]
    salesforce: Option<String>,
    /// Consumer key of the connected app
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The tenant, such as https://example.gainsightcloud.com
    #[arg(long, value_name = "URL")]
    gainsight: Option<String>,
}

pub(super) fn init(shared: &Shared, arguments: InitArguments) -> Result<Outcome> {
    let project = NewProject {
        salesforce_domain: arguments.salesforce,
        salesforce_client_id: arguments.client_id,
        gainsight_url: arguments.gainsight,
        secrets: SecretPlace::Env,
        unlimited: false,
        people_async_is_bulk: true,
        bulk: None,
    };
    let files = project.write(&arguments.dir)?;
    for file in &files {
        output::line(&file.display().to_string())?;
    }
    if !shared.quiet {
        output::tell(&format!(
            "next: edit {dir}/sf2gs.toml, then\n  sf2gs -C {dir} check\n  sf2gs -C {dir} check --online\n  sf2gs -C {dir} run salesforce_company_person_sync",
            dir = arguments.dir.display()
        ));
    }
    Ok(Outcome::Done)
}

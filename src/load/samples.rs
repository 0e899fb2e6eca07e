//! Verdicts for unit tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;

use crate::config::connection::BulkJob;
use crate::config::connection::GainsightAuth;
use crate::config::connection::GainsightConnection;
use crate::config::connection::GainsightLimits;
use crate::config::job::FieldMap;
use crate::config::job::Job;
use crate::config::job::OnDelete;
use crate::config::job::OnNull;
use crate::config::job::Operation;
use crate::config::job::SecretRef;
use crate::config::job::Source;
use crate::config::job::Target;
use crate::config::job::TargetField;
use crate::config::job::TargetObject;
use crate::connect::gainsight::DataType;
use crate::connect::gainsight::FieldMetadata;
use crate::connect::gainsight::ObjectMetadata;
use crate::connect::gainsight::PicklistOption;

/// Verdict, Name, SfdcAccountId, Stage, changed.
pub(super) type CompanyRow<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

pub(super) type Metadata = BTreeMap<String, Arc<ObjectMetadata>>;

/// A batch of verdicts over companies, with its job and metadata. Source ids are `s0`, `s1`, …
pub(super) fn companies(rows: &[CompanyRow<'_>]) -> (RecordBatch, Job, Metadata) {
    let column = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let ids: Vec<String> = (0..rows.len()).map(|row| format!("s{row}")).collect();
    let gsids: Vec<_> =
        rows.iter().enumerate().map(|(at, row)| (row.0 == "update").then(|| format!("{at:036}"))).collect();
    let batch = RecordBatch::try_from_iter([
        ("source_id", column(ids.iter().map(|id| Some(id.as_str())).collect())),
        ("verdict", column(rows.iter().map(|row| Some(row.0)).collect())),
        ("gsid", column(gsids.iter().map(|gsid| gsid.as_deref()).collect())),
        ("changed", column(rows.iter().map(|row| row.4).collect())),
        ("clears", Arc::new(BooleanArray::from(vec![false; rows.len()]))),
        ("set.company.Name", column(rows.iter().map(|row| Some(row.1)).collect())),
        ("set.company.SfdcAccountId", column(rows.iter().map(|row| row.2).collect())),
        ("set.company.Stage", column(rows.iter().map(|row| row.3).collect())),
    ])
    .unwrap();
    let mut name = FieldMetadata::new("Name", DataType::String);
    name.length = Some(250);
    let mut stage = FieldMetadata::new("Stage", DataType::Picklist);
    stage.options = vec![PicklistOption { gsid: "1I00ADOPTING".into(), label: "Adopting".into(), active: true }];
    let fields = vec![
        FieldMetadata::new("Gsid", DataType::Gsid),
        name,
        FieldMetadata::new("SfdcAccountId", DataType::SfdcId),
        stage,
    ];
    let metadata = Arc::new(ObjectMetadata::new("company", "Company", fields));
    let target = TargetObject::Object("company".into());
    let job =
        job(target, &[("company", "Name", false), ("company", "SfdcAccountId", true), ("company", "Stage", false)]);
    (batch, job, [("company".to_owned(), metadata)].into())
}

/// A job with these mappings: object, field, identifier.
pub(super) fn job(object: TargetObject, maps: &[(&str, &str, bool)]) -> Job {
    let maps = maps
        .iter()
        .map(|(object, field, identifier)| FieldMap {
            from: (*field).to_owned(),
            to: TargetField { object: (*object).to_owned(), field: (*field).to_owned() },
            identifier: *identifier,
            on_null: OnNull::Overwrite,
        })
        .collect();
    Job {
        name: "test_sync".into(),
        title: "Test Sync".into(),
        salesforce: "salesforce".into(),
        gainsight: "gainsight".into(),
        depends_on: Vec::new(),
        source: Source {
            object: "Account".into(),
            table: "account".into(),
            fields: vec!["Id".into()],
            condition: None,
        },
        target: Target {
            object,
            operation: Operation::Upsert,
            on_null: OnNull::Overwrite,
            on_delete: OnDelete::Ignore,
            maps,
            derives: Vec::new(),
        },
    }
}

/// A connection with the documented quotas and a bulk job for companies.
pub(super) fn connection() -> GainsightConnection {
    GainsightConnection {
        name: "gainsight".into(),
        url: "http://127.0.0.1:1/".parse().unwrap(),
        auth: GainsightAuth::AccessKey(SecretRef::Env("GS_ACCESS_KEY".into())),
        limits: GainsightLimits::default(),
        bulk_jobs: [("company".to_owned(), BulkJob { id: "job-1".into(), keys: vec!["SfdcAccountId".into()] })].into(),
        bulk_login: Some("admin@example.com".into()),
        bulk_org_id: Some("org".into()),
        person_key: vec!["Email".into()],
        people_async_is_bulk: true,
    }
}

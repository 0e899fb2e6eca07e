//! Fingerprints of a job, by which a change between two runs is seen.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::job::{Job, OnDelete, OnMissing, OnMultiple, OnNull, Operation};

impl Job {
    /// What is read: connection, object, table, fields whatever their order, condition. Another one means that the rows
    /// that were landed are not those that are wanted: everything is read again.
    pub fn source_hash(&self) -> String {
        fingerprint(&self.source_words())
    }

    /// What is read and what becomes of it. Another one means that every row must be decided again, although the source
    /// need not be read again.
    pub fn spec_hash(&self) -> String {
        let target = &self.target;
        let maps: Vec<Value> = target
            .maps
            .iter()
            .map(|map| json!([map.from, map.to.to_string(), map.identifier, on_null(map.on_null)]))
            .collect();
        let derives: Vec<Value> = target
            .derives
            .iter()
            .map(|derive| {
                let pairs: Vec<Value> = derive.pairs.iter().map(|pair| json!([pair.from, pair.to])).collect();
                json!([
                    derive.to.to_string(),
                    derive.lookup,
                    pairs,
                    match derive.on_multiple {
                        OnMultiple::Any => "any",
                        OnMultiple::Error => "error",
                    },
                    match derive.on_missing {
                        OnMissing::Null => "null",
                        OnMissing::Reject => "reject",
                        OnMissing::Keep => "keep",
                    },
                ])
            })
            .collect();
        let operation = match target.operation {
            Operation::Upsert => "upsert",
            Operation::Insert => "insert",
            Operation::Update => "update",
        };
        let on_delete = match target.on_delete {
            OnDelete::Ignore => "ignore",
        };
        fingerprint(&json!([
            "job 1",
            self.source_words(),
            self.gainsight,
            target.object.to_string(),
            operation,
            on_null(target.on_null),
            on_delete,
            maps,
            derives,
        ]))
    }

    fn source_words(&self) -> Value {
        let mut fields = self.source.fields.clone();
        fields.sort_unstable();
        json!(["source 1", self.salesforce, self.source.object, self.source.table, fields, self.source.condition])
    }
}

fn on_null(rule: OnNull) -> &'static str {
    match rule {
        OnNull::Overwrite => "overwrite",
        OnNull::Keep => "keep",
    }
}

/// JSON keeps apart what would run together when it is only joined. 128 bits are plenty for "has it changed".
fn fingerprint(words: &Value) -> String {
    let digest = Sha256::digest(words.to_string());
    digest.iter().take(16).fold(String::new(), |mut text, byte| {
        if write!(text, "{byte:02x}").is_err() {
            text.clear();
        }
        text
    })
}

//! What the Bulk API does not take although SOQL has it, and which objects it can read in chunks.

use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::soql::Bound;
use crate::sandbox::salesforce::soql::Query;
use crate::sandbox::salesforce::soql::Selected;
use crate::sandbox::salesforce::store::Store;

/// Refuses clauses and functions.
pub(super) fn clauses(query: &Query) -> Result<(), ApiError> {
    let no = |what: &str| Err(ApiError::new(400, "API_ERROR", format!("Implementation restriction: {what}")));
    for selected in &query.selected {
        match selected {
            Selected::Field(_) => {}
            Selected::Count(_) | Selected::Function(_) => {
                return no("Aggregate Relationships not supported in Bulk Query");
            }
            Selected::Fields(_) => return no("FIELDS() is not supported in Bulk Query"),
            Selected::Subquery(_) => return no("Nested Query is not supported in Bulk Query"),
            Selected::TypeOf(_) => return no("TYPEOF is not supported in Bulk Query"),
        }
    }
    if query.group_by.is_some() {
        return no("GROUP BY is not supported in Bulk Query");
    }
    if query.offset.is_some() {
        return no("OFFSET is not supported in Bulk Query");
    }
    Ok(())
}

/// Refuses fields.
pub(super) fn fields(store: &Store, bound: &Bound) -> Result<(), ApiError> {
    if bound.outputs.iter().any(|output| output.path.definition(&store.schema).is_compound()) {
        return Err(ApiError::new(400, "INVALID_FIELD", "Selecting compound data not supported in Bulk Query"));
    }
    Ok(())
}

/// Standard objects of the sandbox's schema that the service lists as supported by PK chunking.
const CHUNKABLE: [&str; 8] = ["Account", "AccountTeamMember", "Case", "Contact", "Lead", "Opportunity", "Task", "User"];

/// Whether a query of this object can be split by ids.
pub(super) fn chunkable(object: &str) -> bool {
    object.ends_with("__c") || CHUNKABLE.contains(&object)
}

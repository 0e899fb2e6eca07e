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

/// Objects that the service lists as unknown to its Bulk API.
const UNSUPPORTED: [&str; 12] = [
    "AcceptedEventRelation",
    "Attachment",
    "CaseStatus",
    "ContractStatus",
    "DeclinedEventRelation",
    "OrderStatus",
    "PartnerRole",
    "RecentlyViewed",
    "TaskPriority",
    "TaskStatus",
    "UndecidedEventRelation",
    "UserRecordAccess",
];

/// Refuses objects that the Bulk API does not know although the org has them.
pub(super) fn supported(object: &str) -> Result<(), ApiError> {
    if UNSUPPORTED.contains(&object) {
        let text = format!("Entity '{object}' is not supported by the Bulk API.");
        return Err(ApiError::new(400, "INVALIDENTITY", text));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_without_bulk_api_are_refused_in_the_words_that_clients_look_for() {
        assert_eq!(supported("Account"), Ok(()));
        let refusal = supported("CaseStatus").unwrap_err();
        assert_eq!((refusal.status, refusal.code), (400, "INVALIDENTITY"));
        assert_eq!(refusal.message, "Entity 'CaseStatus' is not supported by the Bulk API.");
        assert!(chunkable("Account") && chunkable("Renewal__c") && !chunkable("Organization"));
    }
}

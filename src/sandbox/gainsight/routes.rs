//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::routing::post;
use axum::routing::put;
use tower::layer::layer_fn;

use super::bulk_export;
use super::bulk_import;
use super::control;
use super::gate;
use super::gate::Gated;
use super::meta;
use super::objects;
use super::people;
use super::people_jobs;
use super::tenant::Tenant;
use super::users;

/// All routes of a tenant.
pub(super) fn router(tenant: &Arc<Tenant>) -> Router {
    let behind = Arc::clone(tenant);
    let api = Router::new()
        .route("/v1/data/objects/{object}", post(objects::insert).put(objects::update))
        .route("/v1/data/objects/{object}/", get(objects::no_id).delete(objects::no_id))
        .route("/v1/data/objects/{object}/{gsid}", get(objects::get).delete(objects::delete))
        .route("/v1/data/objects/query/{object}", post(objects::query))
        .route("/v1/meta/services/objects/list", get(meta::list))
        .route("/v1/meta/services/objects", post(meta::list_long))
        .route("/v1/meta/services/objects/", post(meta::list_long))
        .route("/v1/meta/services/objects/describe", post(meta::describe_many))
        .route("/v1/meta/services/objects/{object}/describe", get(meta::describe))
        .route("/v1/meta/services/dropdowns/{category}", get(meta::dropdown))
        .route("/v1/users/services", post(users::create).put(users::update))
        .route("/v1/users/services/status", put(users::status))
        .route("/v1/users/services/list", post(users::list))
        .route("/v1/peoplemgmt/v1.0/people", put(people::put_one).get(people::get_by_email))
        .route("/v1/peoplemgmt/v1.0/people/{gsid}", get(people::get))
        .route("/v1/peoplemgmt/v1.0/people/async", put(people_jobs::put_many).delete(people_jobs::delete_many))
        .route("/v1/peoplemgmt/v1.0/people/async/status/{id}", get(people_jobs::status))
        .route("/v1.0/api/people", put(people::put_one).get(people::ping))
        .route("/v1.0/admin/connector/job/bulkimport", post(bulk_import::start))
        .route("/v1.0/admin/connector/job/bulkimport/status/{id}", get(bulk_import::status))
        // The page prints this one with two slashes.
        .route("//v1.0/admin/connector/job/bulkimport/status/{id}", get(bulk_import::status))
        .route("/v1.0/admin/connector/job/bulkimport/failed/{id}", get(bulk_import::failed_rows))
        .route("/v3/exports/data/bulk/{object}", post(bulk_export::start))
        .route("/v3/exports/data/bulk/status/{id}", get(bulk_export::status))
        .route("/v3/exports/data/bulk/chunk/{id}/{number}", get(bulk_export::chunk))
        .method_not_allowed_fallback(gate::nowhere)
        .route_layer(layer_fn(move |inner| Gated { tenant: Arc::clone(&behind), inner }));
    let open = Router::new()
        .route("/v1/users/m2m/oauth/token", post(gate::token))
        .route("/__sandbox/calls", get(control::calls))
        .route("/__sandbox/counts", get(control::counts))
        .route("/__sandbox/dump/{object}", get(control::dump))
        .route("/__sandbox/empty", post(control::empty))
        .route("/__sandbox/switches", get(control::switches).put(control::set_switches))
        .route("/__sandbox/quotas", get(control::quotas).put(control::set_quotas));
    api.merge(open).fallback(gate::nowhere).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(tenant))
}

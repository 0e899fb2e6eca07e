//! Connections, right and wrong.

use sf2gs::config::connection::{GainsightAuth, SalesforceAuth};
use sf2gs::config::job::SecretRef;
use sf2gs::config::project::Project;

use super::Folder;

#[test]
fn connections_are_checked() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("type = \"salesforce\"", "type = \"salesforec\"", "connections.salesforce.type", "did you mean `salesforce`?"),
        ("org = \"production\"", "org = \"prod\"", "connections.salesforce.org", "production, sandbox"),
        (
            "auth = \"refresh_token\" ",
            "auth = \"client_credentials\" ",
            "connections.salesforce.refresh_token",
            "change `auth`",
        ),
        (
            "client_secret = { env = \"SF_CLIENT_SECRET\" }",
            "client_secret = \"hunter2\"",
            "connections.salesforce.client_secret",
            "env = \"SF_CLIENT_SECRET\"",
        ),
        (
            "client_secret = { env = \"SF_CLIENT_SECRET\" }",
            "client_secret = { env = \"A\", file = \"b\" }",
            "connections.salesforce.client_secret",
            "env = \"SF_CLIENT_SECRET\"",
        ),
        (
            "client_secret = { env = \"SF_CLIENT_SECRET\" }",
            "client_secret = { environment = \"A\", file = \"b\" }",
            "connections.salesforce.client_secret.environment",
            "env, file",
        ),
        (
            "url = \"https://your-company.gainsightcloud.com\"",
            "url = \"http://your-company.gainsightcloud.com\"",
            "connections.gainsight.url",
            "write https://your-company.gainsightcloud.com",
        ),
        ("auth = \"access_key\" ", "auth = \"accesskey\" ", "connections.gainsight.auth", "did you mean `access_key`?"),
        ("access_key = {", "acess_key = {", "connections.gainsight.acess_key", "did you mean `access_key`?"),
        ("person_key = [\"Email\"]", "person_key = []", "connections.gainsight.person_key", "person_key = [\"Email\"]"),
        ("people_async = \"bulk\"", "people_async = \"none\"", "connections.gainsight.people_async", "bulk, sync"),
        (
            "# limits = { sync_per_minute = 100, bulk",
            "limits = { sync_per_minute = 0, bulk",
            "connections.gainsight.limits.sync_per_minute",
            "from 1 to",
        ),
        (
            "# limits = { sync_per_minute = 100, bulk",
            "limits = { sync_per_minute = \"none\", bulk",
            "connections.gainsight.limits.sync_per_minute",
            "\"unlimited\"",
        ),
        ("memory_limit = \"2GB\"", "memory_limit = \"much\"", "engine.memory_limit", "\"2GB\""),
        ("memory_limit = \"2GB\"", "memory_limit = \"2MB\"", "engine.memory_limit", "64MB"),
        ("memory_limit = \"2GB\"", "threads = 0", "engine.threads", "from 1 to"),
        (
            "url = \".sf2gs/lake\"",
            "options = { aws_secret_access_key = \"hunter2\" }",
            "lake.options.aws_secret_access_key",
            "AWS_SECRET_ACCESS_KEY",
        ),
        ("[engine]", "[engin]", "engin", "did you mean `engine`?"),
        ("org = \"production\" ", "lag = \"2h\" ", "connections.salesforce.lag", "at most 1h"),
        ("org = \"production\" ", "api_version = \"latest\" ", "connections.salesforce.api_version", "\"62.0\""),
    ];
    for (old, new, place, hint) in cases {
        let folder = Folder::new();
        folder.replace("sf2gs.toml", old, new);
        let problems = Project::load(folder.path()).map(|_| ()).expect_err(new);
        assert!(problems.list().iter().any(|p| p.path == *place && p.hint.contains(hint)), "{new}: {problems}");
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
        let others: Vec<_> = problems.list().iter().filter(|p| p.file != "sf2gs.toml").collect();
        assert!(others.is_empty(), "{new}: a mistake in a connection is not a job's: {problems}");
    }
}

#[test]
fn every_way_to_log_in_is_read() {
    let folder = Folder::new();
    folder.edit("sf2gs.toml", |text| {
        let end = text.find("# User, then Company").unwrap();
        format!(
            "{}{}",
            r#"
[connections.salesforce]
type = "salesforce"
org = "sandbox"
auth = "refresh_token"
client_id = "id"

[connections.jwt]
type = "salesforce"
domain = "acme.my.salesforce.com"
auth = "jwt_bearer"
client_id = "id"
username = "me@acme.com"
private_key = { file = "key.pem" }
lag = "1m"
page_rows = 1000
api_version = "v63.0"

[connections.own]
type = "salesforce"
domain = "acme.my.salesforce.com"
auth = "client_credentials"
client_id = "id"
client_secret = { ledger = "secret" }

[connections.gainsight]
type = "gainsight"
url = "acme.gainsightcloud.com"
auth = "m2m"
client_id = "id"
client_secret = { env = "GS" }
limits = { sync_per_minute = "unlimited", users_per_hour = 5, concurrency = 2 }
"#,
            &text[end..]
        )
    });
    let project = folder.load();
    let salesforce = |name: &str| &project.salesforce[name];
    assert_eq!(salesforce("salesforce").login_url.as_str(), "https://test.salesforce.com/");
    assert_eq!(salesforce("salesforce").api_version, "62.0");
    assert_eq!(
        salesforce("salesforce").auth,
        SalesforceAuth::RefreshToken {
            client_id: "id".into(),
            client_secret: None,
            refresh_token: SecretRef::Ledger("refresh_token".into()),
        }
    );
    assert_eq!(
        salesforce("jwt").auth,
        SalesforceAuth::JwtBearer {
            client_id: "id".into(),
            username: "me@acme.com".into(),
            private_key: SecretRef::File("key.pem".into()),
        }
    );
    let jwt = salesforce("jwt");
    assert_eq!(
        (jwt.lag.as_secs(), jwt.overlap.as_secs(), jwt.page_rows, jwt.api_version.as_str()),
        (60, 600, 1000, "63.0")
    );
    assert_eq!(
        salesforce("own").auth,
        SalesforceAuth::ClientCredentials { client_id: "id".into(), client_secret: SecretRef::Ledger("secret".into()) }
    );
    let gainsight = &project.gainsight["gainsight"];
    assert_eq!(
        gainsight.auth,
        GainsightAuth::M2m { client_id: "id".into(), client_secret: SecretRef::Env("GS".into()) }
    );
    let limits = &gainsight.limits;
    assert_eq!(
        (limits.sync_per_minute, limits.users_per_hour, limits.sync_per_day, limits.concurrency),
        (None, Some(5), Some(50_000), 2)
    );
    // Three Salesforce connections: the jobs take the one with the usual name.
    assert_eq!(project.jobs["user_sync"].salesforce, "salesforce");

    folder.replace("sf2gs.toml", "[connections.salesforce]", "[connections.first]");
    let told = folder.messages();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("several salesforce connections"), "{told:?}");
    folder.replace("sf2gs.toml", "domain = \"acme.my.salesforce.com\"\nauth = \"client", "auth = \"client");
    assert!(folder.problems().contains("client credentials work on a custom domain only"), "{}", folder.problems());
}

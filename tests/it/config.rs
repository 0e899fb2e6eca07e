//! Projects, right and wrong, as their folders are read.

use std::path::Path;

use sf2gs::config::connection::{BulkJob, GainsightAuth, SalesforceAuth};
use sf2gs::config::job::{Job, OnMissing, OnMultiple, OnNull, Operation, SecretRef, TargetObject};
use sf2gs::config::project::{BulkTemplate, NewProject, OnFailure, Project, SecretPlace, embedded_files};
use sf2gs::config::secrets::write_secret_file;
use sf2gs::error::{Error, ErrorKind};

struct Folder(tempfile::TempDir);

impl Folder {
    /// The out-of-the-box project.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        blank(SecretPlace::Env).write(folder.path()).expect("a new project");
        folder
    }

    /// A project whose only job is `job`.
    fn with_job(job: &str) -> Self {
        let folder = Self::new();
        for file in ["user_sync", "company_sync", "company_person_sync"] {
            std::fs::remove_file(folder.path().join(format!("pipelines/{file}.toml"))).expect("a job less");
        }
        folder.edit("sf2gs.toml", |text| text[..text.find("# User, then Company").expect("the chain")].to_owned());
        folder.write("pipelines/job.toml", job);
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path().join(file), text).expect("a file");
    }

    fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let text = std::fs::read_to_string(self.path().join(file)).expect("a file");
        let changed = change(&text);
        assert_ne!(text, changed, "the edit of {file} changes nothing");
        self.write(file, &changed);
    }

    fn replace(&self, file: &str, old: &str, new: &str) {
        self.edit(file, |text| text.replace(old, new));
    }

    fn load(&self) -> Project {
        Project::load(self.path()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// What a person sees.
    fn problems(&self) -> String {
        match Project::load(self.path()) {
            Ok(_) => "no problems".to_owned(),
            Err(problems) => problems.to_string(),
        }
    }

    /// The problems, one `place: message` each, in order.
    fn messages(&self) -> Vec<String> {
        let problems = Project::load(self.path()).expect_err("problems");
        problems.list().iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
    }
}

fn blank(secrets: SecretPlace) -> NewProject {
    NewProject {
        salesforce_domain: None,
        salesforce_client_id: None,
        gainsight_url: None,
        secrets,
        unlimited: false,
        people_async_is_bulk: true,
        bulk: None,
    }
}

const COMPANY: &str = r#"name = "company_sync"

[source]
object = "Account"
fields = ["Id", "Name"]

[target]
object = "company"

[[target.map]]
from = "Id"
to = "SfdcAccountId"
identifier = true

[[target.map]]
from = "Name"
to = "Name"
"#;

fn direct(job: &Job) -> Vec<String> {
    let star = |key| if key { "★" } else { "" };
    job.target.maps.iter().map(|map| format!("{} → {}{}", map.from, map.to, star(map.identifier))).collect()
}

fn derived(job: &Job) -> Vec<String> {
    let one = |derive: &sf2gs::config::job::Derive| {
        let pairs: Vec<_> = derive.pairs.iter().map(|pair| format!("{} = {}", pair.from, pair.to)).collect();
        format!(
            "{} ← {} by {}; {:?}, {:?}",
            derive.to,
            derive.lookup,
            pairs.join(" and "),
            derive.on_multiple,
            derive.on_missing
        )
    };
    job.target.derives.iter().map(one).collect()
}

/// The mappings of the article, in its order.
#[test]
fn the_out_of_the_box_jobs_carry_exactly_the_mappings_of_the_article() {
    let project = Folder::new().load();
    assert!(project.warnings().is_empty(), "{:?}", project.warnings());
    assert_eq!(project.jobs.keys().collect::<Vec<_>>(), ["company_person_sync", "company_sync", "user_sync"]);

    let user = &project.jobs["user_sync"];
    assert_eq!((user.title.as_str(), user.source.object.as_str()), ("User Sync", "User"));
    assert_eq!(user.source.condition.as_deref(), Some("UserType = 'Standard' AND IsActive = TRUE"));
    assert_eq!(user.target.object, TargetObject::User);
    assert_eq!(
        direct(user),
        [
            "FirstName → gsuser.FirstName",
            "LastName → gsuser.LastName",
            "Email → gsuser.Email",
            "TimeZoneSidKey → gsuser.Timezone",
            "Username → gsuser.SFDCUserName★",
            "LocaleSidKey → gsuser.Locale",
            "Title → gsuser.Title",
            "Id → avatar.SfdcUserId",
        ]
    );
    assert_eq!(derived(user), ["gsuser.Manager ← gsuser by ManagerId = SfdcUserId; Any, Null"]);

    let company = &project.jobs["company_sync"];
    assert_eq!((company.title.as_str(), company.source.object.as_str()), ("Company Sync", "Account"));
    assert_eq!(company.depends_on, ["user_sync"]);
    assert_eq!(company.target.object, TargetObject::Object("company".into()));
    assert_eq!(
        direct(company),
        ["Id → company.SfdcAccountId★", "Name → company.Name", "NumberOfEmployees → company.Employees"]
    );
    assert!(company.target.derives.is_empty());

    let person = &project.jobs["company_person_sync"];
    assert_eq!((person.title.as_str(), person.source.object.as_str()), ("Company Person Sync", "Contact"));
    assert_eq!(person.depends_on, ["company_sync"]);
    assert_eq!(person.target.object, TargetObject::People);
    assert_eq!(
        direct(person),
        [
            "FirstName → person.FirstName",
            "LastName → person.LastName",
            "Email → person.Email★",
            "Id → company_person.ExternalContactId",
            "AccountId → company_person.ExternalAccountId",
        ]
    );
    assert_eq!(
        derived(person),
        [
            "company_person.Company_ID ← company by AccountId = SfdcAccountId; Error, Reject",
            "company_person.Manager ← company_person by ReportsToId = ExternalContactId and AccountId = ExternalAccountId; Any, Null",
        ]
    );
    for job in project.jobs.values() {
        assert_eq!((job.salesforce.as_str(), job.gainsight.as_str()), ("salesforce", "gainsight"));
        assert_eq!((job.target.operation, job.target.on_null), (Operation::Upsert, OnNull::Overwrite));
        assert_eq!(job.source.fields[0], "Id");
        assert_eq!(job.source.table, job.source.object.to_lowercase());
    }
    let chain = &project.chains["salesforce_company_person_sync"];
    assert_eq!(chain.title, "Salesforce_Company Person Sync");
    assert_eq!(chain.jobs, ["user_sync", "company_sync", "company_person_sync"]);
    assert_eq!(chain.on_failure, OnFailure::Stop);
}

#[test]
fn a_new_project_reads_back_as_it_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new \"folder\"");
    let new = NewProject {
        salesforce_domain: Some("http://127.0.0.1:8701/".into()),
        salesforce_client_id: Some("3MVG\"9".into()),
        gainsight_url: Some("http://127.0.0.1:8702".into()),
        unlimited: true,
        people_async_is_bulk: false,
        bulk: Some(BulkTemplate {
            login: "admin@example.com".into(),
            org_id: "org".into(),
            jobs: vec![("company".into(), "j1".into(), vec!["SfdcAccountId".into()])],
        }),
        ..blank(SecretPlace::Files)
    };
    let files = new.write(&root).unwrap();
    assert_eq!(files.len(), 1 + embedded_files().len());
    assert!(files.iter().all(|file| file.exists()));
    let project = Project::load(&root).unwrap();
    let salesforce = &project.salesforce["salesforce"];
    assert_eq!(salesforce.login_url.as_str(), "http://127.0.0.1:8701/");
    assert_eq!(
        salesforce.auth,
        SalesforceAuth::RefreshToken {
            client_id: "3MVG\"9".into(),
            client_secret: Some(SecretRef::File(".sf2gs/secrets/sf_client_secret".into())),
            refresh_token: SecretRef::File(".sf2gs/secrets/sf_refresh_token".into()),
        }
    );
    let gainsight = &project.gainsight["gainsight"];
    assert_eq!(gainsight.auth, GainsightAuth::AccessKey(SecretRef::File(".sf2gs/secrets/gs_access_key".into())));
    assert_eq!((gainsight.limits.sync_per_minute, gainsight.limits.concurrency), (None, 8));
    assert!(!gainsight.people_async_is_bulk);
    assert_eq!(gainsight.bulk_login.as_deref(), Some("admin@example.com"));
    assert_eq!(gainsight.bulk_jobs["company"], BulkJob { id: "j1".into(), keys: vec!["SfdcAccountId".into()] });

    let error = new.write(&root).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("sf2gs.toml") && error.message().contains("user_sync.toml"), "{error}");
    let lightning = NewProject { salesforce_domain: Some("https://acme.lightning.force.com".into()), ..new };
    let error = lightning.write(&folder.path().join("other")).unwrap_err();
    assert_eq!(error.hint_text(), Some("write https://acme.my.salesforce.com"));
    assert!(!folder.path().join("other").exists());
}

#[cfg(unix)]
#[test]
fn a_secret_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".sf2gs/secrets/key");
    write_secret_file(&file, "value").unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn five_mistakes_give_five_messages_with_file_line_and_remedy() {
    let folder = Folder::new();
    folder.replace(
        "sf2gs.toml",
        "# domain = \"https://your-domain.my.salesforce.com\"",
        "domain = \"acme.lightning.force.com\" #",
    );
    folder.write(
        "pipelines/company_sync.toml",
        r#"name = "company_sync"
depends_on = ["user_snyc"]

[source]
object = "Account"
fields = ["Id", "Name", "NumberOfEmployees"]

[target]
object = "company"

[[target.map]]
from = "Id"
to = "SfdcAccountId"
identifer = true

[[target.map]]
from = "NumberOfEmployes"
to = "Employees"

[[target.map]]
from = "Name"
to = "SfdcAccountID"
identifier = true
"#,
    );
    insta::assert_snapshot!(folder.problems(), @r"
    error: sf2gs.toml has 1 problem
      × connections.salesforce.domain (line 13): `acme.lightning.force.com` is the address of the user interface (Lightning), where programs cannot log in
        hint: write https://acme.my.salesforce.com
    error: pipelines/company_sync.toml has 4 problems
      × depends_on[0] (line 2): there is no job `user_snyc`
        hint: did you mean `user_sync`?
      × target.map[0].identifer (line 14): `identifer` is not a key here
        hint: did you mean `identifier`?
      × target.map[1].from (line 17): `NumberOfEmployes` is not one of the source's fields
        hint: did you mean `NumberOfEmployees`?
      × target.map[2].to (line 22): `company.SfdcAccountID` is mapped twice (line 13)
        hint: remove one of the two mappings
    nothing was sent to Salesforce or Gainsight
    ");
    let error = Error::from(Project::load(folder.path()).unwrap_err());
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Config, 2));
    assert_eq!(error.render(), folder.problems());
}

/// Each edit of the sound job breaks one rule; the answer is exactly one problem, with its place and its remedy.
#[test]
fn each_mistake_in_a_job_is_one_problem_with_its_remedy() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("name = \"company_sync\"", "", "name: `name` is missing", "name = \"company_sync\""),
        (
            "name = \"company_sync\"",
            "name = \"Company Sync\"",
            "name: `Company Sync` cannot name a job",
            "`company_sync`",
        ),
        ("name = \"company_sync\"", "name = 5", "name: this must be a text, but it is a number", "name = \"…\""),
        (
            "name = \"company_sync\"",
            "name = \"company_sync\"\nschedul = 1",
            "schedul: `schedul` is not a key here",
            "use one of: name, title",
        ),
        (
            "name = \"company_sync\"",
            "name = \"company_sync\"\ndepends_on = [\"company_sync\"]",
            "depends_on[0]: the job depends on itself",
            "remove",
        ),
        ("object = \"Account\"", "", "source.object: `object` is missing", "object = \"Account\""),
        ("object = \"Account\"", "object = \"My Object\"", "source.object: `My Object` is not the API name", "__c"),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"Id\", \"Name\", \"Na me\"]",
            "source.fields[2]: `Na me` is not a field",
            "API name",
        ),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"Id\", \"Name\", \"name\"]",
            "source.fields[2]: `name` is named twice",
            "remove",
        ),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"id\", \"Name\"]",
            "source.fields[0]: `id` is written `Id`",
            "`Id`",
        ),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"Name\", \"A.B.C.D.E.F.G\"]",
            "source.fields[1]: `A.B.C.D.E.F.G` goes 6 parents up",
            "nearer",
        ),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"Id\", \"Name\"]\nwhere = \"Name = 'x' LIMIT 5\"",
            "source.where: the condition holds LIMIT",
            "only a condition",
        ),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"Id\", \"Name\"]\ntable = \"My Table\"",
            "source.table: `My Table` cannot name a table",
            "`my_table`",
        ),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"Id\", \"Name\"]\nconnection = \"gainsight\"",
            "source.connection: `gainsight` is not a salesforce connection",
            "salesforce",
        ),
        (
            "fields = [\"Id\", \"Name\"]",
            "fields = [\"Id\", \"Name\"]\nconnection = \"salesforc\"",
            "source.connection: there is no connection `salesforc`",
            "did you mean `salesforce`?",
        ),
        (
            "object = \"company\"",
            "object = \"person\"",
            "target.object: `person` cannot be written alone",
            "\"people\"",
        ),
        (
            "object = \"company\"",
            "object = \"company\"\nperson_key = [\"Email\"]",
            "target.person_key: `person_key` has no effect here",
            "remove",
        ),
        (
            "object = \"company\"",
            "object = \"company\"\noperation = \"upset\"",
            "target.operation: `upset` is not a value of `operation`",
            "did you mean `upsert`?",
        ),
        (
            "object = \"company\"",
            "object = \"company\"\non_delete = \"delete\"",
            "target.on_delete: `delete` is not a value of `on_delete`",
            "ignore",
        ),
        ("identifier = true\n", "", "target: no mapping is an identifier", "identifier = true"),
        (
            "identifier = true",
            "identifier = \"yes\"",
            "target.map[0].identifier: this must be true or false, but it is a text",
            "identifier = true",
        ),
        (
            "from = \"Name\"",
            "from = \"name\"",
            "target.map[1].from: `name` is not one of the source's fields",
            "write `Name`: capital",
        ),
        (
            "from = \"Name\"",
            "from = \"Website\"",
            "target.map[1].from: `Website` is not one of the source's fields",
            "add \"Website\" to [source] fields",
        ),
        ("from = \"Name\"\n", "", "target.map[1].from: `from` is missing", "from = \"Name\""),
        (
            "to = \"Name\"",
            "to = \"person.Name\"",
            "target.map[1].to: the job does not write `person`",
            "`company.Name`",
        ),
        ("to = \"Name\"", "to = \"Full Name\"", "target.map[1].to: `Full Name` is not a field", "API name"),
        ("to = \"Name\"", "to = \"modifieddate\"", "target.map[1].to: `ModifiedDate` is filled by Gainsight", "remove"),
        (
            "to = \"Name\"",
            "to = \"SfdcAccountId\"",
            "target.map[1].to: `company.SfdcAccountId` is mapped twice (line 12)",
            "remove",
        ),
    ];
    assert_eq!(Folder::with_job(COMPANY).problems(), "no problems");
    for (old, new, message, hint) in cases {
        assert!(COMPANY.contains(old), "{old}");
        let folder = Folder::with_job(&COMPANY.replacen(old, new, 1));
        let problems = Project::load(folder.path()).map(|_| ()).expect_err(message);
        let told = folder.messages();
        assert_eq!(told.len(), 1, "{new}: {problems}");
        assert!(told[0].starts_with(message), "{new}: {problems}");
        assert!(problems.list()[0].hint.contains(hint), "{new}: {problems}");
        assert!(problems.list()[0].line.is_some(), "{new}: {problems}");
    }
}

fn derive(changes: &[(&str, &str)]) -> String {
    let mut text = r#"
[[target.derive]]
to = "Csm"
lookup = "gsuser"
match = [{ from = "Name", to = "Email" }]
on_multiple = "any"
on_missing = "null"
"#
    .to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    format!("{COMPANY}{text}")
}

#[test]
fn derived_mappings_are_checked() {
    let folder = Folder::with_job(&derive(&[]));
    let job = &folder.load().jobs["company_sync"];
    assert_eq!(derived(job), ["company.Csm ← gsuser by Name = Email; Any, Null"]);
    let pair = "{ from = \"Name\", to = \"Email\" }";
    let seven = [pair; 7].join(", ");
    let cases: &[(&str, &str, &str, &str)] = &[
        (pair, &seven, "target.derive[0].match: a derived mapping has at most 6 pairs, this one has 7", "remove some"),
        (pair, "", "target.derive[0].match: `match` is missing", "say what must be equal"),
        ("\"gsuser\"", "\"user\"", "target.derive[0].lookup: `user` is not a Gainsight object", "`gsuser`"),
        (
            "\"gsuser\"",
            "\"Company Person\"",
            "target.derive[0].lookup: `Company Person` is not a Gainsight object",
            "`company_person`",
        ),
        ("\"any\"", "\"first\"", "target.derive[0].on_multiple: `first` is not a value", "any, error"),
        (
            "on_missing = \"null\"",
            "",
            "target.derive[0].on_missing: `on_missing` is missing",
            "on_missing = \"reject\"",
        ),
        (
            "to = \"Email\"",
            "to = \"gsuser.Email\"",
            "target.derive[0].match[0].to: `gsuser.Email` is not a field",
            "alone",
        ),
        (
            "to = \"Csm\"",
            "to = \"Csm\"\nidentifier = true",
            "target.derive[0].identifier: `identifier` has no effect",
            "mark a field",
        ),
        ("to = \"Csm\"", "to = \"Name\"", "target.derive[0].to: `company.Name` is mapped twice", "remove"),
    ];
    for (old, new, message, hint) in cases {
        let folder = Folder::with_job(&derive(&[(old, new)]));
        let told = folder.messages();
        assert_eq!(told.len(), 1, "{}", folder.problems());
        assert!(told[0].starts_with(message) && folder.problems().contains(hint), "{}", folder.problems());
    }
}

#[test]
fn users_are_never_identified_by_their_avatar() {
    let folder = Folder::new();
    folder.replace(
        "pipelines/user_sync.toml",
        "to = \"avatar.SfdcUserId\"",
        "to = \"avatar.SfdcUserId\"\nidentifier = true",
    );
    assert_eq!(
        folder.messages(),
        [
            "target.map[7].identifier: `avatar.SfdcUserId` belongs to the avatar, and only fields of the user identify users"
        ]
    );
    let folder = Folder::new();
    folder.replace("pipelines/user_sync.toml", "to = \"Title\"", "to = \"SfdcUserId\"");
    assert_eq!(folder.messages(), ["target.map[7].to: `avatar.SfdcUserId` is mapped twice (line 56)"]);
}

#[test]
fn the_key_of_people_is_the_tenants_unless_the_job_has_its_own() {
    let file = "pipelines/company_person_sync.toml";
    let folder = Folder::new();
    folder.replace(file, "to = \"person.LastName\"", "to = \"person.LastName\"\nidentifier = true");
    assert_eq!(
        folder.messages(),
        ["target.map[1]: `person.LastName` is marked as identifier, but the tenant's person key is Email"]
    );
    folder.replace(file, "object = \"people\"", "object = \"people\"\nperson_key = [\"Email\", \"LastName\"]");
    assert_eq!(folder.load().jobs["company_person_sync"].target.person_key(), ["LastName", "Email"]);

    // The mappings of the key are its identifiers, marked or not.
    let folder = Folder::new();
    folder.replace(file, "identifier = true\n", "");
    assert_eq!(folder.load().jobs["company_person_sync"].target.person_key(), ["Email"]);
    folder.replace("sf2gs.toml", "person_key = [\"Email\"]", "person_key = [\"ExternalId__gc\"]");
    assert_eq!(
        folder.messages(),
        ["target: `person.ExternalId__gc` is part of the tenant's person key, but nothing is mapped to it"]
    );

    let folder = Folder::new();
    folder.replace(
        file,
        "to = \"company_person.ExternalContactId\"",
        "to = \"company_person.ExternalContactId\"\nidentifier = true",
    );
    assert!(
        folder.problems().contains("`company_person.ExternalContactId` cannot identify people"),
        "{}",
        folder.problems()
    );
    let folder = Folder::new();
    folder.replace(file, "to = \"company_person.Company_ID\"", "to = \"company_person.Other_ID\"");
    assert_eq!(
        folder.messages(),
        ["target: nothing is mapped to `company_person.Company_ID`, and people belong to companies"]
    );
    let folder = Folder::new();
    folder.replace(file, "to = \"person.FirstName\"", "to = \"FirstName\"");
    assert_eq!(
        folder.messages(),
        ["target.map[0].to: `FirstName` could belong to the person or to the company person"]
    );
}

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

#[test]
fn jobs_are_checked_against_each_other() {
    let folder = Folder::new();
    folder.write(
        "pipelines/zz.toml",
        &COMPANY.replace("company_sync", "other").replace("\"Name\"]", "\"Name\", \"Phone\"]"),
    );
    assert_eq!(
        folder.messages(),
        ["source: the job lands other fields in the table `account` that `company_sync` lands too"]
    );
    folder.replace("pipelines/zz.toml", "object = \"Account\"", "object = \"Account\"\ntable = \"account_other\"");
    folder.load();
    folder.replace("pipelines/zz.toml", "name = \"other\"", "name = \"company_sync\"");
    assert_eq!(folder.messages(), ["name: `company_sync` is the name of the job in pipelines/company_sync.toml too"]);

    let folder = Folder::new();
    folder.replace("pipelines/user_sync.toml", "title =", "depends_on = [\"company_person_sync\"]\ntitle =");
    let told = folder.messages();
    assert!(
        told.iter().any(|told| told.ends_with(
            "the jobs depend on each other in a circle: company_person_sync → company_sync → user_sync → company_person_sync"
        )),
        "{told:?}"
    );
}

#[test]
fn chains_are_checked() {
    let jobs = "jobs = [\"user_sync\", \"company_sync\", \"company_person_sync\"]";
    for (new, message) in [
        ("jobs = []", "jobs: `jobs` is missing"),
        ("jobs = [\"user_sync\", \"user_sync\"]", "jobs[1]: `user_sync` is named twice"),
        ("jobs = [\"usersync\"]", "jobs[0]: there is no job `usersync`"),
        (
            "jobs = [\"company_sync\", \"user_sync\"]",
            "jobs[0]: `company_sync` depends on `user_sync`, which comes later in the chain",
        ),
    ] {
        let folder = Folder::new();
        folder.replace("sf2gs.toml", jobs, new);
        assert_eq!(folder.messages(), [format!("chains.salesforce_company_person_sync.{message}")]);
    }
    let folder = Folder::new();
    folder.replace("sf2gs.toml", "[chains.salesforce_company_person_sync]", "[chains.user_sync]");
    assert_eq!(folder.messages(), ["chains.user_sync: there is also a job named `user_sync`"]);

    // What is allowed but probably not meant.
    let folder = Folder::new();
    folder.replace("pipelines/company_person_sync.toml", "depends_on = [\"company_sync\"]", "");
    folder.replace("sf2gs.toml", jobs, "jobs = [\"user_sync\", \"company_person_sync\", \"company_sync\"]");
    let warnings: Vec<_> = folder.load().warnings().iter().map(|warning| warning.to_string()).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    insta::assert_snapshot!(warnings[0], @r#"
    sf2gs.toml: chains.salesforce_company_person_sync.jobs[1] (line 44): `company_person_sync` looks up `company`, which `company_sync` loads later in the chain
      hint: put "company_sync" before "company_person_sync", or its new records are found only by the next run
    "#);
    folder.replace("sf2gs.toml", "\"company_person_sync\", \"company_sync\"]", "\"company_person_sync\"]");
    let project = folder.load();
    assert!(project.warnings()[0].message.contains("looks up `company`, which nothing before it in the chain loads"));
    folder.replace("sf2gs.toml", "# domain = \"https://your-domain.my", "domain = \"https://x--dev.sandbox.my");
    assert!(folder.load().warnings().iter().any(|warning| warning.message.contains("that of a sandbox")));
}

#[test]
fn files_that_cannot_be_read_do_not_make_others_wrong() {
    let folder = Folder::new();
    folder.write("pipelines/user_sync.toml", "name = \"user_sync\"\nname = \"again\"\n[source\n");
    let problems = Project::load(folder.path()).unwrap_err();
    assert!(problems.list().iter().all(|p| p.file == "pipelines/user_sync.toml"), "{problems}");
    assert_eq!(problems.list().iter().map(|p| p.line).collect::<Vec<_>>(), [Some(2), Some(3)], "{problems}");

    let folder = Folder::new();
    std::fs::remove_file(folder.path().join("sf2gs.toml")).unwrap();
    let problems = folder.problems();
    assert!(problems.starts_with("error: sf2gs.toml has 1 problem\n  × there is none in the folder"), "{problems}");
    assert!(problems.contains("`sf2gs init` makes a project"), "{problems}");

    let folder = Folder::new();
    std::fs::remove_dir_all(folder.path().join("pipelines")).unwrap();
    folder.edit("sf2gs.toml", |text| text[..text.find("# User, then Company").unwrap()].to_owned());
    assert_eq!(folder.messages(), [": the project has no job"]);
}

#[test]
fn a_change_of_the_source_and_a_change_of_the_mapping_are_told_apart() {
    let base = Folder::with_job(COMPANY).load().jobs["company_sync"].clone();
    let hashes = |old: &str, new: &str| {
        assert!(COMPANY.contains(old), "{old}");
        let job = Folder::with_job(&COMPANY.replacen(old, new, 1)).load().jobs["company_sync"].clone();
        (job.source_hash() == base.source_hash(), job.spec_hash() == base.spec_hash())
    };
    for (old, new) in [
        ("\"Name\"]", "\"Name\", \"Phone\"]"),
        ("object = \"Account\"", "object = \"Account\"\nwhere = \"Name != null\""),
        ("object = \"Account\"", "object = \"Account\"\ntable = \"other\""),
    ] {
        assert_eq!(hashes(old, new), (false, false), "{new}: everything is read again");
    }
    for (old, new) in [
        ("to = \"Name\"", "to = \"Summary\""),
        ("to = \"Name\"", "to = \"Name\"\non_null = \"keep\""),
        ("to = \"Name\"", "to = \"Name\"\nidentifier = true"),
        ("object = \"company\"", "object = \"company\"\noperation = \"insert\""),
    ] {
        assert_eq!(hashes(old, new), (true, false), "{new}: everything is compared again");
    }
    for (old, new) in [
        ("name = \"company_sync\"", "name = \"company_sync\" # a comment\ntitle = \"Other\""),
        ("fields = [\"Id\", \"Name\"]", "fields = [\"Name\"]"),
    ] {
        assert_eq!(hashes(old, new), (true, true), "{new}: nothing has changed");
    }
    let other = Folder::with_job(&derive(&[])).load().jobs["company_sync"].clone();
    let reject = Folder::with_job(&derive(&[("\"null\"", "\"reject\"")])).load().jobs["company_sync"].clone();
    assert_eq!(other.source_hash(), reject.source_hash());
    assert_ne!(other.spec_hash(), reject.spec_hash());
    assert_eq!(other.target.derives[0].on_multiple, OnMultiple::Any);
    assert_eq!(reject.target.derives[0].on_missing, OnMissing::Reject);
}

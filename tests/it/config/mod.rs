//! Projects, right and wrong, as their folders are read.

mod connections;
mod jobs;

use std::path::Path;

use sf2gs::config::connection::{BulkJob, GainsightAuth, SalesforceAuth};
use sf2gs::config::job::{Job, OnNull, Operation, SecretRef, TargetObject};
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
    assert_eq!((gainsight.limits.sync_per_minute, gainsight.limits.concurrency), (None, 16));
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
    sf2gs.toml: chains.salesforce_company_person_sync.jobs[1] (line 40): `company_person_sync` looks up `company`, which `company_sync` loads later in the chain
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

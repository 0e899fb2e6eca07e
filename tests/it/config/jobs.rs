//! Jobs, right and wrong: each by itself, against each other, and what a change of one means.

use sf2gs::config::job::{OnMissing, OnMultiple};
use sf2gs::config::project::Project;

use super::{COMPANY, Folder, derived};

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

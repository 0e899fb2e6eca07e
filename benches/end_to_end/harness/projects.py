"""Project folders of sf2gs that point at the sandboxes, one for each run."""

import json
import pathlib
import shutil
import subprocess

CHAIN = "salesforce_company_person_sync"
# With the cursor and the deletion flag, which every extract has, these are eleven columns.
EXTRACTED = ["Id", "AccountId", "FirstName", "LastName", "Email", "Title", "Phone", "MailingCity", "ReportsToId"]
CONTACTS_JOB = f"""
name = "contacts"
title = "Contacts, to be landed"

[source]
object = "Contact"
table = "contacts"
fields = {json.dumps(EXTRACTED)}

[target]
object = "people"

[[target.map]]
from = "Email"
to = "person.Email"
identifier = true

[[target.map]]
from = "Id"
to = "company_person.ExternalContactId"

[[target.derive]]
to = "company_person.Company_ID"
lookup = "company"
match = [{{ from = "AccountId", to = "SfdcAccountId" }}]
on_multiple = "error"
on_missing = "reject"
"""


class Project:
    def __init__(self, program, folder, org, tenant, more_jobs=(), quotas=False):
        self.program, self.folder = program, pathlib.Path(folder)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        subprocess.run(
            [program, "--quiet", "init", self.folder, "--salesforce", org["url"], "--client-id", org["client_id"],
             "--gainsight", tenant["url"]],
            check=True, stdout=subprocess.DEVNULL,
        )
        main = self.folder / "sf2gs.toml"
        text = main.read_text()
        jobs = "".join(
            f"\n[connections.gainsight.bulk.jobs.{job['object']}]\nid = {json.dumps(job['id'])}\nkeys = {json.dumps(job['keys'])}\n"
            for job in tenant["bulk_jobs"]
        )
        limits = "" if quotas else 'limits = "unlimited"\npeople_async = "sync"\n'
        bulk = (
            f"{limits}\n[connections.gainsight.bulk]\n"
            f"login = {json.dumps(tenant['bulk_login'])}\norg_id = {json.dumps(tenant['bulk_org_id'])}\n{jobs}\n"
        )
        begin, end = text.index('people_async = "'), text.index("# User, then Company")
        main.write_text(text[:begin] + bulk + text[end:])
        for name, job in more_jobs:
            (self.folder / "pipelines" / f"{name}.toml").write_text(job)
        self.environment = {
            "SF_CLIENT_SECRET": org["client_secret"],
            "SF_REFRESH_TOKEN": org["refresh_token"],
            "GS_ACCESS_KEY": tenant["access_key"],
            "RUST_LOG": "error",
        }

    def command(self, *arguments):
        return [self.program, "-C", self.folder, "--quiet", "--format", "json", *arguments]

    def forget(self):
        """As if it had never run."""
        shutil.rmtree(self.folder / ".sf2gs", ignore_errors=True)

    def keep(self, name):
        """Puts the state aside under a name."""
        shutil.rmtree(self.folder / f"kept-{name}", ignore_errors=True)
        shutil.copytree(self.folder / ".sf2gs", self.folder / f"kept-{name}")

    def put_back(self, name):
        self.forget()
        shutil.copytree(self.folder / f"kept-{name}", self.folder / ".sf2gs")

    def lake(self, table):
        return self.folder / ".sf2gs" / "lake" / "salesforce" / table

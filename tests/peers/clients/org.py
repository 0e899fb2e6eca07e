"""The sandbox as a process, and sf2gs itself: the real program, as a user runs it."""

import decimal
import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

from agree import Table

CHAIN = "salesforce_company_person_sync"
# What the out-of-the-box jobs read is not enough here: all fields are read, and some of parents.
PARENTS = {
    "account": ["Owner.Username", "Parent.Name"],
    "contact": ["Account.Name", "Account.Owner.Email", "ReportsTo.LastName"],
    "user": ["Manager.Username"],
    "subscription__c": ["Account__r.Name"],
}
JOBS = {
    "account": "company_sync",
    "contact": "company_person_sync",
    "user": "user_sync",
    "subscription__c": "subscription_sync",
}


class Org:
    """A running sandbox with a project that points at it."""

    def __init__(self, sf2gs, work, flags):
        self.sf2gs = sf2gs
        self.work = pathlib.Path(work)
        self.project = self.work / "project"
        self.log = open(self.work / "sandbox.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [sf2gs, "sandbox", "--format", "json", "--salesforce-port", "0", "--gainsight-port", "0", "--no-quotas"]
            + ["--init", str(self.project), *flags],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"peers: the sandbox didn't start: {(self.work / 'sandbox.log').read_text()}")
        self.settings = json.loads(line)["salesforce"]
        self.url = self.settings["url"]
        self.token = None

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()

    def call(self, method, path, body=None, form=None):
        """One call of the org, past every client."""
        request = urllib.request.Request(self.url + path, method=method)
        if self.token and not path.startswith("/__sandbox/"):
            request.add_header("Authorization", f"Bearer {self.token}")
        if form is not None:
            request.data = urllib.parse.urlencode(form).encode()
        elif body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.loads(answer.read() or "null")

    def login(self):
        app = {"client_id": self.settings["client_id"], "client_secret": self.settings["client_secret"]}
        form = {"grant_type": "client_credentials"} | app
        answer = self.call("POST", "/services/oauth2/token", form=form)
        self.token = answer["access_token"]
        return answer

    def widen(self):
        """Has the project's jobs read every field that a bulk query can read; returns the tables with their fields."""
        tables = {}
        shutil.copy(pathlib.Path(__file__).with_name("subscriptions.toml"), self.project / "pipelines" / "subscription_sync.toml")
        for table, job in JOBS.items():
            path = self.project / "pipelines" / f"{job}.toml"
            text = path.read_text()
            name = re.search(r'^object = "(\w+)"', text, re.MULTILINE)[1]
            described = self.call("GET", f"/services/data/v62.0/sobjects/{name}/describe")["fields"]
            # Bulk queries can't read compound fields.
            fields = [field["name"] for field in described if field["type"] not in ("address", "location")] + PARENTS[table]
            text = re.sub(r"^fields = \[.*?\]", f"fields = {json.dumps(fields)}", text, flags=re.MULTILINE | re.DOTALL)
            text = re.sub(r"^where = .*$", "", text, flags=re.MULTILINE)
            path.write_text(text)
            tables[table] = {"object": name, "fields": fields}
        return tables

    def tell(self, *words):
        """stdout of sf2gs. Exit code 1 says that there are rejected rows, which doesn't matter here."""
        done = subprocess.run(
            [self.sf2gs, "-C", str(self.project), "--quiet", *words],
            capture_output=True,
            text=True,
            env=os.environ | {"NO_PROXY": "127.0.0.1"},
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"peers: sf2gs {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def land(self):
        """Runs the chain and returns what the lake then holds, by table."""
        self.tell("run", CHAIN)
        self.tell("run", JOBS["subscription__c"])
        return {table: self.landed(table) for table in JOBS}

    def landed(self, table):
        columns = self.rows(
            "SELECT column_name, data_type FROM information_schema.columns "
            f"WHERE table_catalog = 'lake' AND table_schema = 'salesforce' AND table_name = '{table}'"
        )
        types = {row["column_name"]: row["data_type"] for row in columns if not row["column_name"].startswith("_sf2gs_")}
        return Table(types, self.rows(f"SELECT * FROM lake.salesforce.{table}"))

    def rows(self, query):
        return json.loads(self.tell("sql", "--format", "json", query), parse_float=decimal.Decimal)

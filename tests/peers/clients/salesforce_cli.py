"""The Salesforce CLI, `sf`: logins, describes, queries, bulk exports and imports, trees."""

import csv
import json
import os
import pathlib
import subprocess
import urllib.parse
import urllib.request

from driver import Driver, flat
from trees import export_trees, import_trees

ALIAS = "peers"


class Cli:
    """`sf` with a home of its own, so that a person's logins are neither seen nor touched."""

    def __init__(self, driver):
        self.settings = driver.settings
        self.folder = driver.folder
        home = pathlib.Path(driver.settings["work"]) / "cli-home"
        home.mkdir(exist_ok=True)
        self.environment = {
            "PATH": os.pathsep.join([driver.settings["node"], os.environ["PATH"]]),
            "HOME": str(home),
            "SF_USE_GENERIC_UNIX_KEYCHAIN": "true",
            "SF_DISABLE_TELEMETRY": "true",
            "SF_AUTOUPDATE_DISABLE": "true",
            "SF_SKIP_NEW_VERSION_CHECK": "true",
            "SF_DISABLE_LOG_FILE": "true",
        }

    def run(self, *words, org=True, **environment):
        """The result of `sf WORDS --json`."""
        command = ["sf", *words, "--json"] + (["--target-org", ALIAS] if org else [])
        done = subprocess.run(
            command, env=self.environment | environment, cwd=self.folder, capture_output=True, text=True, timeout=180
        )
        try:
            answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise AssertionError(f"sf {' '.join(words)}: {done.stdout}{done.stderr}") from None
        if answer.get("status") != 0:
            raise AssertionError(f"sf {' '.join(words)}: {answer.get('name')}: {answer.get('message')}")
        return answer["result"]


def access_token(settings):
    form = {
        "grant_type": "refresh_token",
        "client_id": settings["client_id"],
        "client_secret": settings["client_secret"],
        "refresh_token": settings["refresh_token"],
    }
    body = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(f"{settings['url']}/services/oauth2/token", body) as answer:
        return json.load(answer)["access_token"]


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def write_csv(path, records):
    with open(path, "w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, records[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def logins(driver, cli):
    settings = driver.settings
    user, url = settings["username"], settings["url"]
    with driver.operation("org login access-token") as operation:
        words = ["org", "login", "access-token", "--instance-url", url, "--no-prompt", "--alias", ALIAS]
        result = cli.run(*words, org=False, SF_ACCESS_TOKEN=access_token(settings))
        operation.check(result["username"] == user, f"logged in as {result['username']}, not {user}")
        operation.check(result["orgId"] == settings["org_id"], f"the org is {result['orgId']}, not {settings['org_id']}")
    with driver.operation("org login jwt") as operation:
        words = ["org", "login", "jwt", "--instance-url", url, "--alias", ALIAS, "--username", user]
        words += ["--client-id", settings["client_id"], "--jwt-key-file", settings["jwt_key_file"]]
        result = cli.run(*words, org=False)
        operation.check(result["username"] == user, f"logged in as {result['username']}, not {user}")
    with driver.operation("org display") as operation:
        result = cli.run("org", "display")
        operation.check(result["connectedStatus"] == "Connected", f"it is {result['connectedStatus']}")
        operation.check(result["instanceUrl"].rstrip("/") == url, f"the instance is {result['instanceUrl']}, not {url}")
        operation.check(result["id"] == settings["org_id"], f"the org is {result['id']}, not {settings['org_id']}")


def reads(driver, cli):
    logins(driver, cli)
    with driver.operation("sobject list") as operation:
        names = set(cli.run("sobject", "list", "--sobject", "all"))
        expected = {table["object"] for table in driver.settings["tables"].values()}
        operation.check(expected <= names, f"{expected - names} aren't listed")
        operation.says(f"{len(names)} objects")
    with driver.operation("sobject describe") as operation:
        for name, table in driver.settings["tables"].items():
            described = {field["name"]: field["type"] for field in cli.run("sobject", "describe", "-s", table["object"])["fields"]}
            operation.describes(name, described)
    with driver.operation("org list limits") as operation:
        limits = {limit["name"]: limit for limit in cli.run("org", "list", "limits")}
        daily = limits["DailyApiRequests"]
        operation.check(0 < daily["remaining"] < daily["max"], f"DailyApiRequests is {daily}")
        operation.says(f"{len(limits)} limits")
    with driver.operation("data query") as operation:
        for table in driver.settings["tables"]:
            result = cli.run("data", "query", "--query", driver.soql(table))
            operation.check(result["totalSize"] == len(result["records"]), "totalSize isn't the number of records")
            operation.read(table, "rest", map(flat, result["records"]))
    with driver.operation("data query, CSV file") as operation:
        cli.run("data", "query", "--query", driver.soql("contact"), "--result-format", "csv", "--output-file", "query.csv")
        operation.read("contact", "rest csv", rows_of(cli.folder / "query.csv"))
    for kind, shape in (("csv", "csv"), ("json", "csv")):
        with driver.operation(f"data export bulk, {kind.upper()}") as operation:
            for table in ("account", "contact"):
                path = cli.folder / f"{table}.{kind}"
                words = ["data", "export", "bulk", "--query", driver.soql(table), "--output-file", str(path)]
                result = cli.run(*words, "--result-format", kind, "--wait", "2")
                rows = rows_of(path) if kind == "csv" else json.loads(path.read_text())
                operation.check(result["totalSize"] == len(rows), f"{result['totalSize']} were told, {len(rows)} written")
                operation.read(table, shape, rows)
    with driver.operation("data export tree") as operation:
        export_trees(operation, cli)


NASTY = ["NA", "None", "#N/A is text here", " blanks ", "two\nlines", 'a "quoted" word', "comma, semicolon; tab\t", "Zoë 🍺 שלום"]


def writes(driver, cli):
    mark = "CLI import"
    with driver.operation("data import bulk") as operation:
        records = [
            {"Name": f"{mark} {number}", "Description": NASTY[number % len(NASTY)], "NumberOfEmployees": number, "Site": mark}
            for number in range(300)
        ]
        write_csv(cli.folder / "import.csv", records)
        result = cli.run("data", "import", "bulk", "--file", "import.csv", "--sobject", "Account", "--wait", "2")
        operation.check(result["successfulRecords"] == len(records), f"the CLI says {result}")
        operation.wrote("account", "Name", records)
    with driver.operation("data upsert bulk") as operation:
        accounts = cli.run("data", "query", "--query", "SELECT Id FROM Account ORDER BY Name LIMIT 50")["records"]
        for price in (10.5, 99.25):  # first they are inserted, then they are updated
            records = [
                {"External_Id__c": f"cli-{at}", "Account__c": account["Id"], "MRR__c": price + at, "Status__c": "Active"}
                for at, account in enumerate(accounts)
            ]
            write_csv(cli.folder / "upsert.csv", records)
            words = ["--file", "upsert.csv", "--sobject", "Subscription__c", "--external-id", "External_Id__c", "--wait", "2"]
            job = cli.run("data", "upsert", "bulk", *words)["jobInfo"]
            done = (job["numberRecordsProcessed"], job["numberRecordsFailed"])
            operation.check(done == (len(records), 0), f"the CLI says {job}")
        operation.wrote("subscription__c", "External_Id__c", records)
    with driver.operation("data import tree") as operation:
        import_trees(operation, cli)


def main():
    driver = Driver()
    cli = Cli(driver)
    {"read": reads, "write": writes}[driver.phase](driver, cli)


main()

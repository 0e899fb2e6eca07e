"""Runs the Salesforce clients against the sandbox and prints the table of client × operation × result.

    python3 main.py --sf2gs PROGRAM [--node FOLDER] [--simple-salesforce FOLDER] [--airbyte FOLDER]

A client whose folder isn't given counts as skipped. Exit 0: all that ran agreed. 1: one did not.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from agree import Mismatch, differences, unwritten
from org import Org

HERE = pathlib.Path(__file__).parent
KEYS = HERE.parent.parent / "it" / "support"
# More contacts than fit on one page of REST (2,000) and of bulk results; the accounts must fit on one page for jsforce.
SANDBOX = ["--accounts", "503", "--contacts", "4500", "--users", "40", "--bulk-page-rows", "1000"]
SANDBOX += ["--jwt-public-key", str(KEYS / "jwt_test_key.pub.pem")]
# Problems of an operation that are shown.
SHOWN = 5
# Seconds that a client may take for a phase.
LONGEST = 400

# Every operation that must be reported, by client and phase: a driver that stops early can't hide the others.
OPERATIONS = {
    "Salesforce CLI": {
        "read": [
            "org login access-token",
            "org login jwt",
            "org display",
            "sobject list",
            "sobject describe",
            "org list limits",
            "data query",
            "data query, CSV file",
            "data export bulk, CSV",
            "data export bulk, JSON",
            "data export tree",
        ],
        "write": ["data import bulk", "data upsert bulk", "data import tree"],
    },
    "simple-salesforce": {
        "read": [
            "login with password (SOAP)",
            "login with client credentials",
            "login with JWT",
            "describe",
            "query",
            "query_all",
            "bulk2 query",
            "bulk v1 query",
        ],
        "write": ["create, update, upsert, delete", "bulk2 upsert", "bulk v1 insert and update"],
    },
    "airbyte-source-salesforce": {
        "read": ["check", "discover", "read, REST", "read, Bulk"],
        "after": ["read, incremental with state"],
    },
    "jsforce": {
        "read": ["identity", "describe", "query", "bulk2 query"],
        "write": ["create, update, upsert, delete", "bulk2 ingest", "token refresh on an expired session"],
    },
}

# The types of describe that a kind of column stands for.
DESCRIBED = {
    "text": "id reference string textarea picklist multipicklist combobox email phone url encryptedstring".split(),
    "boolean": ["boolean"],
    "whole": ["int", "long"],
    "number": ["double", "currency", "percent"],
    "datetime": ["datetime"],
    "date": ["date"],
    "time": ["time"],
}


def told(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


class Client:
    """A client with its driver."""

    def __init__(self, name, command, environment, version):
        self.name, self.command, self.environment, self.version = name, command, environment, version


class Runner:
    def __init__(self, org, work, settings, clients):
        self.org, self.work, self.settings, self.clients = org, pathlib.Path(work), settings, clients
        self.lake = {}
        self.before = {}
        self.rows = []  # (client, operation, problems, detail)

    def drive(self, client, phase):
        """Runs a client's driver; returns the client, the phase, its answers by operation, and how it ended."""
        answers = self.work / f"{client.name.replace(' ', '-')}-{phase}.jsonl"
        settings = self.work / "settings.json"
        settings.write_text(json.dumps(self.settings))
        command = [*client.command, str(settings), phase, str(answers)]
        log = answers.with_suffix(".log")
        with open(log, "w", encoding="utf-8") as told:
            try:
                environment = os.environ | client.environment
                code = subprocess.run(command, env=environment, stdout=told, stderr=told, timeout=LONGEST).returncode
            except subprocess.TimeoutExpired:
                code = f"nothing within {LONGEST} s"
        lines = answers.read_text().splitlines() if answers.exists() else []
        given = {answer["operation"]: answer for answer in map(json.loads, lines)}
        return client, phase, given, "" if code == 0 else f"the driver ended with {code}: {log.read_text()[-600:]}"

    def phase(self, phase):
        """Runs the drivers of a phase side by side."""
        taking_part = [client for client in self.clients if OPERATIONS[client.name].get(phase)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            return list(pool.map(lambda client: self.drive(client, phase), taking_part))

    def judge(self, client, phase, given, ended):
        listed = OPERATIONS[client.name][phase]
        assert set(given) <= set(listed), f"{client.name} reports operations that aren't listed: {set(given) - set(listed)}"
        for operation in listed:
            problems, detail = self.examine(given[operation]) if operation in given else (["it wasn't reached"], "")
            if ended and (operation not in given or operation == listed[-1]):
                problems.append(ended)
            self.rows.append((client, operation, problems, detail))
            told(f"{client.name}: {operation}: {'DISAGREES' if problems else 'agrees'}. {detail}")
            for problem in problems[:SHOWN]:
                told(f"    {problem}")
            if len(problems) > SHOWN:
                told(f"    … and {len(problems) - SHOWN} more")

    def examine(self, answer):
        """(what is wrong, what was compared)."""
        if "failed" in answer:
            return [answer["failed"]], ""
        try:
            return self.compared(answer)
        except (AssertionError, KeyError, Mismatch) as wrong:
            return [f"{type(wrong).__name__}: {wrong}"], ""

    def compared(self, answer):
        problems, details = [], [answer["detail"]] if "detail" in answer else []
        for described in answer.get("describes", []):
            problems += self.described(described)
            details.append(f"{len(described['types'])} fields of {described['table']}")
        changed = 0
        for read in answer.get("read", []):
            table = self.lake[read["table"]]
            records = json.loads(pathlib.Path(read["records"]).read_text())
            wanted = self.wanted(read["table"], read["which"])
            found, compared = differences(table, wanted, records, read["shape"], read["fields"], read.get("key", "Id"))
            problems += found
            changed += len(wanted)
            details.append(f"{read['table']} {len(records):,} × {compared // max(len(records), 1)}")
        for wrote in answer.get("wrote", []):
            problems += unwritten(self.lake[wrote["table"]], wrote["key"], wrote["records"])
            details.append(f"{len(wrote['records'])} records written")
        if "read" in answer and changed == 0:
            problems.append("there was nothing to read, so nothing was proven")
        return problems, ", ".join(details)

    def described(self, described):
        kinds = self.lake[described["table"]].kinds
        problems = []
        for name, kind in kinds.items():
            told = described["types"].get(name)
            if "." not in name and told not in DESCRIBED[kind]:
                problems.append(f"{described['table']}.{name}: sf2gs landed {kind}, the client was told {told}")
        return problems

    def wanted(self, name, which):
        """The ids of the rows that a read should give."""
        if isinstance(which, list):
            return set(which)
        rows = self.lake[name].rows
        if which == "live":
            return set(rows)
        old = self.before[name].rows
        return {identity for identity, row in rows.items() if old.get(identity) != row}

    def run(self):
        told("sf2gs lands the org")
        self.lake = self.org.land()
        told("the clients read")
        for driven in self.phase("read"):
            self.judge(*driven)
        told("the clients write")
        driven = self.phase("write") + self.phase("after")
        # sf2gs leaves the last five minutes for the next run; so they have to pass.
        self.org.call("POST", "/__sandbox/clock", {"advance_seconds": 600})
        self.before, self.lake = self.lake, self.org.land()
        for one in driven:
            self.judge(*one)


def version_of(python, package):
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def node_version(package):
    return json.loads((package / "package.json").read_text())["version"]


def found_clients(arguments, settings):
    """The clients that are installed, and the names of those that aren't."""
    # The hosts that some clients know by name are reached through the sandbox's proxy, with its own authority.
    through = {
        "HTTPS_PROXY": settings["url"],
        "https_proxy": settings["url"],
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "REQUESTS_CA_BUNDLE": settings.get("ca_file", ""),
    }
    clients, skipped = [], []
    if arguments.node:
        packages = pathlib.Path(arguments.node)
        modules = packages / "node_modules"
        node = modules / "node" / "bin"
        settings["packages"] = str(packages)
        settings["node"] = os.pathsep.join([str(node), str(modules / ".bin")])
        cli = [sys.executable, str(HERE / "salesforce_cli.py")]
        clients.append(Client("Salesforce CLI", cli, {}, node_version(modules / "@salesforce" / "cli")))
        jsforce = [str(node / "node"), str(HERE / "jsforce.mjs")]
        clients.append(Client("jsforce", jsforce, {}, node_version(modules / "jsforce")))
    else:
        skipped += ["Salesforce CLI", "jsforce"]
    for name, folder, script in (
        ("simple-salesforce", arguments.simple_salesforce, "simple_salesforce_client.py"),
        ("airbyte-source-salesforce", arguments.airbyte, "airbyte.py"),
    ):
        if folder:
            python = str(pathlib.Path(folder) / "bin" / "python")
            clients.append(Client(name, [python, str(HERE / script)], through, version_of(python, name)))
        else:
            skipped.append(name)
    return clients, skipped


def table(rows, skipped):
    """The result, in Markdown, in the order of `OPERATIONS`."""
    lines = ["| client | operation | compared | result |", "|---|---|---|---|"]
    for name, phases in OPERATIONS.items():
        if name in skipped:
            lines += [f"| {name} | {o} | | SKIPPED: not installed |" for phase in phases.values() for o in phase]
        for client, operation, problems, detail in rows:
            if client.name == name:
                result = "**disagrees**" if problems else "agrees"
                lines.append(f"| {name} {client.version} | {operation} | {detail} | {result} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sf2gs", required=True)
    parser.add_argument("--node")
    parser.add_argument("--simple-salesforce")
    parser.add_argument("--airbyte")
    parser.add_argument("--keep", help="a folder for everything that is made, instead of one that is removed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sf2gs-peers-") as temporary:
        work = pathlib.Path(arguments.keep or temporary)
        work.mkdir(parents=True, exist_ok=True)
        org = Org(arguments.sf2gs, work, SANDBOX)
        try:
            org.login()
            more = {"tables": org.widen(), "work": str(work), "jwt_key_file": str(KEYS / "jwt_test_key.pem")}
            settings = org.settings | more
            clients, skipped = found_clients(arguments, settings)
            runner = Runner(org, work, settings, clients)
            runner.run()
        finally:
            org.stop()
        print(table(runner.rows, skipped))
        wrong = sum(1 for _, _, problems, _ in runner.rows if problems)
        told(f"{len(runner.rows) - wrong} operations agree, {wrong} disagree")
        for name in skipped:
            told(f"SKIPPED: {name} isn't installed, so nothing is known about it")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

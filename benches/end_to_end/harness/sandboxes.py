"""The sandboxes in processes of their own, and what the harness asks of them beside the contenders' calls."""

import json
import os
import pathlib
import subprocess
import time
import urllib.request


class Sandbox:
    """One `sf2gs sandbox`. Its org or its tenant may be left unused."""

    def __init__(self, program, folder, name, *, users=1, accounts=1, contacts=0, seed=1):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.log = open(folder / f"{name}.log", "wb")
        command = [
            program, "sandbox", "--format", "json", "--no-quotas", "--salesforce-port", "0", "--gainsight-port", "0",
            "--users", str(users), "--accounts", str(accounts), "--contacts", str(contacts), "--seed", str(seed),
        ]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
            env={**os.environ, "RUST_LOG": "error"},
        )
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sandbox did not start: {(folder / f'{name}.log').read_text()}")
        self.settings = json.loads(line)

    @property
    def org(self):
        return self.settings["salesforce"]

    @property
    def tenant(self):
        return self.settings["gainsight"]

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def ask(side, path, body=None, method=None):
    """A control call: its JSON, or none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        side["url"].rstrip("/") + path, data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def empty(tenant, *objects):
    ask(tenant, "/__sandbox/empty", {"objects": objects} if objects else {})


def dump(tenant, name, target):
    """All records of an object into a file, one JSON object a line."""
    with urllib.request.urlopen(f"{tenant['url'].rstrip('/')}/__sandbox/dump/{name}", timeout=600) as answer:
        with open(target, "wb") as file:
            while chunk := answer.read(1 << 20):
                file.write(chunk)
    return target


def pass_time(seconds, *sides):
    """Moves the clocks of both systems on, so that what was changed leaves the lag of incremental reads."""
    for side in sides:
        ask(side, "/__sandbox/clock", {"advance_seconds": seconds})


def change(org, name, field, value, every):
    """Changes a text field of every so many records: how many."""
    order = {"object": name, "field": field, "value": value, "every": every}
    return ask(org, "/__sandbox/change", order)["changed"]


# Every so many contacts have no address, and every so many accounts a name that is too long; the contacts of these
# have no company then. By the share of contacts that a sync must refuse, in a hundred.
BAD = {2: (97, 1_009), 10: (31, 14)}


def spoil(org, bad=2):
    """Rows that a sync must refuse, about so many in a hundred: no address, an address twice, a name too long."""
    no_address, long_name = BAD[bad]
    return {
        "contacts without an address": change(org, "Contact", "Email", "", no_address),
        "contacts with one address": change(org, "Contact", "Email", "shared@twice.example", 49_999),
        "accounts with a long name": change(org, "Account", "Name", "Amalgamated " * 21 + "{}", long_name),
    }


def settle(seconds=0.2):
    """A moment for what a killed or emptied process gives back."""
    time.sleep(seconds)

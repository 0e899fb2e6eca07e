"""airbyte-source-salesforce: check, discover, whole reads and an incremental read.

The connector knows its login host by name; `HTTPS_PROXY` and `REQUESTS_CA_BUNDLE`, which the runner sets, lead it to the
sandbox. It is run as Airbyte runs it: as a program that says its messages on stdout.
"""

import json
import pathlib
import subprocess
import sys

from driver import Driver

PROGRAM = pathlib.Path(sys.executable).with_name("source-salesforce")
STREAMS = {"account": "Account", "contact": "Contact", "user": "User"}


class Connector:
    def __init__(self, driver):
        self.folder = driver.folder
        settings = driver.settings
        self.config = {
            "client_id": settings["client_id"],
            "client_secret": settings["client_secret"],
            "refresh_token": settings["refresh_token"],
            "start_date": "2010-01-01T00:00:00Z",
            "stream_slice_step": "P730D",
            # Otherwise the connector drops texts such as NA from bulk results.
            "preserve_na_values": True,
        }

    def run(self, verb, config=None, **files):
        """The connector's messages."""
        words = [str(PROGRAM), verb]
        for name, content in (files | {"config": self.config | (config or {})}).items():
            path = self.folder / f"{name}.json"
            path.write_text(json.dumps(content))
            words += [f"--{name}", str(path)]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=300)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0:
            traces = [m["trace"]["error"]["message"] for m in messages if m["type"] == "TRACE" and "error" in m["trace"]]
            raise AssertionError(f"{verb} ended with {done.returncode}: {traces or done.stdout[-2000:]}{done.stderr[-2000:]}")
        return messages


def configured(catalog, mode):
    """Airbyte's catalogue of what to read."""
    streams = [stream for stream in catalog["streams"] if stream["name"] in STREAMS.values()]
    return {
        "streams": [
            {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append", "cursor_field": ["SystemModstamp"]}
            for stream in streams
        ]
    }


def records(messages, stream):
    found = (m["record"] for m in messages if m["type"] == "RECORD")
    return [record["data"] for record in found if record["stream"] == stream]


def live(rows):
    """The connector reads with queryAll: deleted records come too."""
    return [row for row in rows if not row.get("IsDeleted")]


def reads(driver, connector, kept):
    with driver.operation("check") as operation:
        status = [m["connectionStatus"] for m in connector.run("check") if m["type"] == "CONNECTION_STATUS"]
        operation.check(status and status[0]["status"] == "SUCCEEDED", f"the connector says {status}")
    catalog = {"streams": []}
    with driver.operation("discover") as operation:
        catalog = next(m["catalog"] for m in connector.run("discover") if m["type"] == "CATALOG")
        names = {stream["name"] for stream in catalog["streams"]}
        operation.check(set(STREAMS.values()) <= names, f"only {names} were discovered")
        for table, stream in STREAMS.items():
            properties = next(s["json_schema"]["properties"] for s in catalog["streams"] if s["name"] == stream)
            missing = [f for f in driver.settings["tables"][table]["fields"] if "." not in f and f not in properties]
            operation.check(not missing, f"{stream} lacks {missing}")
        operation.says(f"{len(names)} streams")
    for name, config, shape in (
        ("read, REST", {}, "airbyte rest"),
        ("read, Bulk", {"force_use_bulk_api": True}, "airbyte bulk"),
    ):
        with driver.operation(name) as operation:
            messages = connector.run("read", config, catalog=configured(catalog, "incremental"))
            for table, stream in STREAMS.items():
                fields = [f for f in driver.settings["tables"][table]["fields"] if "." not in f]
                operation.read(table, shape, live(records(messages, stream)), fields)
            state = [m["state"] for m in messages if m["type"] == "STATE"]
            newest = {s["stream"]["stream_descriptor"]["name"]: s for s in state}
            kept.write_text(json.dumps({"catalog": catalog, "state": list(newest.values())}))


def incremental(driver, connector, kept):
    with driver.operation("read, incremental with state") as operation:
        before = json.loads(kept.read_text())
        messages = connector.run("read", catalog=configured(before["catalog"], "incremental"), state=before["state"])
        for table, stream in STREAMS.items():
            fields = [f for f in driver.settings["tables"][table]["fields"] if "." not in f]
            operation.read(table, "airbyte rest", live(records(messages, stream)), fields, which="changed")


def main():
    driver = Driver()
    connector = Connector(driver)
    kept = pathlib.Path(driver.settings["work"]) / "airbyte-state.json"
    {"read": reads, "after": incremental}[driver.phase](driver, connector, kept)


main()

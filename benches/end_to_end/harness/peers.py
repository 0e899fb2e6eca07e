"""The connectors of others: installed on demand, each a contender of the extract."""

import json
import os
import shutil
import subprocess

from .bench import AIRBYTE, CACHE, SALESFORCE_CLI
from .floor import token
from .measure import Contender


def wanted(bench, name, there, install):
    """Whether a peer can be measured: it is installed, or may be and can be."""
    if bench.options.peers == "none":
        return False
    if not there.exists():
        if bench.options.peers == "cached":
            bench.say(f"  {name}: left out, not installed (--peers all installs it)")
            return False
        bench.say(f"  installing {name} into {CACHE}")
        log = bench.work / "logs" / f"install-{there.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as out:
            for command in install:
                if subprocess.run([str(part) for part in command], stdout=out, stderr=out).returncode:
                    bench.say(f"  {name}: left out, it cannot be installed here (see {log})")
                    return False
    return True


def salesforce_cli(bench, box, columns):
    """`sf data export bulk` into a CSV file. It takes rows that are not deleted, as `query` does."""
    home = CACHE / "salesforce-cli"
    sf = home / "node_modules" / ".bin" / "sf"
    # With a Node of its own: the system's may be too old for it.
    install = [["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", home, "@salesforce/cli", "node@22"]]
    if not wanted(bench, SALESFORCE_CLI, sf, install):
        return None
    scratch = bench.work / "salesforce-cli"
    scratch.mkdir(exist_ok=True)
    environment = {
        "HOME": str(scratch), "SF_DISABLE_TELEMETRY": "true", "SF_AUTOUPDATE_DISABLE": "true", "SF_LOG_LEVEL": "fatal",
        "SF_SKIP_NEW_VERSION_CHECK": "true", "SF_ACCESS_TOKEN": token(box.org), "NO_COLOR": "1",
        "PATH": f"{sf.parent}{os.pathsep}{os.environ['PATH']}",
    }
    login = [sf, "org", "login", "access-token", "--instance-url", box.org["url"].rstrip("/"), "--no-prompt", "--alias", "bench"]
    done = subprocess.run([str(part) for part in login], env={**os.environ, **environment}, cwd=scratch, capture_output=True)
    if done.returncode:
        bench.say(f"  {SALESFORCE_CLI}: left out, it cannot log in: {done.stderr.decode(errors='replace').strip()[-300:]}")
        return None
    file = scratch / "contacts.csv"
    soql = f"SELECT {', '.join(columns)} FROM Contact"
    command = [sf, "data", "export", "bulk", "--query", soql, "--output-file", file, "--result-format", "csv", "--wait",
               "10", "--target-org", "bench"]
    return Contender(
        SALESFORCE_CLI,
        lambda: bench.measured(SALESFORCE_CLI, command, environment=environment, cwd=scratch),
        lambda: file.unlink(missing_ok=True),
    )


def airbyte(bench, box, columns):
    """`source-salesforce read` of Contact, its messages to a file. It reads every column that there is."""
    home = CACHE / "airbyte"
    source = home / "bin" / "source-salesforce"
    install = [["python3", "-m", "venv", home], [home / "bin" / "python", "-m", "pip", "--quiet", "install", "airbyte-source-salesforce"]]
    # It knows the login host by name and speaks HTTPS only: the sandbox is its proxy, with an authority of its own.
    if not box.org.get("ca_file"):
        bench.say(f"  {AIRBYTE}: left out, the sandbox has no HTTPS")
        return None
    if not wanted(bench, AIRBYTE, source, install):
        return None
    scratch = bench.work / "airbyte"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    write = lambda name, value: (scratch / name).write_text(json.dumps(value)) and scratch / name
    config = write("config.json", {
        "client_id": box.org["client_id"], "client_secret": box.org["client_secret"],
        "refresh_token": box.org["refresh_token"], "auth_type": "Client", "start_date": "2010-01-01T00:00:00Z",
        "streams_criteria": [{"criteria": "exacts", "value": "Contact"}], "force_use_bulk_api": True,
    })
    stream = {
        "name": "Contact", "supported_sync_modes": ["full_refresh", "incremental"],
        "json_schema": {"type": "object", "properties": {column: {"type": ["null", "string"]} for column in columns}},
    }
    catalog = write("catalog.json", {"streams": [
        {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    ]})
    environment = {
        "HTTPS_PROXY": box.org["url"], "https_proxy": box.org["url"], "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
        "REQUESTS_CA_BUNDLE": box.org["ca_file"], "SSL_CERT_FILE": box.org["ca_file"],
    }
    command = [source, "read", "--config", config, "--catalog", catalog]
    return Contender(AIRBYTE, lambda: bench.measured(AIRBYTE, command, environment=environment, cwd=scratch))

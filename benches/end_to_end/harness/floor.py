"""The floor: curl and nothing else. The same result pages to /dev/null; the same bodies to the tenant."""

import json
import time
import urllib.parse
import urllib.request

from .bench import FLOOR, FLOOR_IN_TURN
from .measure import Contender

API = "/services/data/v62.0"


def token(org):
    form = urllib.parse.urlencode({
        "grant_type": "refresh_token", "client_id": org["client_id"], "client_secret": org["client_secret"],
        "refresh_token": org["refresh_token"],
    })
    with urllib.request.urlopen(f"{org['url'].rstrip('/')}/services/oauth2/token", form.encode()) as answer:
        return json.load(answer)["access_token"]


class Pages:
    """The result pages of one query job."""

    def __init__(self, bench, org, columns, name="Contact"):
        self.bench, self.org, self.name = bench, org, name
        self.soql = f"SELECT {', '.join(columns)} FROM {name}"
        self.config = bench.work / "floor-pages.curl"
        self.token = token(org)

    def _ask(self, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.org["url"].rstrip("/") + path, data, headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def prepare(self):
        """A job that is complete, and a list of its pages for curl."""
        job = self._ask(f"{API}/jobs/query", {"operation": "queryAll", "query": self.soql})["id"]
        while self._ask(f"{API}/jobs/query/{job}")["state"] != "JobComplete":
            time.sleep(0.02)
        links, path = [], f"{API}/jobs/query/{job}/resultPages"
        while path:
            answer = self._ask(path)
            links += [page["resultUrl"] for page in answer["resultPages"]]
            path = answer.get("nextRecordsUrl")
        lines = [f'header = "Authorization: Bearer {self.token}"']
        for link in links:
            lines += [f'url = "{self.org["url"].rstrip("/")}{link}"', 'output = "/dev/null"']
        self.config.write_text("\n".join(lines) + "\n")

    def fetch(self, at_once=4):
        together = ["--parallel", "--parallel-max", str(at_once)] if at_once > 1 else []
        command = ["curl", "--silent", "--show-error", "--fail", *together, "--write-out", "%{size_download}\\n",
                   "--config", self.config]
        return self.bench.measured("floor-pages", command)

    def floor(self):
        """As many pages at once as sf2gs reads: the least that anybody needs on this machine."""
        return Contender(FLOOR, self.fetch, self.prepare)

    def floor_in_turn(self):
        """One page after the other: what a script with one `curl` needs."""
        return Contender(FLOOR_IN_TURN, lambda: self.fetch(at_once=1), self.prepare)

    def bytes(self):
        self.prepare()
        return sum(int(line) for line in self.fetch().stdout.split())


# A bulk file is taken in after its call is answered: the floor, too, is reached when the tenant says that it is done.
UNTIL_DONE = """
for reply in "$1"/reply-*; do
    id=$(sed 's/.*"statusId":"\\([^"]*\\)".*/\\1/' "$reply")
    until curl --silent --fail --config "$1/login" "$2/$id" | grep -q COMPLETED; do sleep 0.02; done
done
"""


class Bodies:
    """Bodies that the pipeline by hand sent and wrote down, for curl to send again.

    What became of asynchronous people is not asked: this tenant writes them before it answers.
    """

    def __init__(self, bench, tenant, folder, name, at_once=8):
        self.bench, self.name, self.at_once, self.folder = bench, name, at_once, folder
        self.status = tenant["url"].rstrip("/") + "/v1.0/admin/connector/job/bulkimport/status"
        self.files = 0
        each = []
        url = tenant["url"].rstrip("/")
        for call in (folder / "calls.tsv").read_text().splitlines():
            method, path, file = call.split("\t")
            if path.startswith("/v3/exports") or "/query/" in path:
                continue
            request = [f'url = "{url}{path}"', f'request = "{method}"', 'output = "/dev/null"']
            request += [f'header = "AccessKey: {tenant["access_key"]}"', 'header = "Expect:"']
            if file.endswith(".csv"):
                job = next(job["id"] for job in tenant["bulk_jobs"] if job["object"] == "company")
                login = [f'header = "loginName: {tenant["bulk_login"]}"', f'header = "appOrgId: {tenant["bulk_org_id"]}"']
                (folder / "login").write_text("\n".join([*login, f'header = "AccessKey: {tenant["access_key"]}"']))
                request[request.index('output = "/dev/null"')] = f'output = "{folder}/reply-{self.files}"'
                self.files += 1
                request += login + [
                    f'form = "jobId={job}"', f'form = "file=@{folder / file};type=text/csv"',
                ]
                request.remove(f'request = "{method}"')
            else:
                request += ['header = "Content-Type: application/json"', f'upload-file = "{folder / file}"']
            each.append("\n".join(request))
        self.calls = len(each)
        self.config = bench.work / f"floor-{name}.curl"
        self.config.write_text("\nnext\n".join(each) + "\n")

    def send(self):
        command = ["curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", str(self.at_once),
                   "--config", self.config]
        if self.files:
            script = '"${@:3}" && ' + UNTIL_DONE.strip().join(["{\n", "\n}"])
            command = ["bash", "-c", script, "floor", self.folder, self.status, *command]
        return self.bench.measured(f"floor-{self.name}", command)

"""Bulk API 2.0: a query job, its result pages side by side into files, and those into Parquet by DuckDB."""

import asyncio
import pathlib

API = "/services/data/v62.0"

# What is selected, and what DuckDB makes of it. `land.py` of the other side keeps the same columns.
TYPES = {"SystemModstamp": "TIMESTAMPTZ", "IsDeleted": "BOOLEAN", "NumberOfEmployees": "BIGINT"}


class Org:
    def __init__(self, settings, session, parallel):
        self.settings, self.session = settings, session
        self.url = settings["url"].rstrip("/")
        self.parallel = parallel
        self.headers = None

    async def log_in(self):
        form = {
            "grant_type": "refresh_token",
            "client_id": self.settings["client_id"],
            "client_secret": self.settings["client_secret"],
            "refresh_token": self.settings["refresh_token"],
        }
        async with self.session.post(f"{self.url}/services/oauth2/token", data=form) as answer:
            answer.raise_for_status()
            token = (await answer.json())["access_token"]
        self.headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}

    async def _json(self, method, path, **more):
        async with self.session.request(method, f"{self.url}{path}", headers=self.headers, **more) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def query(self, soql, operation="query"):
        """Runs a query job to its end: its id and how many rows it has."""
        order = {"operation": operation, "query": soql}
        job = (await self._json("POST", f"{API}/jobs/query", json=order))["id"]
        wait = 0.01
        while True:
            seen = await self._json("GET", f"{API}/jobs/query/{job}")
            if seen["state"] == "JobComplete":
                return job, seen["numberRecordsProcessed"]
            if seen["state"] in ("Aborted", "Failed"):
                raise RuntimeError(f"query job {job} ended as {seen['state']}: {seen.get('errorMessage')}")
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, 2.0)

    async def pages(self, job):
        """The links of all result pages."""
        links, path = [], f"{API}/jobs/query/{job}/resultPages"
        while path:
            answer = await self._json("GET", path)
            links += [page["resultUrl"] for page in answer["resultPages"]]
            path = None if answer["done"] else answer.get("nextRecordsUrl") or answer["nextRecordUrl"]
        return links

    async def download(self, job, folder):
        """Fetches every page into a file of its own: the files, and the rows that their heads promise.

        By curl, which is faster at it than aiohttp is.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        links = await self.pages(job)
        files = [folder / f"page-{number:05d}.csv" for number in range(len(links))]
        lines = [f'header = "Authorization: {self.headers["Authorization"]}"']
        for link, file in zip(links, files):
            lines += [f'url = "{self.url}{link}"', f'output = "{file}"']
        config = folder / "curl"
        config.write_text("\n".join(lines))
        process = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", str(self.parallel),
            "--write-out", "%header{sforce-numberofrecords}\\n", "--config", str(config), stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"curl ended with {process.returncode}")
        return files, sum(int(line) for line in told.split())

    async def delete(self, job):
        async with self.session.delete(f"{self.url}{API}/jobs/query/{job}", headers=self.headers) as answer:
            answer.raise_for_status()


def csv_to_parquet(connection, files, columns, target):
    """All pages as one zstd Parquet file: how many rows it has."""
    types = ", ".join(f"'{column}': '{TYPES.get(column, 'VARCHAR')}'" for column in columns)
    names = ", ".join(f"'{file}'" for file in files)
    # Every page has the same dialect, so nothing is sniffed; the order of rows means nothing.
    read = (
        f"read_csv([{names}], columns = {{{types}}}, header = true, auto_detect = false, delim = ',', quote = '\"', "
        f"escape = '\"', new_line = '\\n', nullstr = '')"
    )
    counted = connection.execute(f"COPY (SELECT * FROM {read}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    return counted.fetchone()[0]


async def land(org, connection, name, soql, columns, folder, operation="query", reader=csv_to_parquet):
    """Extracts an object into `folder/name.parquet`, or fails where a row is missing."""
    folder = pathlib.Path(folder)
    job, promised = await org.query(soql, operation)
    files, told = await org.download(job, folder / f"{name}-pages")
    target = folder / f"{name}.parquet"
    landed = await asyncio.to_thread(reader, connection, files, columns, target)
    if not promised == told == landed:
        raise RuntimeError(f"{name}: {promised} rows promised, {told} in the pages' heads, {landed} landed")
    for file in files:
        file.unlink()
    await org.delete(job)
    return landed

"""The tenant: bulk export, bulk import, users and people, with a number of calls under way at once."""

import asyncio
import pathlib

import aiohttp
import orjson

MOST_EXPORTED = 1_000_000


class Tenant:
    def __init__(self, settings, session, parallel, record=None):
        self.settings, self.session, self.parallel = settings, session, parallel
        self.url = settings["url"].rstrip("/")
        self.headers = {
            "AccessKey": settings["access_key"],
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        self.record = record and pathlib.Path(record)
        self.recorded = 0

    def _keep(self, method, path, body):
        """Writes a body down, for the floor: what it costs curl to send the same."""
        if self.record:
            kind = "csv" if path.endswith("bulkimport") else "json"
            target = self.record / f"{self.recorded:06d}.{kind}"
            target.write_bytes(body)
            with open(self.record / "calls.tsv", "a") as calls:
                calls.write(f"{method}\t{path}\t{target.name}\n")
            self.recorded += 1

    async def call(self, method, path, body=None):
        """A call whose envelope says that it went well: its data."""
        if body is not None:
            self._keep(method, path, body)
        async with self.session.request(method, f"{self.url}{path}", data=body, headers=self.headers) as answer:
            said = orjson.loads(await answer.read())
        if not said["result"]:
            raise Refused(path, said)
        return said["data"]

    async def many(self, calls, work):
        """`work` for each of `calls`, `parallel` at a time; `calls` may be lazy and slow."""
        queue = asyncio.Queue(2 * self.parallel)
        results = []

        async def worker():
            while (call := await queue.get()) is not None:
                results.append(await work(call))

        async def feed():
            iterator = iter(calls)
            while (batch := await asyncio.to_thread(next, iterator, None)) is not None:
                for call in batch:
                    await queue.put(call)
            for _ in range(self.parallel):
                await queue.put(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            for _ in range(self.parallel):
                group.create_task(worker())
        return results

    async def export(self, name, fields, folder):
        """All records of an object as CSV files with the given columns."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files, last = [], None
        at_once = asyncio.Semaphore(self.parallel)

        async def fetch(chunk, target):
            async with at_once, self.session.get(f"{self.url}/{chunk['chunkURL']}", headers=self.headers) as answer:
                answer.raise_for_status()
                with open(target, "wb", buffering=0) as file:
                    async for piece in answer.content.iter_any():
                        file.write(piece)
            return target

        while True:
            order = {"select": fields, "orderBy": {"Gsid": "asc"}}
            if last:
                condition = {"name": "Gsid", "alias": "A", "value": [last], "operator": "GT"}
                order["where"] = {"conditions": [condition], "expression": "A"}
            started = await self.call("POST", f"/v3/exports/data/bulk/{name}", orjson.dumps(order))
            while True:
                status = await self.call("GET", f"/{started['statusURL']}")
                if status["jobStatus"] == "COMPLETED":
                    break
                await asyncio.sleep(0.02)
            chunks = status["chunkDetails"]
            targets = [folder / f"{name}-{len(files) + at:05d}.csv" for at in range(len(chunks))]
            files += await asyncio.gather(*(fetch(*pair) for pair in zip(chunks, targets)))
            if status["totalRecords"] < MOST_EXPORTED:
                return files
            # An export ends at a million rows; the next begins behind its last id, the first column.
            last = last_line(files[-1]).split(",")[0].strip('"')

    async def bulk_import(self, job, file):
        """One CSV file into a bulk job: what became of its rows."""
        form = aiohttp.FormData()
        body = pathlib.Path(file).read_bytes()
        self._keep("POST", "/v1.0/admin/connector/job/bulkimport", body)
        form.add_field("jobId", job)
        form.add_field("file", body, filename="rows.csv", content_type="text/csv; charset=utf-8")
        headers = {
            "AccessKey": self.settings["access_key"],
            "loginName": self.settings["bulk_login"],
            "appOrgId": self.settings["bulk_org_id"],
        }
        base = f"{self.url}/v1.0/admin/connector/job/bulkimport"
        async with self.session.post(base, data=form, headers=headers) as answer:
            said = orjson.loads(await answer.read())
        if not said["result"]:
            raise Refused("bulkimport", said)
        wait = 0.01
        while True:
            async with self.session.get(f"{base}/status/{said['data']['statusId']}", headers=headers) as answer:
                status = orjson.loads(await answer.read())["data"]
            if status["jobStatus"] == "COMPLETED":
                return status["successCount"], status["failureCount"]
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, 1.0)

    async def put_people(self, body):
        """Up to fifty persons: how many were written, and the errors of the others."""
        started = await self.call("PUT", "/v1/peoplemgmt/v1.0/people/async", body)
        wait = 0.01
        while True:
            status = await self.call("GET", f"/v1/peoplemgmt/v1.0/people/async/status/{started['statusId']}")
            if status["status"] == "COMPLETED":
                return status["count"], status["errors"]
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, 1.0)


class Refused(RuntimeError):
    def __init__(self, path, said):
        super().__init__(f"{path}: {said.get('errorCode')} {said.get('errorDesc')}")


def last_line(file):
    with open(file, "rb") as handle:
        handle.seek(0, 2)
        handle.seek(max(0, handle.tell() - 65_536))
        return handle.read().decode().rstrip("\n").rsplit("\n", 1)[-1]

"""What a client's driver says to the runner: one line of JSON for each operation.

A driver is started as `PROGRAM SETTINGS PHASE ANSWERS`. It uses its client as a user would and says what came out; whether
that is right, `agree.py` finds. An exception fails the operation in which it happens, and the driver goes on.
"""

import contextlib
import json
import pathlib
import sys
import time
import traceback


class Operation:
    """One operation of a client; what it leaves is compared by the runner."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.answer = {}

    def read(self, table, shape, records, fields=None, which="live", key="Id"):
        """The client read these records of a table of the lake, in one of the shapes of `agree.py`.

        `which` rows it should have read: those that are `live`, those that `changed` since sf2gs last looked, or these ids.
        """
        path = self.folder / f"{self.name.replace(' ', '_').replace('/', '_')}-{len(list(self.folder.iterdir()))}.json"
        path.write_text(json.dumps(list(records)))
        read = {"table": table, "shape": shape, "records": str(path), "fields": fields, "which": which, "key": key}
        self.answer.setdefault("read", []).append(read)

    def wrote(self, table, key, records):
        """The client wrote these records, each with a unique value of the field `key`."""
        self.answer.setdefault("wrote", []).append({"table": table, "key": key, "records": list(records)})

    def describes(self, table, types):
        """The client was told that the object behind a table has these fields, by name and type."""
        self.answer.setdefault("describes", []).append({"table": table, "types": types})

    def says(self, detail):
        """A few words for the table."""
        self.answer["detail"] = detail

    def check(self, holds, otherwise):
        """Fails the operation unless something holds."""
        if not holds:
            raise AssertionError(otherwise)


def flat(record):
    """A record of REST's JSON without the `attributes`."""
    return {
        name: flat(value) if isinstance(value, dict) else value for name, value in record.items() if name != "attributes"
    }


class Driver:
    """The settings that the runner gave, and the answers."""

    def __init__(self, arguments=None):
        settings, self.phase, self.answers = (arguments or sys.argv[1:])[:3]
        self.settings = json.loads(pathlib.Path(settings).read_text())
        self.folder = pathlib.Path(self.answers).with_suffix("")
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def operation(self, name):
        operation, begun = Operation(name, self.folder), time.monotonic()
        try:
            yield operation
        except Exception as wrong:  # the next operation is tried all the same
            traceback.print_exc()
            operation.answer["failed"] = f"{type(wrong).__name__}: {wrong}"
        operation.answer |= {"operation": name, "seconds": round(time.monotonic() - begun, 1)}
        with open(self.answers, "a", encoding="utf-8") as answers:
            answers.write(json.dumps(operation.answer) + "\n")

    def soql(self, table, where=None):
        """The query for all that sf2gs landed of a table."""
        chosen = self.settings["tables"][table]
        return f"SELECT {', '.join(chosen['fields'])} FROM {chosen['object']}" + (f" WHERE {where}" if where else "")

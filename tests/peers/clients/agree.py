"""Whether the records that a client read, or wrote, are those that sf2gs landed: field by field.

Every client shows values in its own way. A [`Shape`] says what that way is and refuses all others: a date that a client
shows as a number, say, is a difference unless its shape says so. All that is known of such ways is in this one file, and
nothing else is forgiven.
"""

import datetime
import decimal
import re

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)


class Mismatch(Exception):
    """A value that isn't in the client's own form."""


def kind_of(data_type):
    """What a column of the lake holds, by the name of its Arrow type."""
    for prefix, kind in (
        ("Utf8", "text"),
        ("LargeUtf8", "text"),
        ("Boolean", "boolean"),
        ("Int", "whole"),
        ("Float", "number"),
        ("Decimal", "number"),
        ("Timestamp", "datetime"),
        ("Date", "date"),
        ("Time", "time"),
    ):
        if data_type.startswith(prefix):
            return kind
    raise AssertionError(f"the lake has a column of a type that isn't compared yet: {data_type}")


# ---------------------------------------------------------------------------------------------------------------------
# One value in one form. Each takes what the client gave and returns text, bool, Decimal, datetime or date.


def moment(pattern):
    def read(value):
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise Mismatch(f"{value!r} isn't a datetime like {pattern}")
        head = datetime.datetime.strptime(value[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        fraction = re.match(r"\.(\d+)", value[19:])
        return head + datetime.timedelta(seconds=float(f"0.{fraction[1]}") if fraction else 0)

    return read


def milliseconds(value):
    if type(value) is not int:
        raise Mismatch(f"{value!r} isn't a time in milliseconds")
    return EPOCH + datetime.timedelta(milliseconds=value)


def milliseconds_of_day(value):
    at = milliseconds(value)
    if at.time() != datetime.time():
        raise Mismatch(f"{value!r} isn't midnight")
    return at.date()


def day(value):
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise Mismatch(f"{value!r} isn't a date")
    return datetime.date.fromisoformat(value)


def only(*types):
    def read(value):
        if type(value) not in types:
            raise Mismatch(f"{value!r} isn't of {' or '.join(t.__name__ for t in types)}")
        return value

    return read


def numeric(*types):
    check = only(*types)

    def read(value):
        try:
            return decimal.Decimal(repr(check(value)) if isinstance(value, float) else str(check(value)))
        except decimal.InvalidOperation as wrong:
            raise Mismatch(f"{value!r} isn't a number") from wrong

    return read


def whole_text(value):
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+", value):
        raise Mismatch(f"{value!r} isn't a whole number as text")
    return decimal.Decimal(value)


def truth_text(value):
    if value not in ("true", "false"):
        raise Mismatch(f"{value!r} isn't true or false")
    return value == "true"


REST_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000"
BULK_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class Shape:
    """How a client shows records."""

    def __init__(self, why, readers, empty_is_null=False, absent_is_null=False, shown=lambda value: value):
        self.why = why
        self.readers = readers
        self.empty_is_null = empty_is_null
        self.absent_is_null = absent_is_null
        self.shown = shown  # what the client makes of a value that it was given

    def value(self, record, path, kind):
        """The value at a path such as `Owner.Email`, in the common form."""
        found = record
        if path in record:
            found = record[path]
        else:
            for step in path.split("."):
                if found is None:
                    break
                if not isinstance(found, dict):
                    raise Mismatch(f"{found!r} has no {step}")
                if step not in found:
                    if not self.absent_is_null:
                        raise Mismatch("the client doesn't show it")
                    found = None
                    break
                found = found[step]
        if found is None or (self.empty_is_null and found == ""):
            return None
        return self.readers[kind](found)


JSON = {
    "text": only(str),
    "boolean": only(bool),
    "whole": numeric(int),
    "number": numeric(int, float),
    "datetime": moment(REST_TIME),
    "date": day,
}
CSV = {
    "text": only(str),
    "boolean": truth_text,
    "whole": whole_text,
    "number": numeric(str),
    "datetime": moment(BULK_TIME),
    "date": day,
}

def unix_line_ends(value):
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


SHAPES = {
    "lake": Shape(
        "`sf2gs sql --format json`: nulls are left out, times end in Z",
        JSON
        | {
            "datetime": moment(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
            "number": numeric(int, float, decimal.Decimal),
        },
        absent_is_null=True,
    ),
    "rest": Shape("REST's JSON; times end in +0000", JSON),
    "csv": Shape("CSV knows texts only: an empty one is null, times end in Z", CSV, empty_is_null=True),
    "tree": Shape("the CLI's trees: REST's values, nulls are left out", JSON, absent_is_null=True),
    "rest csv": Shape(
        "the CLI writes what REST gave as CSV",
        CSV | {"datetime": moment(REST_TIME)},
        empty_is_null=True,
    ),
    "airbyte rest": Shape("Airbyte's connector, from REST: nulls are left out", JSON, absent_is_null=True),
    "airbyte bulk": Shape(
        "Airbyte's connector, from bulk results: nulls are left out, numbers and booleans are typed, times end in Z; and "
        "it opens the CSV as a text file, which makes every line end a line feed",
        JSON | {"datetime": moment(BULK_TIME)},
        absent_is_null=True,
        shown=unix_line_ends,
    ),
    "bulk v1": Shape(
        "Bulk v1's JSON: times and dates are milliseconds", JSON | {"datetime": milliseconds, "date": milliseconds_of_day}
    ),
}


# ---------------------------------------------------------------------------------------------------------------------
# Sets of records.


class Table:
    """A table of the lake: what sf2gs landed of an object, by Id."""

    def __init__(self, types, rows):
        self.kinds = {name: kind_of(data_type) for name, data_type in types.items()}
        self.rows = {row["Id"]: self._read(row) for row in rows}

    def _read(self, row):
        return {name: SHAPES["lake"].value(row, name, kind) for name, kind in self.kinds.items()}


def same(kind, one, other):
    if kind == "number" and one is not None and other is not None:
        return one == other or float(one) == float(other)  # both are the double that the service stores
    return one == other


def differences(table, wanted, records, shape, fields=None, key="Id"):
    """What is wrong with `records`, given that they should be the rows `wanted` of the table. Nothing if they agree.

    A client that shows no Id is compared by another `key`. Returns (differences, number of fields compared).
    """
    shape = SHAPES[shape]
    fields = fields or list(table.kinds)
    found, seen, compared = [], set(), 0
    identities = {table.rows[identity][key]: identity for identity in wanted}
    assert len(identities) == len(wanted), f"{key} isn't unique"
    for record in records:
        identity = identities.get(record.get(key), record.get(key))
        if identity in seen:
            found.append(f"{identity} comes twice")
            continue
        seen.add(identity)
        if identity not in wanted:
            found.append(f"{identity} isn't among the {len(wanted)} records that sf2gs landed")
            continue
        ours = table.rows[identity]
        for field in fields:
            kind = table.kinds[field]
            try:
                theirs = shape.value(record, field, kind)
            except Mismatch as wrong:
                found.append(f"{identity}: {field}: {wrong}")
                continue
            compared += 1
            if not same(kind, shape.shown(ours[field]), theirs):
                found.append(f"{identity}: {field}: sf2gs has {ours[field]!r}, the client {theirs!r}")
    for identity in wanted:
        if identity not in seen:
            found.append(f"{identity} is missing")
    return found, compared


def unwritten(table, key, records):
    """What is wrong with the lake, given that a client wrote `records` (REST's JSON), each with a unique value of `key`.

    A record that the client deleted is `{key: …, "deleted": true}`.
    """
    by_key = {}
    for row in table.rows.values():
        by_key.setdefault(row[key], []).append(row)
    found = []
    for record in records:
        rows = by_key.get(record[key], [])
        if record.get("deleted"):
            if rows:
                found.append(f"{record[key]} was deleted, but sf2gs still has it")
            continue
        if len(rows) != 1:
            found.append(f"{record[key]} was written once, and sf2gs has it {len(rows)} times")
            continue
        for field in record:
            theirs = SHAPES["rest"].value(record, field, table.kinds[field])
            if not same(table.kinds[field], rows[0][field], theirs):
                found.append(f"{record[key]}: {field}: {theirs!r} was written, sf2gs landed {rows[0][field]!r}")
    return found

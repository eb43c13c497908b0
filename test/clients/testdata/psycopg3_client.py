"""Writes through psycopg 3, and reports each step. Arguments: the connection and the table."""
import datetime, decimal, ipaddress, sys, uuid
import psycopg
from psycopg.types.json import Json, Jsonb

table = sys.argv[2]
print("version", psycopg.__version__)
conn = psycopg.connect(sys.argv[1])
cur = conn.cursor()


def step(name, f, commit=True):
    try:
        got = f()
        got = f"{cur.rowcount} rows" if got is None or got is cur else got
        conn.commit() if commit else conn.rollback()
    except psycopg.Error as e:
        conn.rollback()
        got = f"{type(e).__name__} {e.sqlstate}"
    print(f"step {name}: {got}; status {conn.info.transaction_status.name}")


tz = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
values = [
    ("b", True), ("i2", -32768), ("i4", 42), ("i4", 2147483647), ("i8", -(1 << 63)), ("i8", 7), ("f4", 1.25), ("f8", 1e-300), ("n", 12),
    ("n", decimal.Decimal("12345678901234.56789")), ("nn", decimal.Decimal("1E-20")), ("nn", 1 << 80), ("t", "it's \\ \"x\"\t\n\u00e9\U0001F600"), ("t", ""),
    ("v", "varchar"), ("c", "ab"), ("by", b"\x00\x01\xff\\'"), ("by", bytearray(b"abc")), ("d", datetime.date(2026, 2, 28)),
    ("tm", datetime.time(23, 59, 59, 999999)), ("ts", datetime.datetime(2026, 11, 21, 0, 47, 52, 123456)),
    ("tz", datetime.datetime(2026, 11, 21, 0, 47, 52, tzinfo=tz)), ("iv", datetime.timedelta(days=3, seconds=5, microseconds=7)),
    ("u", uuid.UUID(int=7)), ("j", Json({"a": [1, None]})), ("jb", Jsonb({"b": "\u00e9"})), ("ip", ipaddress.ip_network("10.0.0.0/8")),
    ("ip", ipaddress.ip_address("::1")), ("ai", [1, -2]), ("ai", [70000]), ("at", ["a", "b c", '"']), ("t", None), ("Mixed Case", "100%"),
    ("i2", 40000), ("i4", "seven"), ("i4", 1 << 40), ("d", "2026-02-30"), ("c", "too long"), ("nothing", 1),
]
for column, value in values:
    for form in "%s", "%b", "%t":
        step(f"{type(value).__name__} into {column} as {form}", lambda: cur.execute(f'INSERT INTO {table} (tag, "{column}") VALUES (%s, {form})', (column, value)))
for i in range(8):  # from the sixth on it is prepared
    step("the same again", lambda: cur.execute(f"INSERT INTO {table} (tag, i4, tz) VALUES (%s, %s, %s)", ("again", i, datetime.datetime(2026, 1, 1, i, tzinfo=tz))))
step("without arguments", lambda: cur.execute(f"INSERT INTO {table} (tag) VALUES ('one'); INSERT INTO {table} (tag) VALUES ('two')"))
step("executemany", lambda: cur.executemany(f"INSERT INTO {table} (tag, i4, t) VALUES (%s, %s, %s)", [("many", i, None) for i in range(25)]))
step("executemany with a bad row", lambda: cur.executemany(f"INSERT INTO {table} (tag, i4) VALUES (%s, %s)", [("never", "1"), ("never", "x"), ("never", "3")]))


def pipeline():
    with conn.pipeline():
        for i in range(10):
            cur.execute(f"INSERT INTO {table} (tag, i4) VALUES (%s, %s)", ("pipe", i))


step("pipeline", pipeline)


def copy(binary, rows, types=None):
    def f():
        with cur.copy(f"COPY {table} (tag, i4, t, by, tz) FROM STDIN" + (" (FORMAT BINARY)" if binary else "")) as c:
            if types:
                c.set_types(types)
            for row in rows:
                c.write_row(row)
    return f


rows = [("copy", i, None if i % 3 == 0 else "a\tb\\", b"\x00\xff", datetime.datetime(2026, 1, 1, i % 24, tzinfo=tz)) for i in range(100)]
step("copy text", copy(False, rows))
step("copy binary", copy(True, rows, ["text", "int4", "text", "bytea", "timestamptz"]))
step("copy with a bad row", copy(False, rows + [(None, 1, None, None, None)]))
step("rolled back", lambda: cur.execute(f"INSERT INTO {table} (tag) VALUES ('never')"), commit=False)


def after_error():
    try:
        cur.execute(f"INSERT INTO {table} (tag, i4) VALUES ('never', %s)", ("x",))
    except psycopg.Error as e:
        first = e.sqlstate
    try:
        cur.execute(f"INSERT INTO {table} (tag) VALUES ('never')")
    except psycopg.Error as e:
        return first + " " + e.sqlstate


step("after an error", after_error)
step("unknown table", lambda: cur.execute("INSERT INTO nowhere (a) VALUES (%s)", (1,)))


step("RETURNING", lambda: cur.execute(f"INSERT INTO {table} (tag) VALUES (%s) RETURNING tag", ("never",)).fetchone()[0], commit=False)
step("SELECT", lambda: cur.execute(f"SELECT count(*) FROM {table} WHERE tag = %s", ("many",)).fetchone()[0], commit=False)
conn.autocommit = True
step("autocommit", lambda: cur.execute(f"INSERT INTO {table} (tag) VALUES (%s)", ("auto",)))
conn.close()

# Nested blocks are savepoints. A connection of its own: where they are refused, psycopg loses its way.
conn = psycopg.connect(sys.argv[1])
cur = conn.cursor()
try:
    with conn.transaction():
        cur.execute(f"INSERT INTO {table} (tag, t) VALUES ('nested', 'outer')")
        with conn.transaction(force_rollback=True):
            cur.execute(f"INSERT INTO {table} (tag, t) VALUES ('never', 'inner')")
        cur.execute(f"INSERT INTO {table} (tag, t) VALUES ('nested', 'after')")
        raise psycopg.Rollback()
    got = "rolled back"
except Exception as e:
    got = type(e).__name__
print(f"step savepoint: {got}")
conn.close()

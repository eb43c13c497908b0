"""Writes through psycopg2, and reports each step. Arguments: the connection."""
import datetime, decimal, io, json, sys, uuid
import psycopg2, psycopg2.extras, psycopg2.extensions

print("version", psycopg2.__version__.split()[0])
conn = psycopg2.connect(sys.argv[1])
cur = conn.cursor()


def step(name, f, commit=True):
    try:
        got = f()
        got = f"{cur.rowcount} rows" if got is None else got
        conn.commit() if commit else conn.rollback()
    except psycopg2.Error as e:
        conn.rollback()
        got = f"{type(e).__name__} {e.pgcode}"
    print(f"step {name}: {got}; status {conn.get_transaction_status()}")


psycopg2.extras.register_uuid()
tz = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
values = [
    ("b", True), ("i2", -32768), ("i4", 2147483647), ("i8", -(1 << 63)), ("f4", 1.25), ("f8", 1e-300), ("f8", float("nan")),
    ("n", decimal.Decimal("12345678901234.56789")), ("nn", decimal.Decimal("1E-20")), ("t", "it's \\ \"x\"\t\n\u00e9\U0001F600"), ("t", ""),
    ("v", "varchar"), ("c", "ab"), ("by", b"\x00\x01\xff\\'"), ("by", memoryview(b"abc")), ("d", datetime.date(2026, 2, 28)),
    ("tm", datetime.time(23, 59, 59, 999999)), ("ts", datetime.datetime(2026, 11, 21, 0, 47, 52, 123456)),
    ("tz", datetime.datetime(2026, 11, 21, 0, 47, 52, tzinfo=tz)), ("iv", datetime.timedelta(days=3, seconds=5, microseconds=7)),
    ("u", uuid.UUID(int=7)), ("j", psycopg2.extras.Json({"a": [1, None]})), ("jb", json.dumps({"b": "\u00e9"})), ("ip", "10.0.0.0/8"),
    ("ai", [1, -2, None]), ("ai", []), ("at", ["a", "b c", '"', "null", "", None, "it's \\"]), ("t", None), ("Mixed Case", "100%"),
    ("i2", 40000), ("i4", "seven"), ("d", "2026-02-30"), ("c", "too long"), ("nothing", 1),
]
for column, value in values:
    step(f"{type(value).__name__} into {column}", lambda: cur.execute(f'INSERT INTO psycopg2 (tag, "{column}") VALUES (%s, %s)', (column, value)))
step("named arguments", lambda: cur.execute("INSERT INTO psycopg2 (tag, i4) VALUES (%(a)s, %(b)s)", {"a": "named", "b": 1}))
step("executemany", lambda: cur.executemany("INSERT INTO psycopg2 (tag, i4) VALUES (%s, %s)", [("many", i) for i in range(5)]))
step("execute_batch", lambda: psycopg2.extras.execute_batch(cur, "INSERT INTO psycopg2 (tag, i4) VALUES (%s, %s)", [("batch", i) for i in range(25)], page_size=10))
step("execute_values", lambda: psycopg2.extras.execute_values(cur, "INSERT INTO psycopg2 (tag, i4, t) VALUES %s", [("values", i, None) for i in range(25)], page_size=10))
step("copy_from", lambda: cur.copy_from(io.StringIO("copy\t1\ta\\tb\ncopy\t\\N\t\\\\\n"), "psycopg2", columns=("tag", "i4", "t")))
step("copy_from with a bad line", lambda: cur.copy_from(io.StringIO("never\t1\nnever\tx\n"), "psycopg2", columns=("tag", "i4")))
step("copy_expert CSV", lambda: cur.copy_expert("COPY psycopg2 (tag, i4, t) FROM STDIN WITH CSV HEADER", io.StringIO('tag,i4,t\ncsv,1,"a ""b""\n"\ncsv,,\n')))
step("rolled back", lambda: cur.execute("INSERT INTO psycopg2 (tag) VALUES ('never')"), commit=False)


def after_error():
    try:
        cur.execute("INSERT INTO psycopg2 (tag, i4) VALUES ('never', 'x')")
    except psycopg2.Error as e:
        first = e.pgcode
    try:
        cur.execute("INSERT INTO psycopg2 (tag) VALUES ('never')")
    except psycopg2.Error as e:
        return first + " " + e.pgcode


step("after an error", after_error)
step("unknown table", lambda: cur.execute("INSERT INTO nowhere (a) VALUES (1)"))
step("NULL where it may not be", lambda: cur.execute("INSERT INTO psycopg2 (tag) VALUES (%s)", (None,)))


def savepoint():
    cur.execute("INSERT INTO psycopg2 (tag, t) VALUES ('never', 'outer')")
    cur.execute("SAVEPOINT a")
    cur.execute("INSERT INTO psycopg2 (tag, t) VALUES ('never', 'inner')")
    cur.execute("ROLLBACK TO SAVEPOINT a")


step("savepoint", savepoint, commit=False)
step("RETURNING", lambda: cur.execute("INSERT INTO psycopg2 (tag) VALUES ('never') RETURNING tag") or cur.fetchone()[0], commit=False)
step("SELECT", lambda: cur.execute("SELECT count(*) FROM psycopg2 WHERE tag = 'many'") or cur.fetchone()[0], commit=False)
conn.autocommit = True
step("autocommit", lambda: cur.execute("INSERT INTO psycopg2 (tag) VALUES ('auto')"))
conn.close()

package pgwire

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"holdfast/internal/fault"
)

const failedBlock = "ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block; ready E"

// simpleCases are queries, each case's in a session of its own, with every
// message that answers them and every row that is committed.
var simpleCases = []struct {
	name    string
	queries []string
	answers []string
	rows    []string
}{
	{"one row", []string{"INSERT INTO t(a,b) VALUES (1,'x')"}, []string{"INSERT 0 1; ready I"}, []string{"t(a,b)=1|x"}},
	{"several rows", []string{"insert into t (a) values (1),(2) , (3);"}, []string{"INSERT 0 3; ready I"}, []string{"t(a)=1", "t(a)=2", "t(a)=3"}},
	{"nothing", []string{"", " ;; -- ping\n", "/* a /* b */ c */"}, []string{"empty; ready I", "empty; ready I", "empty; ready I"}, nil},
	{"several statements are one transaction", []string{"insert into t(a) values (1); insert into t(a) values (2); insert into t(a) values (x)"},
		[]string{`INSERT 0 1; INSERT 0 1; ERROR 42703 at 84 column "x" does not exist; ready I`}, nil},
	{"an error leaves the connection usable", []string{"insert into t(a) values (", "insert into t(a) values (1)"},
		[]string{"ERROR 42601 at 26 syntax error at end of input; ready I", "INSERT 0 1; ready I"}, []string{"t(a)=1"}},
	{"a block", []string{"begin", "insert into t(a) values (1)", "insert into t(a) values (2)", "COMMIT"},
		[]string{"BEGIN; ready T", "INSERT 0 1; ready T", "INSERT 0 1; ready T", "COMMIT; ready I"}, []string{"t(a)=1", "t(a)=2"}},
	{"a block rolled back", []string{"START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE", "insert into t(a) values (1)", "rollback work"},
		[]string{"START TRANSACTION; ready T", "INSERT 0 1; ready T", "ROLLBACK; ready I"}, nil},
	{"a failed block", []string{"begin", "insert into t(a) values (1)", "delete from t", "insert into t(a) values (2)", "select 1", "commit", "insert into t(a) values (3)"},
		[]string{"BEGIN; ready T", "INSERT 0 1; ready T", `ERROR 0A000 at 1 statement "delete" is not taken; ready E`,
			"ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block; ready E",
			"ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block; ready E",
			"ROLLBACK; ready I", "INSERT 0 1; ready I"}, []string{"t(a)=3"}},
	{"a block in one query", []string{"begin; insert into t(a) values (1); commit; insert into t(a) values (2); nonsense"},
		[]string{`ERROR 42601 at 74 syntax error at or near "nonsense"; ready I`}, nil},
	{"a block in one query, and what is no syntax error behind it", []string{"begin; insert into t(a) values (1); commit; insert into t(a) values (upper('x'))", "insert into t(a) values (2); commit; insert into t(a) values (3", "rollback; begin; insert into t(a) values (4); savepoint a; commit; begin"},
		[]string{`BEGIN; INSERT 0 1; COMMIT; ERROR 0A000 at 70 function "upper" is not evaluated; ready I`, "INSERT 0 1; ERROR 42601 at 64 syntax error at end of input; ready I",
			"WARNING 25P01 there is no transaction in progress; ROLLBACK; BEGIN; INSERT 0 1; SAVEPOINT; COMMIT; BEGIN; ready T"}, []string{"t(a)=1", "t(a)=4"}},
	{"rows before begin belong to the block", []string{"insert into t(a) values (1); begin", "rollback"},
		[]string{"INSERT 0 1; BEGIN; ready T", "ROLLBACK; ready I"}, nil},
	{"chained", []string{"begin", "insert into t(a) values (1)", "commit and chain", "insert into t(a) values (2)", "rollback and no chain"},
		[]string{"BEGIN; ready T", "INSERT 0 1; ready T", "COMMIT; ready T", "INSERT 0 1; ready T", "ROLLBACK; ready I"}, []string{"t(a)=1"}},
	{"warnings", []string{"commit", "begin; begin", "end"},
		[]string{"WARNING 25P01 there is no transaction in progress; COMMIT; ready I",
			"BEGIN; WARNING 25001 there is already a transaction in progress; BEGIN; ready T", "COMMIT; ready I"}, nil},
	{"read only", []string{"begin read only", "insert into t(a) values (1)", "rollback", "show transaction_read_only"},
		[]string{"BEGIN; ready T", "ERROR 25006 cannot execute INSERT in a read-only transaction; ready E", "ROLLBACK; ready I",
			"columns transaction_read_only 25; row off; SHOW; ready I"}, nil},
	{"savepoints", []string{"begin", "insert into t(a) values (1)", "savepoint a", "insert into t(a) values (2)", "nonsense", "insert into t(a) values (3)", "savepoint b", "release a",
		"ROLLBACK TO a", "insert into t(a) values (4)", "savepoint b", "insert into t(a) values (5)", "rollback work to savepoint a", "insert into t(a) values (6)", "rollback to b", "rollback transaction to savepoint a",
		"savepoint savepoint", "insert into t(a) values (7)", "release savepoint savepoint", "release savepoint", "rollback to a", "release savepoint a", "insert into t(a) values (8),(9)", "commit"},
		[]string{"BEGIN; ready T", "INSERT 0 1; ready T", "SAVEPOINT; ready T", "INSERT 0 1; ready T", `ERROR 42601 at 1 syntax error at or near "nonsense"; ready E`, failedBlock, failedBlock, failedBlock,
			"ROLLBACK; ready T", "INSERT 0 1; ready T", "SAVEPOINT; ready T", "INSERT 0 1; ready T", "ROLLBACK; ready T", "INSERT 0 1; ready T", `ERROR 3B001 savepoint "b" does not exist; ready E`, "ROLLBACK; ready T",
			"SAVEPOINT; ready T", "INSERT 0 1; ready T", "RELEASE; ready T", `ERROR 3B001 savepoint "savepoint" does not exist; ready E`, "ROLLBACK; ready T", "RELEASE; ready T", "INSERT 0 2; ready T", "COMMIT; ready I"},
		[]string{"t(a)=1", "t(a)=8", "t(a)=9"}},
	{"savepoints of one name", []string{"begin; insert into t(a) values (1); savepoint a; insert into t(a) values (2); savepoint a; insert into t(a) values (3); rollback to a; release a; insert into t(a) values (4); rollback to a; commit"},
		[]string{"BEGIN; INSERT 0 1; SAVEPOINT; INSERT 0 1; SAVEPOINT; INSERT 0 1; ROLLBACK; RELEASE; INSERT 0 1; ROLLBACK; COMMIT; ready I"}, []string{"t(a)=1"}},
	{"a row that fails takes those of its statement with it", []string{"begin", "savepoint a", "insert into t(a) values (1),(2),(upper('x'))", "rollback to a", "commit"},
		[]string{"BEGIN; ready T", "SAVEPOINT; ready T", `ERROR 0A000 at 34 function "upper" is not evaluated; ready E`, "ROLLBACK; ready T", "COMMIT; ready I"}, nil},
	{"savepoints outside a block", []string{"savepoint a", "release a", "rollback to a", "begin; savepoint a; commit", "begin; rollback to a", "commit"},
		[]string{"ERROR 25P01 SAVEPOINT can only be used in transaction blocks; ready I", "ERROR 25P01 RELEASE SAVEPOINT can only be used in transaction blocks; ready I",
			"ERROR 25P01 ROLLBACK TO SAVEPOINT can only be used in transaction blocks; ready I", "BEGIN; SAVEPOINT; COMMIT; ready I", `BEGIN; ERROR 3B001 savepoint "a" does not exist; ready E`, "ROLLBACK; ready I"}, nil},
	{"settings go back to a savepoint", []string{"begin", "set local time zone 'Europe/Berlin'", "savepoint a", "set time zone 'Asia/Tokyo'", "rollback to a", "show timezone", "commit", "show timezone"},
		[]string{"BEGIN; ready T", "set TimeZone=Europe/Berlin; SET; ready T", "SAVEPOINT; ready T", "set TimeZone=Asia/Tokyo; SET; ready T", "set TimeZone=Europe/Berlin; ROLLBACK; ready T",
			"columns timezone 25; row Europe/Berlin; SHOW; ready T", "set TimeZone=UTC; COMMIT; ready I", "columns timezone 25; row UTC; SHOW; ready I"}, nil},
	{"unequal rows", []string{"insert into t(a,b) values (1,2),(3)", "insert into t(a) values (1,2)"},
		[]string{"ERROR 42601 at 35 INSERT has more target columns than expressions: 2 and 1; ready I",
			"ERROR 42601 at 29 INSERT has more expressions than target columns: 2 and 1; ready I"}, nil},
	{"duplicate column", []string{"insert into t(a,A) values (1,2)"}, []string{`ERROR 42701 at 17 column "a" specified more than once; ready I`}, nil},
	{"a parameter", []string{"insert into t(a) values ($1)"}, []string{"ERROR 42P02 there is no parameter $1; ready I"}, nil},
	{"defaults", []string{"insert into t(a,b) values (1,default),(DEFAULT,'x')", "insert into t(a) values (default)", "insert into t default values"},
		[]string{"INSERT 0 2; ready I", "ERROR 0A000 a row of nothing but DEFAULT is not taken; ready I",
			"ERROR 0A000 at 15 a row without any value is not taken; ready I"}, []string{"t(a)=1", "t(b)=x"}},
	{"without a list", []string{"create table k (a int, b text, c text)", "insert into k values (1,'x')", "insert into k values (1,'x',null),(2,'y','z')", "insert into k values (4)",
		"insert into k values (1),(2,3)", "insert into k values (1,2,3,4)", "insert into nowhere values (1)"},
		[]string{"CREATE TABLE; ready I", "INSERT 0 1; ready I", "INSERT 0 2; ready I", "INSERT 0 1; ready I",
			"ERROR 42601 at 30 VALUES lists must all be the same length; ready I",
			`ERROR 42601 INSERT has more expressions than table "k" has columns: 4 and 3; ready I`,
			`ERROR 42P01 relation "nowhere" does not exist; ready I`},
		[]string{"k(a,b)=1|x", "k(a,b,c)=1|x|NULL", "k(a,b,c)=2|y|z", "k(a)=4"}},
	{"names", []string{`insert into public."My T" ("a ""b""", ÄB) values (1,2)`, "insert into other.t(a) values (1)", "insert into t(order) values (1)",
		"insert into t(" + strings.Repeat("n", 64) + ") values (1)", `insert into t("") values (1)`},
		[]string{"INSERT 0 1; ready I", `ERROR 0A000 at 13 schema "other" is not known; ready I`, `ERROR 42601 at 15 syntax error at or near "order"; ready I`,
			`ERROR 42622 at 15 name "` + strings.Repeat("n", 64) + `" is too long: 64 bytes; ready I`,
			"ERROR 42601 at 15 zero-length delimited identifier; ready I"},
		[]string{`My T(a "b",Äb)=1|2`}},
	{"refusals of INSERT", []string{"insert into t(a) values (1) returning a", "insert into t(a) values (1) on conflict (a) do nothing", "insert into t(a) values (1) on conflict do update set a=1", "insert into t(a) values (1) on conflict do nothing returning a", "insert into t(a) select 1",
		"insert into t(a) values (1+1)", "insert into t(a) values (upper('x'))", "insert into t(a) values ((select 1))", `insert into t(a) values ("x")`,
		"with x as (select 1) insert into t(a) select 1", "insert into t(a) values (array(select 1))", "insert into t as u (a) values (1)", "insert into t(a) overriding system value values (1)"},
		[]string{"ERROR 0A000 at 29 RETURNING is not answered; ready I", "ERROR 0A000 at 29 this ON CONFLICT is not taken; ready I", "ERROR 0A000 at 29 this ON CONFLICT is not taken; ready I", "ERROR 0A000 at 52 RETURNING is not answered; ready I",
			"ERROR 0A000 at 18 INSERT ... SELECT is not evaluated; ready I", `ERROR 0A000 at 27 expressions are not evaluated: operator "+"; ready I`,
			`ERROR 0A000 at 26 function "upper" is not evaluated; ready I`, "ERROR 0A000 at 27 subqueries are not evaluated; ready I",
			`ERROR 42703 at 26 column "x" does not exist; ready I`, `ERROR 0A000 at 1 statement "with" is not taken; ready I`,
			"ERROR 0A000 at 26 expressions are not evaluated: array; ready I", "ERROR 0A000 at 15 an alias of the table is not taken; ready I",
			"ERROR 0A000 at 18 OVERRIDING is not taken; ready I"}, nil},
	{"arrays", []string{"create table x (i int[], n numeric[], s varchar(3)[], b boolean[], d date[], k integer)", "insert into x(i,n,s,b) values (ARRAY [1, -2,null], array[1, 2.50, .5], array['a','b c',NULL,'null',''], array[true,false])",
		"insert into x(i) values (array[1.5])", "insert into x(i) values (array['1'])", "insert into x(s) values (array[1])", "insert into x(d) values (array['2026-01-01'])", "insert into x(k) values (array[1])", "insert into x(n) values (array[12345678901]), (array[1]::int[])"},
		[]string{"CREATE TABLE; ready I", "INSERT 0 1; ready I", "ERROR 0A000 an ARRAY of type numeric[] is not converted to int[]; ready I", "ERROR 0A000 an ARRAY of type text[] is not converted to int[]; ready I",
			"ERROR 0A000 an ARRAY of type integer[] is not converted to varchar(3)[]; ready I", "ERROR 0A000 an ARRAY of type text[] is not converted to date[]; ready I", "ERROR 0A000 an ARRAY of type integer[] is not converted to integer; ready I", "INSERT 0 2; ready I"},
		[]string{`x(i,n,s,b)={1,-2,NULL}|{1,2.50,0.5}|{a,"b c",NULL,"null",""}|{t,f}`, "x(n)={12345678901}", "x(n)={1}"}},
	{"rows that yield", []string{"insert into t(a) values (1),(2) on conflict do nothing", "INSERT INTO t(a) VALUES (3) On Conflict Do NOTHING ;", "insert into t(a) values (4)",
		"insert into t(a) values (5) on conflict do nothing; insert into t(a) values (6)", "insert into t(a) values (7); insert into t(a) values (8) on conflict do nothing -- nothing",
		"insert into t(a) values (9); insert into t(a) values (10); -- nothing", "insert into t(a) values (11) on conflict", "insert into t(a) values (11) on"},
		[]string{"INSERT 0 2; ready I", "INSERT 0 1; ready I", "INSERT 0 1; ready I", "INSERT 0 1; INSERT 0 1; ready I", "INSERT 0 1; INSERT 0 1; ready I", "INSERT 0 1; INSERT 0 1; ready I",
			"ERROR 0A000 at 30 this ON CONFLICT is not taken; ready I", "ERROR 42601 at 32 syntax error at end of input; ready I"},
		[]string{"t(a)=1 unless there", "t(a)=2 unless there", "t(a)=3 unless there", "t(a)=4", "t(a)=5 unless there", "t(a)=6", "t(a)=7", "t(a)=8 unless there", "t(a)=9", "t(a)=10"}},
	{"functions", []string{"set time zone 'Europe/Berlin'", "insert into t(a,b,c,d) values (to_timestamp(1700000000.1234567), To_Timestamp( -1 )::timestamp, to_timestamp(0)::date, to_timestamp(null))",
		"insert into t(a,b,c,d) values (NULLIF('x',''), nullif('',''), nullif('10.0.0.1', '')::inet, nullif(1.0, 1))", "insert into t(a,b) values (nullif(null,'x'), nullif(5, 6))",
		"insert into t(a) values (nullif(1,'x'))", "insert into t(a) values (nullif('1'::int,''))", "insert into t(a) values (to_timestamp('x'))", "insert into t(a) values (to_timestamp(1e300))", "insert into t(a) values (to_timestamp(1,2))", "insert into t(a) values (nullif)"},
		[]string{"set TimeZone=Europe/Berlin; SET; ready I", "INSERT 0 1; ready I", "INSERT 0 1; ready I", "INSERT 0 1; ready I", "ERROR 0A000 at 26 NULLIF is evaluated for two texts, or two numbers, alone; ready I",
			"ERROR 0A000 at 26 NULLIF is evaluated for two texts, or two numbers, alone; ready I", "ERROR 0A000 at 26 to_timestamp is evaluated for numbers alone; ready I", `ERROR 22008 at 26 timestamp out of range: "1e300"; ready I`,
			`ERROR 42601 at 40 syntax error at or near ","; ready I`, `ERROR 42703 at 26 column "nullif" does not exist; ready I`},
		[]string{"t(a,b,c,d)=2023-11-14 23:13:20.123457+01|1970-01-01 00:59:59|1970-01-01|NULL", "t(a,b,c,d)=x|NULL|10.0.0.1|NULL", "t(a,b)=NULL|5"}},
	{"Unicode escapes with UESCAPE", []string{`insert into t(a,b) values (U&'d!0061t\a!!' UESCAPE '!', u&'\0061' /* x */ uescape '\')`, "insert into t(a) values (u&'x' uescape 'a')", "insert into t(a) values (u&'!d83d!+00de00' uescape '!')", "insert into t(a) values (u&'!d83d!de00' uescape '!')", `insert into t(a) values (e'\\v\v')`},
		[]string{"INSERT 0 1; ready I", "ERROR 42601 at 40 invalid Unicode escape character; ready I", "ERROR 42601 at 29 invalid Unicode escape; ready I", "INSERT 0 1; ready I", `ERROR 0A000 at 32 the escape \v is not taken; ready I`}, []string{`t(a,b)=dat\a!|a`, "t(a)=😀"}},
	{"a word that only begins like VALUES", []string{"insert into t(a) values (1)", "insert into t(a) valuesx (1)"},
		[]string{"INSERT 0 1; ready I", `ERROR 42601 at 18 syntax error at or near "valuesx"; ready I`}, []string{"t(a)=1"}},
	{"declarations", []string{"create table if not exists a.b (c int)", "CREATE TABLE x (id bigserial PRIMARY KEY, n numeric ( 10 , 2 ) NOT NULL DEFAULT (1+2), t timestamp(3) with time zone, v character varying(64)[] , d double precision, check (n > 0), constraint u unique (n))",
		"create table x (a int)", "create table if not exists x (a int)", "create temp table y (a int)", "create table z as select 1", "create table z (a int, a int)", "create table z (a int foo)", "create index i on x(id)"},
		[]string{`ERROR 0A000 at 28 schema "a" is not known; ready I`,
			"NOTICE 00000 PRIMARY is not kept: columns, their types and NOT NULL are declared, all else is the sinks' own; CREATE TABLE; ready I",
			`ERROR 42P07 relation "x" already exists; ready I`, `NOTICE 42P07 relation "x" already exists, skipping; CREATE TABLE; ready I`,
			"ERROR 0A000 at 1 of all CREATE statements only CREATE TABLE is taken; ready I", "ERROR 0A000 at 16 CREATE TABLE without a list of columns is not taken; ready I",
			`ERROR 42701 at 24 column "a" specified more than once; ready I`, `ERROR 42601 at 23 syntax error at or near "foo"; ready I`,
			"ERROR 0A000 at 1 of all CREATE statements only CREATE TABLE is taken; ready I"}, nil},
	{"questions", []string{"SELECT 1", "select 1 as a, 'x' b, null, true", "select version()", "select current_schema()", "select pg_catalog.set_config('search_path', '', false)",
		"select table_version from version where table_name='acc'", "select a from t", "select * from t", "select now()", "select current_user, current_database()"},
		[]string{"columns ?column? 23; row 1; SELECT 1; ready I", "columns a 23, b 25, ?column? 25, bool 16; row 1|x|NULL|t; SELECT 1; ready I",
			"columns version 25; row PostgreSQL 15.0 (Holdfast), an insert-only database; SELECT 1; ready I", "columns current_schema 19; row public; SELECT 1; ready I",
			"columns set_config 25; row ; SELECT 1; ready I", "columns table_version 23; SELECT 0; ready I",
			`ERROR 0A000 table "t" cannot be read here; ready I`, "ERROR 0A000 at 1 this SELECT is not answered; ready I",
			"columns now 1184; row 2026-11-21 00:04:56.789+00; SELECT 1; ready I", "columns current_user 19, current_database 19; row tester|tester; SELECT 1; ready I"}, nil},
	{"clean-up of pools", []string{"discard all", "deallocate all", "deallocate x", "close all", "unlisten *", "reset all"},
		[]string{"DISCARD ALL; ready I", "DEALLOCATE ALL; ready I", `ERROR 26000 prepared statement "x" does not exist; ready I`, "CLOSE CURSOR ALL; ready I", "UNLISTEN; ready I", "RESET; ready I"}, nil},
	{"a comment without an end", []string{"insert into t(a) values (1) /* x"}, []string{"ERROR 42601 at 29 unterminated /* comment; ready I"}, nil},
	{"text that is none", []string{"insert into t(a) values ('\xff')", `insert into t(a) values (E'\000')`, `insert into t(a) values (E'\xc3')`, `insert into t(a) values (E'\xc3\xa4')`},
		[]string{`ERROR 22021 invalid byte sequence for encoding "UTF8": 0xff; ready I`, `ERROR 22021 at 27 invalid byte sequence for encoding "UTF8": 0x00; ready I`,
			`ERROR 22021 at 27 invalid byte sequence for encoding "UTF8": 0xc3; ready I`, "INSERT 0 1; ready I"}, []string{"t(a)=ä"}},
}

// TestSimpleQuery runs simpleCases.
func TestSimpleQuery(t *testing.T) {
	for _, c := range simpleCases {
		t.Run(c.name, func(t *testing.T) {
			store := newMemStore(true)
			_, addr := startServer(t, store)
			cl := connect(t, addr)
			for i, q := range c.queries {
				want(t, q, cl.query(q), c.answers[i])
			}
			want(t, "rows", strings.Join(store.taken(), "\n"), strings.Join(c.rows, "\n"))
		})
	}
}

func TestDeclaredTypes(t *testing.T) {
	store := newMemStore(false)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	c.query(`create table x (a INT, b varchar (64), c numeric(10 , 2), d timestamp (3) with time zone, e time without time zone,
		f double precision, g text [] , h int[3][], i bit varying(5), j "char", k mood, l interval day to second, m national character varying(3), n int array, exclude text) with (fillfactor=70)`)
	var got []string
	for _, col := range store.tables["x"] {
		got = append(got, fmt.Sprintf("%s %s=%d", col.Name, col.Type, typeOf(col.Type).oid()))
	}
	want(t, "columns", strings.Join(got, ", "), "a int=23, b varchar(64)=1043, c numeric(10,2)=1700, d timestamptz(3)=1184, e time=1083, "+
		"f double precision=701, g text[]=1009, h int[][]=1007, i varbit(5)=0, j char=1042, k mood=0, l interval day to second=1186, m varchar(3)=1043, n int[]=1007, exclude text=25")
}

// TestFirstRowTypes holds the rule by which an unknown table gets its types.
func TestFirstRowTypes(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	want(t, "insert", c.query("insert into t(a,b,c,d,e,f,g) values (-1.50, '007', null, true, now(), 5::text, (7)), (2,2,2,2,2,2,2)"), "INSERT 0 2; ready I")
	var got []string
	for _, col := range store.tables["t"] {
		got = append(got, col.Name+" "+col.Type)
	}
	want(t, "types", strings.Join(got, ","), "a numeric,b text,c text,d text,e text,f text,g numeric")
	want(t, "row", store.taken()[0], "t(a,b,c,d,e,f,g)=-1.50|007|NULL|t|2026-11-21 00:04:56.789+00|5|7")
}

// TestNothingDeclaredByMistake: a statement that is refused leaves no table.
func TestNothingDeclaredByMistake(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	for _, q := range []string{"insert into t(a) values (1) returning a", "insert into t(a) values (1),(2", "insert into t(a) values (1),(1+1)", "insert into t(a) values (1) garbage", "insert into t(a) values ($1)"} {
		if got := c.query(q); !strings.HasPrefix(got, "ERROR") {
			t.Errorf("%s: got %s", q, got)
		}
	}
	if store.declared > 0 {
		t.Errorf("%d columns were declared", store.declared)
	}
}

func TestUnknownTables(t *testing.T) {
	store := newMemStore(false).table(t, "k", "a int4, b text")
	_, addr := startServer(t, store)
	c := connect(t, addr)
	want(t, "table", c.query("insert into t(a) values (1)"), `ERROR 42P01 relation "t" does not exist; ready I`)
	want(t, "column", c.query("insert into k(x) values (1)"), `ERROR 42703 column "x" does not exist; ready I`)
	want(t, "copy", c.query("copy t from stdin"), `ERROR 42P01 relation "t" does not exist; ready I`)
	want(t, "fewer values", c.query("insert into k values (1)"), "INSERT 0 1; ready I")
}

// TestCommitErrors: a commit that fails takes every answer of its transaction
// with it, and the session goes on.
func TestCommitErrors(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	store.failCommit = fault.New(fault.DiskFull, "no space left for stream %q", "main").WithHint("free some")
	full := `ERROR 53100 no space left for stream "main"; ready I`
	want(t, "one", c.query("insert into t(a) values (1)"), full)
	want(t, "several", c.query("insert into t(a) values (1); insert into t(a) values (2)"), full)
	want(t, "begin", c.query("begin; insert into t(a) values (1)"), "BEGIN; INSERT 0 1; ready T")
	want(t, "commit", c.query("commit"), full)
	want(t, "implicit, then commit", c.query("insert into t(a) values (1); commit; select 1"), full)
	store.failCommit = fmt.Errorf("plain: %w", os.ErrClosed)
	want(t, "plain error", c.query("insert into t(a) values (1)"), "ERROR XX000 internal error: plain: file already closed; ready I")
	store.failCommit = nil
	want(t, "after", c.query("insert into t(a) values (3)"), "INSERT 0 1; ready I")
	want(t, "rows", strings.Join(store.taken(), "\n"), "t(a)=3")
	store.failInsert = fault.New(fault.FeatureNotSupported, "rows of two streams in one transaction")
	want(t, "insert refused", c.query("insert into t(a) values (3)"), "ERROR 0A000 rows of two streams in one transaction; ready I")
}

func TestKamailio(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	text, err := os.ReadFile("../../testdata/kamailio/pg_inserts.sql")
	if err != nil {
		t.Fatal(err)
	}
	inserts := 0
	for q := range strings.Lines(string(text)) {
		wanted := "INSERT 0 1; ready I"
		if strings.HasPrefix(q, "SET") {
			wanted = "SET; ready I"
		} else {
			inserts++
		}
		want(t, q, c.query(q), wanted)
	}
	rows := store.taken()
	if len(rows) != inserts || inserts != 156 {
		t.Fatalf("%d INSERTs gave %d rows, want 156", inserts, len(rows))
	}
	want(t, "a row of acc_cdrs", rows[4], "acc_cdrs(start_time,end_time,duration,caller,callee,call_id)=2026-11-20 23:55:04|2026-11-20 23:55:07|2.483000|sip:alice@example.net|sip:2001@example.net|1-14838@127.0.0.1")
	if !strings.Contains(rows[8], `|back\slash\n and "quotes"|NULL`) {
		t.Errorf("a backslash is not kept: %s", rows[8])
	}
	if text, err = os.ReadFile("../../testdata/kamailio/pg_statements.txt"); err != nil {
		t.Fatal(err)
	}
	for q := range strings.Lines(string(text)) {
		got := c.query(q)
		switch {
		case strings.HasPrefix(q, "select table_version"):
			want(t, q, got, "columns table_version 23; SELECT 0; ready I")
		case strings.HasPrefix(q, "select"):
			if !strings.HasPrefix(got, "ERROR 0A000") {
				t.Errorf("%s: got %s", q, got)
			}
		case strings.HasPrefix(got, "ERROR"):
			t.Errorf("%s: got %s", q, got)
		}
	}
}

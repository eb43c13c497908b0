package pgwire

import (
	"strings"
	"testing"

	"holdfast/internal/fault"
)

// valueCases are the forms of a value, each with the text that is stored, or
// the SQLSTATE of the refusal.
var valueCases = []struct{ in, out string }{
	{`''`, ``}, {`'it''s'`, `it's`}, {`''''`, `'`}, {`'a\nb'`, `a\nb`}, {`'\'`, `\`}, {`'ä€𝄞'`, `ä€𝄞`}, {`'--x/*'`, `--x/*`},
	{"'a'\n'b'", `ab`}, {"'a' \t\n -- c\n 'b'\n'''c'", `ab'c`}, {"'a'\r'b'", "ab"}, {`'a' 'b'`, "42601"}, {"'a' -- c\n 'b'", "ab"}, {"'a'--c\n'b'", `ab`}, {"'a' /*\n*/ 'b'", "42601"},
	{`E'a\nb\t\\\'\x41\101\u00e4\U0001D11E'`, "a\nb\t\\'AAä𝄞"}, {`E'\uD834\uDD1E'`, "𝄞"}, {`E'\uD834'`, "42601"}, {`E'\uD834\u0041'`, "42601"}, {`E'\u00'`, "42601"},
	{`E'\u0000'`, "42601"}, {`E'\000'`, "22021"}, {`E'\xff'`, "22021"}, {`E'\q''\x'`, "q'x"}, {`e'\b\f\r'`, "\b\f\r"}, {"E'a'\n'\\tb'", "a\tb"}, {`E'\'`, "42601"}, {`E'\400'`, "22021"},
	{`U&'\00e4\+01D11E\\'`, `ä𝄞\`}, {`U&'\D834\DD1E'`, "𝄞"}, {`U&'a\'`, "42601"}, {`U&'x' UESCAPE '!'`, "x"}, {`U&'\000'`, "42601"}, {`U&'a''b'`, "a'b"},
	{`$$a'b\$$`, `a'b\`}, {`$x$a$$b$x$`, `a$$b`}, {`$x$a$y$`, "42601"}, {`$$`, "42601"}, {`$ä$x$ä$`, "x"}, {`$a-b$x$a-b$`, "42601"},
	{`B'0101'`, `0101`}, {`B'012'`, "42601"}, {`X'1fA'`, `000111111010`}, {`x'g'`, "42601"}, {`N'x''y'`, `x'y`}, {`b''`, ``},
	{`1`, `1`}, {`007`, `007`}, {`1.50`, `1.50`}, {`.5`, `.5`}, {`5.`, `5.`}, {`1e5`, `1e5`}, {`1E-5`, `1E-5`}, {`2.483000  `, `2.483000`}, {`-1`, `-1`}, {`- 1`, `-1`}, {`+1.0`, `1.0`}, {`-.5`, `-.5`},
	{"-/*c*/1", `-1`}, {"--1\n1", `1`}, {`1.2.3`, "42601"}, {`1e`, "42601"}, {`.`, "42601"}, {`1a`, "42601"}, {`0x1F`, "42601"}, {`1_000`, "42601"}, {`1e+`, "42601"}, {`1..2`, "42601"}, {`- -1`, "0A000"}, {`-'1'`, "0A000"},
	{`99999999999999999999999999999999.000000000000000000001`, `99999999999999999999999999999999.000000000000000000001`},
	{`NULL`, `NULL`}, {`null::int`, `NULL`}, {`TRUE`, `t`}, {`False`, `f`}, {`true::text`, `true`}, {`true::boolean`, `t`}, {`true::int`, "0A000"},
	{`('x')`, `x`}, {`(((1)))`, `1`}, {`(null)`, `NULL`}, {`(default)`, "42601"}, {strings.Repeat("(", 17) + "1" + strings.Repeat(")", 17), "0A000"}, {`(1`, "42601"}, {`()`, "42601"},
	{`'2024-01-01'::timestamptz`, `2024-01-01`}, {`'x'::text::varchar`, `x`}, {`'\x01'::bytea`, `\x01`}, {`CAST('5' AS numeric)`, `5`}, {`cast(7 as double precision)`, `7`}, {`'{1,2}'::int[]`, `{1,2}`},
	{`'{}'::int array`, `{}`}, {`'{}'::int[][3]`, `{}`}, {`'a'::"Mood"`, `a`}, {`'a'::pg_catalog.text`, `a`}, {`5::pg_catalog.int4`, `5`}, {`5::precision`, "42601"}, {`5::is`, "42601"}, {`5::pg_catalog.int`, "42704"}, {`5::"int"`, "42704"}, {`5::public.bigint`, "42704"}, {`'x'::pg_catalog.timestamp with time zone`, "42601"}, {`'a'::other.text`, "0A000"}, {`'1'::interval day`, "0A000"}, {`'1 day'::interval`, `1 day`}, {`'x'::character varying`, `x`},
	{`'abc'::varchar(2)`, "0A000"}, {`'abc'::char`, "0A000"}, {`1.5::int`, "0A000"}, {`1e3::int`, "0A000"}, {`5::int`, `5`}, {`1.50::numeric`, `1.50`}, {`1.5::numeric(2,0)`, "0A000"}, {`'x'::timestamp(0)`, "0A000"},
	{`5::date`, "0A000"}, {`5::numeric[]`, "0A000"}, {`now()::int`, "0A000"}, {`current_date::time`, "0A000"}, {`'x'::`, "42601"}, {`'x'::varchar(`, "42601"}, {`'x'::int[`, "42601"}, {`'x'::[]`, "42601"},
	{`date '2024-01-01'`, `2024-01-01`}, {`timestamp with time zone '2024-01-01 00:00+00'`, `2024-01-01 00:00+00`}, {`double precision '1.5'`, `1.5`}, {`json '{"a":1}'`, `{"a":1}`}, {`bit '1'`, "0A000"}, {`interval '1' day`, "42601"},
	{`1+1`, "0A000"}, {`'a'||'b'`, "0A000"}, {`1 = 1`, "0A000"}, {`'a' collate "C"`, "0A000"}, {`now() at time zone 'utc'`, "0A000"}, {`1 is null`, "0A000"}, {`not true`, "0A000"}, {`case when true then 1 end`, "0A000"},
	{`array['a','{"b\', null]`, `{a,"{\"b\\",NULL}`}, {`ARRAY[1,007,-0]`, `{1,7,0}`}, {`array[1,2.50,.5]::numeric[]`, `{1,2.50,0.5}`}, {`array[TRUE]`, `{t}`}, {`(array[null])`, `{NULL}`}, {`array['x']::text[]`, `{x}`}, {`array[1]::bigint[]`, "0A000"},
	{`array[]`, "0A000"}, {`array[[1]]`, "0A000"}, {`array[1,'2']`, "0A000"}, {`array[1,true]`, "0A000"}, {`array['1'::int]`, "0A000"}, {`array[1e5]`, "0A000"}, {`array[now()]`, "0A000"}, {`array[1`, "42601"}, {`array[1,]`, "0A000"}, {`array[default]`, "42601"}, {`array[1 2]`, "42601"}, {`array['x']::text`, "0A000"}, {`array(select 1)`, "0A000"}, {`array`, "0A000"}, {`row(1)`, "0A000"}, {`f(1)`, "0A000"}, {`s.f(1)`, "0A000"}, {`(select 1)`, "0A000"}, {`now(1)`, "0A000"}, {`now`, "42703"},
	{`x`, "42703"}, {`"x"`, "42703"}, {`select`, "42601"}, {`user`, "0A000"}, {`e 'x'`, "42703"}, {`mood 'x'`, "42703"}, {`point '(1,2)'`, `(1,2)`}, {`text[] '{}'`, "42703"}, {`*`, "0A000"}, {`;`, "42601"}, {`,`, "42601"}, {``, "42601"}, {`'x`, "42601"}, {`E'x`, "42601"}, {`$1`, "42P02"}, {`$0`, "42P02"}, {`$1a`, "42601"}, {`$99999`, "42P02"},
	{`'x' 'y'`, "42601"}, {`1 1`, "42601"}, {`'a'[1]`, "0A000"}, {`@1`, "0A000"},
}

func TestValues(t *testing.T) {
	for _, c := range valueCases {
		store := newMemStore(true)
		s := newSession(New(Options{Store: store}), nil)
		err := s.statements([]byte("insert into t(a) values (" + c.in + ")\x00"))
		got := fault.Code(err)
		if err == nil {
			got = strings.TrimPrefix(s.tx.(*memTx).rows[0], "t(a)=")
		}
		want(t, c.in, got, c.out)
		s.cancel()
	}
}

// TestPlaces: the position that is sent counts characters, not bytes.
func TestPlaces(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	c := connect(t, addr)
	long := strings.Repeat("x", 63) + "é" + "tail"
	want(t, "a long word", c.query(long), `ERROR 42601 at 1 syntax error at or near "`+long[:63]+`"; ready I`)
	want(t, "umlauts", c.query("insert into t(a) values ('äöü', nonsense())"), `ERROR 0A000 at 33 function "nonsense" is not evaluated; ready I`)
}

// TestTargetsKept: the statement cache is bounded, keeps the latest, and never
// takes one header for another.
func TestTargetsKept(t *testing.T) {
	var ts targets
	for i := range 3 * targetsKept {
		ts.keep(&target{header: []byte("insert into t" + strings.Repeat("x", i) + " values")})
	}
	if len(ts) != targetsKept {
		t.Fatalf("%d targets are kept, want %d", len(ts), targetsKept)
	}
	old := ts[targetsKept-1]
	if got := ts.find([]byte(string(old.header) + "(1)")); got != old || ts[0] != old {
		t.Error("the oldest target is not found, or not moved to the front")
	}
	if ts.find([]byte(string(old.header)+"_(1)")) != nil {
		t.Error("a longer word is taken for VALUES")
	}
	ts.keep(&target{header: make([]byte, headerKept+1)})
	if ts[0] != old {
		t.Error("a header that is too long is kept")
	}
	ts.drop(old)
	if len(ts) != targetsKept-1 || ts.find(old.header) != nil {
		t.Error("a dropped target is still there")
	}
}

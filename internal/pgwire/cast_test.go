package pgwire

import (
	"strings"
	"testing"

	"holdfast/internal/fault"
)

// castCases are what the comparison with PostgreSQL's grammar has found, and
// what is near to it: a value, and what is stored or why it is not.
var castCases = []struct{ in, out string }{
	{"5.::text", "5"}, {"cast(007 as varchar)", "7"}, {".50::text", "0.50"}, {"0::text", "0"}, {"-.0::text", "0A000"}, {"cast(-.0 as text)", "0.0"}, {"(-007)::text", "-7"}, {"1e3::text", "0A000"},
	{"-5::text", "0A000"}, {"+ 5::varchar", "0A000"}, {"-5::int", "-5"}, {"1e3::numeric", "1e3"}, {"1e99999999", "22003"}, {"1.5::int", "0A000"},
	{"int x'aF'", "42703"}, {"bool B'01'", "42703"}, {"timestamp N'n'", "42703"}, {"real U&'\\0031'", "1"}, {"B'01'::int", "0A000"}, {"x'1f'::int[]", "0A000"},
	{"N'x  '", "x"}, {"'x  '::bpchar", "x"}, {"N'1'::int", "0A000"}, {"'x '::text", "x "},
	{"'1'::int::text", "0A000"}, {"'1'::text::int", "1"}, {"'1'::int::int4", "0A000"}, {"'1'::int::int", "1"}, {"null::int::date", "0A000"}, {"null::int::int", "NULL"}, {"null::numeric(3,1)", "NULL"},
	{"nullif('x','')::int[]", "x"}, {"nullif(1,1)::date", "0A000"}, {"nullif(1,2)::int", "0A000"}, {"nullif('a','b'::text)", "a"}, {"nullif('a','2026-01-01'::date)", "0A000"}, {"nullif(1,'1')", "0A000"}, {"nullif(1)", "42601"},
	{"'x'::int", "22P02"}, {"int 'x'", "22P02"}, {"'300'::int2", "300"}, {"'99999'::int2", "22003"}, {"'yes'::bool", "yes"}, {"'maybe'::bool", "22P02"}, {"'10.0.0.256'::inet", "10.0.0.256"}, {"'{'::json", "22P02"}, {"'2026-13-01'::date", "22008"},
	{"now()::uuid", "0A000"}, {"localtime::timestamptz", "0A000"}, {"time 'now'::timestamptz", "0A000"}, {"'now'::timestamptz::date", "2026-11-21"}, {"'today'::date::timestamp", "2026-11-21 00:00:00"}, {"current_date::time", "0A000"},
	{"to_timestamp(0)::date::timestamp", "0A000"}, {"to_timestamp(null::text)", "0A000"}, {"to_timestamp(253402300800)", "10000-01-01 00:00:00+00"}, {"to_timestamp(-62135596801)", "22008"}, {"gen_random_uuid(1)", "42601"}, {"gen_random_uuid()::int", "0A000"},
}

func TestCasts(t *testing.T) {
	for _, c := range castCases {
		store := newMemStore(true)
		s := newSession(New(Options{Store: store, Now: nil}), nil)
		s.srv.now = fixedClock
		err := s.statements([]byte("insert into t(a) values (" + c.in + ")\x00"))
		got := fault.Code(err)
		if err == nil {
			got = strings.TrimPrefix(s.tx.(*memTx).rows[0], "t(a)=")
		}
		want(t, c.in, got, c.out)
		s.cancel()
	}
}

// TestRandomUUID: each row, and each Execute, gets one of its own.
func TestRandomUUID(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	want(t, "simple", c.query("insert into t(a) values (gen_random_uuid()), (gen_random_uuid()::text)"), "INSERT 0 2; ready I")
	for _, m := range []any{parse("s", "insert into t(a) values (gen_random_uuid())"), bind("", "s"), execute(""), bind("", "s"), execute(""), syncMessage} {
		c.fe.Send(m.(interface {
			Frontend()
			Encode([]byte) ([]byte, error)
			Decode([]byte) error
		}))
	}
	want(t, "prepared", c.until(), "parsed; bound; INSERT 0 1; bound; INSERT 0 1; ready I")
	seen := map[string]bool{}
	for _, r := range store.taken() {
		id := strings.TrimPrefix(r, "t(a)=")
		if seen[id] || len(id) != 36 || id[14] != '4' || strings.IndexByte("89ab", id[19]) < 0 {
			t.Errorf("%q is no new UUID of version 4", id)
		}
		seen[id] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d UUIDs, want 4", len(seen))
	}
}

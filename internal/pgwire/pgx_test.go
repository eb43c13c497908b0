package pgwire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

var pgxModes = []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol}

func pgxConnect(t testing.TB, addr string, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig("postgres://tester@" + addr + "/d?sslmode=prefer")
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = mode
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// TestPgx writes the same rows in each of pgx's modes, to a declared table and
// to one that is not known. What arrives must not depend on the mode, but for
// what pgx itself writes differently.
func TestPgx(t *testing.T) {
	ctx := context.Background()
	at := time.Date(2023, 11, 14, 22, 13, 20, 123456000, time.UTC)
	id := [16]byte{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0}
	args := []any{42, "it's \\ ä", 1.5, true, at, []byte{0, 1, 255}, nil, []string{"a", "b c"}, pgtype.UUID{Bytes: id, Valid: true}, int64(math.MinInt64)}
	for _, mode := range pgxModes {
		t.Run(mode.String(), func(t *testing.T) {
			store := newMemStore(true).table(t, "k", "a int4, b text, c float8, d bool, e timestamptz, f bytea, g int4, h text[], i uuid, j numeric")
			_, addr := startServer(t, store)
			conn := pgxConnect(t, addr, mode)
			if err := conn.Ping(ctx); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time from pgx's caches
				tag, err := conn.Exec(ctx, "insert into k(a,b,c,d,e,f,g,h,i,j) values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)", args...)
				if err != nil || tag.String() != "INSERT 0 1" {
					t.Fatalf("got %s, %v", tag, err)
				}
			}
			rows := store.taken()
			// In text pgx writes a time in its own zone's form and a UUID as it likes; the values are the same.
			wanted := `k(a,b,c,d,e,f,g,h,i,j)=42|it's \ ä|1.5|t|2023-11-14 22:13:20.123456+00|\x0001ff|NULL|{a,"b c"}|123e4567-e89b-12d3-a456-426614174000|-9223372036854775808`
			for _, r := range rows {
				r = strings.NewReplacer("20.123456Z", "20.123456+00", "2023-11-14 22:13:20.123456 +0000 UTC", "2023-11-14 22:13:20.123456+00", "{\"a\",\"b c\"}", "{a,\"b c\"}", "|true|", "|t|", "{a,b c}", `{a,"b c"}`).Replace(r)
				want(t, "known table", r, wanted)
			}
			if len(rows) != 2 {
				t.Errorf("%d rows arrived", len(rows))
			}
			if _, err := conn.Exec(ctx, "insert into u(a,b,e) values ($1,$2,$3)", args[0], args[1], at); err != nil {
				t.Fatal(err)
			}
			r := store.taken()
			if len(r) != 1 || !strings.HasPrefix(r[0], `u(a,b,e)=42|it's \ ä|2023-11-14 22:13:20.123456`) {
				t.Errorf("unknown table: got %q", r)
			}
			pgxErrors(t, conn, store)
			pgxTransaction(t, conn, store)
			pgxBatch(t, conn, store)
		})
	}
}

func pgxErrors(t *testing.T, conn *pgx.Conn, store *memStore) {
	ctx := context.Background()
	_, err := conn.Exec(ctx, "delete from k where a = $1", 1)
	if pe := (*pgconn.PgError)(nil); !errors.As(err, &pe) || pe.Code != "0A000" || !strings.Contains(pe.Hint, "insert-only") {
		t.Errorf("delete gave %v", err)
	}
	var one int
	if err := conn.QueryRow(ctx, "select 1").Scan(&one); err != nil || one != 1 {
		t.Errorf("select 1 gave %d, %v", one, err)
	}
	if len(store.taken()) > 0 {
		t.Error("a delete stored rows")
	}
}

func pgxTransaction(t *testing.T, conn *pgx.Conn, store *memStore) {
	ctx := context.Background()
	for _, commit := range []bool{true, false} {
		tx, err := conn.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := tx.Exec(ctx, "insert into k(a) values ($1)", i); err != nil {
				t.Fatal(err)
			}
		}
		if len(store.rows) > 0 {
			t.Error("rows are stored before COMMIT")
		}
		if commit {
			err = tx.Commit(ctx)
		} else {
			err = tx.Rollback(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		want(t, "transaction", fmt.Sprint(len(store.taken())), map[bool]string{true: "3", false: "0"}[commit])
	}
}

func pgxBatch(t *testing.T, conn *pgx.Conn, store *memStore) {
	b := new(pgx.Batch)
	for i := range 20 {
		b.Queue("insert into k(a,b) values ($1,$2)", i, "x")
	}
	if err := conn.SendBatch(context.Background(), b).Close(); err != nil {
		t.Fatal(err)
	}
	if len(store.rows) != 20 || len(store.commits) != 1 {
		t.Errorf("a batch made %d commits of %d rows, want one of 20", len(store.commits), len(store.rows))
	}
	store.taken()
}

// TestPgxCopyFrom: pgx sends its binary data before it is asked to.
func TestPgxCopyFrom(t *testing.T) {
	ctx := context.Background()
	store := newMemStore(true).table(t, "ev", "a int4, c text, d timestamptz, n numeric, u unclear")
	_, addr := startServer(t, store)
	conn := pgxConnect(t, addr, pgx.QueryExecModeCacheStatement)
	var rows [][]any
	var wanted []string
	for i := range 5000 {
		at := time.Unix(int64(i), 0)
		rows = append(rows, []any{i, fmt.Sprintf("row %d", i), at, big.NewInt(int64(i))})
		wanted = append(wanted, fmt.Sprintf("ev(a,c,d,n)=%d|row %d|%s|%d", i, i, at.UTC().Format("2006-01-02 15:04:05+00"), i))
	}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"ev"}, []string{"a", "c", "d", "n"}, pgx.CopyFromRows(rows))
	if err != nil || n != 5000 {
		t.Fatalf("got %d, %v", n, err)
	}
	if got := store.taken(); !slices.Equal(got, wanted) {
		t.Errorf("%d rows are not what was sent; the first is %s", len(got), got[0])
	}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"nope"}, []string{"a"}, pgx.CopyFromRows([][]any{{1}})); err == nil || !strings.Contains(err.Error(), "42P01") {
		t.Errorf("an unknown table gave %v", err)
	}
	if err := conn.Ping(ctx); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestBinary holds the decoder against what pgx encodes, and refuses what is
// cut or too long for each type.
func TestBinary(t *testing.T) {
	m := pgtype.NewMap()
	var cases []struct {
		oid  uint32
		v    any
		text string
	}
	add := func(oid uint32, v any, text string) {
		cases = append(cases, struct {
			oid  uint32
			v    any
			text string
		}{oid, v, text})
	}
	add(oidBool, true, "t")
	add(oidBool, false, "f")
	add(oidInt2, int16(-32768), "-32768")
	add(oidInt4, int32(math.MaxInt32), "2147483647")
	add(oidInt8, int64(math.MinInt64), "-9223372036854775808")
	add(oidOID, uint32(math.MaxUint32), "4294967295")
	add(oidFloat4, float32(0.1), "0.1")
	add(oidFloat8, 0.1, "0.1")
	add(oidFloat8, 1e300, "1e+300")
	add(oidFloat8, math.NaN(), "NaN")
	add(oidFloat8, math.Inf(-1), "-Infinity")
	add(oidText, "a\tb", "a\tb")
	add(oidVarchar, "ä", "ä")
	add(oidBytea, []byte("\x00\xff"), `\x00ff`)
	add(oidJSON, []byte(`{"a":1}`), `{"a":1}`)
	add(oidJSONB, []byte(`{"a":1}`), `{"a":1}`)
	for _, n := range []string{"0", "1", "-1", "9999", "10000", "12345678", "0.1", "0.0001", "0.00001", "-123.456", "100000000.00000001", "1000000000000000000000000000000.5", "0.00000000000000000000000001", "NaN", "Infinity", "-Infinity", "1.50", "10.00"} {
		var v pgtype.Numeric
		if err := v.Scan(n); err != nil {
			t.Fatal(err)
		}
		add(oidNumeric, v, n)
	}
	for _, d := range []struct {
		y    int
		text string
	}{{2026, "2026-11-21"}, {1, "0001-11-21"}, {0, "0001-11-21 BC"}, {-43, "0044-11-21 BC"}, {999, "0999-11-21"}, {12345, "12345-11-21"}, {1999, "1999-11-21"}} {
		day := time.Date(d.y, 11, 21, 0, 0, 0, 0, time.UTC)
		add(oidDate, day, d.text)
		moment := day.Add(4*time.Hour + 5*time.Second + 700*time.Microsecond)
		date, bc, _ := strings.Cut(d.text, " ")
		if bc != "" {
			bc = " " + bc
		}
		add(oidTimestamp, moment, date+" 04:00:05.0007"+bc)
		add(oidTimestamptz, moment, date+" 04:00:05.0007+00"+bc)
	}
	add(oidDate, pgtype.Date{InfinityModifier: pgtype.Infinity, Valid: true}, "infinity")
	add(oidTimestamptz, pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, "-infinity")
	add(oidTime, pgtype.Time{Microseconds: 86_399_999_999, Valid: true}, "23:59:59.999999")
	add(oidTime, pgtype.Time{Microseconds: 86_400_000_000, Valid: true}, "24:00:00")
	add(oidInterval, pgtype.Interval{Microseconds: 1_000_000, Valid: true}, "00:00:01")
	add(oidInterval, pgtype.Interval{Microseconds: -90_061_500_000, Days: 2, Months: -14, Valid: true}, "-1 years -2 mons +2 days -25:01:01.5")
	add(oidInterval, pgtype.Interval{Days: -1, Microseconds: 1, Valid: true}, "-1 days +00:00:00.000001")
	add(oidInterval, pgtype.Interval{Months: 13, Valid: true}, "1 year 1 mon")
	add(oidInterval, pgtype.Interval{Valid: true}, "00:00:00")
	add(oidInterval, pgtype.Interval{Microseconds: math.MinInt64, Valid: true}, "-2562047788:00:54.775808")
	add(oidUUID, [16]byte{15: 1}, "00000000-0000-0000-0000-000000000001")
	add(oidInet, netip.MustParsePrefix("10.0.0.1/32"), "10.0.0.1")
	add(oidInet, netip.MustParsePrefix("10.0.0.0/8"), "10.0.0.0/8")
	add(oidInet, netip.MustParsePrefix("2001:db8::1/128"), "2001:db8::1")
	add(oidCIDR, netip.MustParsePrefix("10.0.0.0/32"), "10.0.0.0/32")
	add(1007, []int32{1, -2}, "{1,-2}")
	add(1007, []int32{}, "{}")
	add(1009, []string{"", "a b", `q"\`, "NULL", "{x}", "plain"}, `{"","a b","q\"\\","NULL","{x}",plain}`)
	add(1009, []*string{nil}, "{NULL}")
	add(1007, [][]int32{{1, 2}, {3, 4}}, "{{1,2},{3,4}}")
	add(1007, pgtype.Array[int32]{Elements: []int32{5, 6}, Dims: []pgtype.ArrayDimension{{Length: 2, LowerBound: 0}}, Valid: true}, "[0:1]={5,6}")
	add(1185, []time.Time{time.Unix(0, 0)}, `{"1970-01-01 00:00:00+00"}`)
	for _, c := range cases {
		b, err := m.Encode(c.oid, pgtype.BinaryFormatCode, c.v, nil)
		if err != nil {
			t.Fatalf("%d %v: %v", c.oid, c.v, err)
		}
		got, err := decodeBinary([]byte("before "), c.oid, b)
		if err != nil {
			t.Errorf("%d %v: %v", c.oid, c.v, err)
		}
		want(t, fmt.Sprintf("%d %v", c.oid, c.v), string(got), "before "+c.text)
		if free := []uint32{oidText, oidVarchar, oidBytea, oidJSON, oidJSONB}; slices.Contains(free, c.oid) {
			continue
		}
		for n := range b {
			if text, err := decodeBinary(nil, c.oid, b[:n]); err == nil {
				t.Errorf("%d %v cut to %d bytes gave %q", c.oid, c.v, n, text)
			}
		}
		if text, err := decodeBinary(nil, c.oid, append(b, 0)); err == nil {
			t.Errorf("%d %v with a byte more gave %q", c.oid, c.v, text)
		}
	}
}

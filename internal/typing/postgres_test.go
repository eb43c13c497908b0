package typing_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fault"
	"holdfast/internal/typing"
	"holdfast/test/servers"
)

var (
	seed   = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the values that are drawn")
	values = flag.Int("values", 1000, "how many values are drawn for each type")
)

// numbers, moments and so on are where the drawn values begin: what clients
// send, and what stands right at a boundary.
var (
	numbers = []string{"", " ", "0", "-0", "+0", "7", " 7 ", "\t7\n", "7 7", "- 7", "007", "abc", "7abc", "1.5", "1.", ".5", ".", "1e3", "1E+3", "1e-3", "1e", "e1", "1.2.3",
		"32767", "32768", "-32768", "-32769", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807",
		"9223372036854775808", "-9223372036854775808", "-9223372036854775809", "99999999999999999999999", "99999999999abc", "0x1f", "0X", "0b1", "0o7", "1_000", "_1",
		"99.94", "99.95", "99.994", "99.995", "999.99", "999.994", "999.995", "99995", "99500", "99499", "0.00999", "0.0099949", "0.00995", "0.000995", "1e400", "1e-400", "0e400", "1.8e308", "1.7e308",
		"4.9e-324", "2.4e-324", "1e-325", "1e-326", "3.4e38", "3.5e38", "1e39", "1e-45", "7e-46", "1e-46", "1e-47", "1e999999999", "1e99999999999", "0e99999999999", "1e5000", "NaN", "nan", "+nan", "-NaN", "nan()",
		"Infinity", "-infinity", "inf", "+inf", "-Inf", "infinit", "in", "1,5", "１", "7\u00a0", "0x1p3", "--1", "+-1", "1e+", "1-"}
	moments = []string{"", "  ", "2026-01-31", "2026-02-29", "2024-02-29", "1900-02-29", "2000-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "2026-01-32", "2026-04-31", "0000-01-01", "0000-00-00",
		"0000-00-00 00:00:00", "0001-01-01", "9999-12-31", "10000-01-01", "2026-01-31 23:59:59", "2026-01-31T23:59:59.123456Z", "2026-01-31 24:00:00", "2026-01-31 24:00:01", "2026-01-31 24:00:00.000001",
		"2026-01-31 25:00:00", "2026-01-31 23:60:00", "2026-01-31 23:59:60", "2026-01-31 23:59:60.5", "2026-01-31 23:59:61", "2026-13-31 00:00:00+01", "2026-13-31 00:00:00+16", "2026-01-31 00:00:00+15:59",
		"2026-01-31 00:00:00-14:60", "2026-13-01 00:00", "2026-13-01 BC", "2023-02-29 BC", "2023-02-29 00:00:00 BC", "2023-02-29 Europe/Berlin", "2026-13-01 foo", "now", "infinity", "epoch", "allballs", "1795218473", "20261301",
		"13/01/2026", "2026-1-2", "2026-01-31 ", " 2026-13-31", "2026-01-3", "2026-01-31  25:00", "2026-01-31T", "2026-01-31 1:2:3", "23:59", "24:00", "24:01", "24:00:00.1", "25:00", "12:60", "12:00:61", "12:00:60.5",
		"12:00:00Z", "25:00:00Z", "25:00:00+01", "12:00 PM", "13:00 PM", "2026-13-01 12:00 PM", "2026-02-30 12:00:00.", "2026-02-30 12:00:00.1.2", "2026-02-30 12:00:00+1", "2026-02-30 12:00:00+0100", "-2026-01-01", "2026-01-01-01"}
	words = []string{"", " ", "a", "abc", "abcd", "abcde", "abcd ", "abcd      ", "abcde ", "     ", "      ", "äöü€", "äöü€x", "äöü€ ", "😀😀😀😀😀", "abcd\t", "abcd\u00a0", "\\", "\\\\", "\\x", "\\x0", "\\x00", "\\xgg",
		"\\x0 0", "\\x00 ff", "\\x 0", "\\x0ä", "\\xä", "\\X00", "\\001", "\\400", "\\38", "\\12", "\\377", "a\\", "a\\b", "t", "tr", "true", "TRUE ", "truex", "f", "fal", "y", "yes", "n", "no", "o", "on", "of", "off", "offf", "1", "0", "2", "01",
		"{}", "[1,2]", "{\"a\":1}", "{\"a\":1,}", "{a:1}", "'x'", "\"\\u00e4\"", "\"\\ud800\"", "\"\\u0000\"", "\"\\x\"", "\"\t\"", "nul", "null", "NULL", "01", "-", "-0", "1.e5", "1e5", "[", "]", "{\"a\":1}x", "\ufeff{}", "\"\u007f\"", "{\"a\" 1}", "[1 2]", "\"a",
		"10.0.0.1", "10.0.0.256", "10.0.0.1/33", "::1", "fe80::1%eth0", "10", "10.1", "0x0a000001", "localhost", "10.0.0.1 ", "::ffff:1.2.3.4", "1.2.3.4.5", "b01", "B0101", "x1", "X1F", "xg", "0101", "01010", "010", "0121", "x1ff", "bx", "ä101", "b", "x",
		"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
		"a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11-", "a0eebc99--9c0b4ef8bb6d6bb9bd380a11", "-a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "{}", "{", " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0e-ebc999c0b4ef8bb6d6bb9bd380a11"}
)

// judged are the types, each with where its values begin and what they are
// changed with.
var judged = []struct {
	name     string
	begin    []string
	alphabet string
}{
	{"smallint", numbers, "0123456789-+ .e_x"}, {"integer", numbers, "0123456789-+ .e_x"}, {"bigint", numbers, "0123456789-+ .e_x"},
	{"numeric", numbers, "0123456789-+ .eE_nx"}, {"numeric(5,2)", numbers, "0123456789999-+ .eE"}, {"numeric(4,0)", numbers, "0123456789999-+ .eE"},
	{"numeric(3)", numbers, "0123456789999-.e"}, {"numeric(2,-3)", numbers, "0123456789999-.e"}, {"numeric(3,5)", numbers, "00000123456789999-.e"},
	{"real", numbers, "0123456789-+ .eExp"}, {"double precision", numbers, "0123456789-+ .eExp"}, {"float(10)", numbers, "0123456789-."}, {"boolean", words, "tTrueyfalsonOF01 "},
	{"varchar(4)", words, "ab ä€\t"}, {"character varying(5)", words, "ab ä€"}, {"char(4)", words, "ab ä€"}, {"character(5)", words, "ab ä\t"}, {"character", words, "a ä"}, {"char", words, "a ä"},
	{"text", words, "ab"}, {"bpchar", words, "ab "}, {"name", words, "ab"}, {"uuid", words, "0123456789abcdefABCDEF-{}g "},
	{"date", moments, "0123456789-: T.Z+B"}, {"timestamp", moments, "0123456789-: T.Z+B"}, {"timestamptz", moments, "0123456789-: T.Z+B"}, {"timestamp(3) with time zone", moments, "0123456789-: T.Z+"},
	{"time", moments, "0123456789-: .Z+"}, {"timetz", moments, "0123456789-: .Z+"}, {"time(2) without time zone", moments, "0123456789: ."},
	{"bytea", words, "\\\\\\x0123456789abcdefg \n"}, {"json", words, "{}[]\",:0123456789.eE+-\\utrfalsn \t\n'"}, {"jsonb", words, "{}[]\",:0123456789.eE+-\\utrfalsn \t\n'"},
	{"inet", words, "0123456789abcdef.:/ g%"}, {"cidr", words, "0123456789abcdefx.:/ g"}, {"bit(4)", words, "01bxBX2f "}, {"bit", words, "01bx"}, {"varbit(4)", words, "01bx2f"}, {"bit varying(5)", words, "01bx2f"}, {"varbit", words, "01bx2f"},
	{"interval", moments, "0123456789:- d"}, {"integer[]", numbers, "0123456789{},"}, {"varchar(3)[]", words, "ab{},"}, {"macaddr", words, "01:f"}, {"xml", words, "<>a/"}, {"money", numbers, "0123456789.$,-"}, {"varchar", words, "ab"},
}

// draw changes a value in a few places.
func draw(r *rand.Rand, begin []string, alphabet []rune) string {
	v := []rune(begin[r.IntN(len(begin))])
	for range 1 + r.IntN(3) {
		at, c := r.IntN(len(v)+1), alphabet[r.IntN(len(alphabet))]
		switch {
		case r.IntN(3) == 0 || at == len(v):
			v = append(v[:at:at], append([]rune{c}, v[at:]...)...)
		case r.IntN(2) == 0:
			v[at] = c
		default:
			v = append(v[:at:at], v[at+1:]...)
		}
	}
	return string(v)
}

// try is what PostgreSQL says of inserting a value: nothing, or its SQLSTATE,
// message and detail, with a byte between that none of them holds.
const try = `CREATE FUNCTION try(v text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE code text; message text; detail text;
BEGIN
	EXECUTE 'INSERT INTO judged VALUES (' || quote_literal(v) || ')';
	RETURN '';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN code || E'\x1e' || message || E'\x1e' || detail;
END $$`

// TestAgainstPostgreSQL holds the one property that counts: what PostgreSQL
// takes is never refused, and what is refused has PostgreSQL's SQLSTATE, and
// its words.
func TestAgainstPostgreSQL(t *testing.T) {
	ctx := context.Background()
	server := servers.Postgres(t)
	c, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, try); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d", *seed)
	for _, ty := range judged {
		t.Run(ty.name, func(t *testing.T) {
			if _, err := c.Exec(ctx, "DROP TABLE IF EXISTS judged; CREATE UNLOGGED TABLE judged (v "+ty.name+")"); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(*seed, uint64(len(ty.name))))
			all, alphabet := append([]string(nil), ty.begin...), []rune(ty.alphabet)
			for range *values {
				all = append(all, draw(r, ty.begin, alphabet))
			}
			for _, style := range []string{"ISO, MDY", "SQL, DMY", "German, YMD"} { // where they are put into a server, nobody asks how it reads dates
				if _, err := c.Exec(ctx, "SET datestyle = "+style); err != nil {
					t.Fatal(err)
				}
				compare(t, c, ty.name, all)
			}
		})
	}
}

func compare(t *testing.T, c *pgx.Conn, name string, all []string) {
	rows, err := c.Query(context.Background(), "SELECT v, try(v) FROM unnest($1::text[]) v", all)
	if err != nil {
		t.Fatal(err)
	}
	judge := typing.Compile(name)
	refused, told := 0, 0
	var value, theirs string
	_, err = pgx.ForEachRow(rows, []any{&value, &theirs}, func() error {
		ours := judge.Check([]byte(value))
		if theirs != "" {
			refused++
		}
		if ours == nil {
			return nil
		}
		told++
		code, message, _ := strings.Cut(theirs, "\x1e")
		message, detail, _ := strings.Cut(message, "\x1e")
		switch {
		case theirs == "":
			t.Errorf("PostgreSQL takes %q, the door does not: %v", value, ours)
		case ours.Code != code:
			t.Errorf("%q: the door says %s %q, PostgreSQL %s %q", value, ours.Code, ours.Message, code, message)
		case ours.Message != message && utf8.RuneCountInString(message) < 200:
			t.Errorf("%q: the door says %q, PostgreSQL %q", value, ours.Message, message)
		case ours.Detail != "" && ours.Detail != detail:
			t.Errorf("%q: the door details %q, PostgreSQL %q", value, ours.Detail, detail)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d values, PostgreSQL refuses %d, the door %d of them", len(all), refused, told)
}

// TestRefusals holds, without a server, that what must be caught is caught.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ ty, value, code string }{
		{"integer", "abc", fault.InvalidTextRepr}, {"serial", "99999999999", fault.NumberOutOfRange}, {"int2", "", fault.InvalidTextRepr},
		{"numeric(5,2)", "1000", fault.NumberOutOfRange}, {"numeric(5,2)", "999.995", fault.NumberOutOfRange}, {"numeric", "1x", fault.InvalidTextRepr},
		{"float8", "1e999", fault.NumberOutOfRange}, {"real", "1,5", fault.InvalidTextRepr}, {"bool", "maybe", fault.InvalidTextRepr},
		{"varchar(3)", "äöüß", fault.StringTooLong}, {"char(3)", "abcd", fault.StringTooLong}, {"uuid", "x", fault.InvalidTextRepr},
		{"date", "2026-02-30", fault.DatetimeOutOfRange}, {"timestamptz", "2026-13-01 00:00:00", fault.DatetimeOutOfRange}, {"timestamp", "", fault.InvalidDatetime},
		{"time", "24:00:01", fault.DatetimeOutOfRange}, {"bytea", `\x0`, fault.InvalidParameterValue}, {"bytea", `a\b`, fault.InvalidTextRepr},
		{"jsonb", "{", fault.InvalidTextRepr}, {"inet", "host", fault.InvalidTextRepr}, {"bit(3)", "01", fault.BitLengthMismatch}, {"varbit(3)", "0101", fault.StringTooLong}, {"bit", "2", fault.InvalidTextRepr},
	} {
		judge := typing.Compile(c.ty)
		if err := judge.Check([]byte(c.value)); err == nil || err.Code != c.code {
			t.Errorf("%s %q: %v, want SQLSTATE %s", c.ty, c.value, err, c.code)
		}
	}
	for _, ty := range []string{"", "text", "varchar", "integer[]", "mood", `"char"`, "numeric(", "numeric(a)", "varchar(-1)", "varchar(0)", "interval day to second"} {
		if judge := typing.Compile(ty); !judge.Any() {
			t.Errorf("type %q is judged: %+v", ty, judge)
		}
	}
}

// TestLongValues holds that a message repeats a bounded part of a value, and
// that it is text.
func TestLongValues(t *testing.T) {
	judge := typing.Compile("integer")
	err := judge.Check([]byte(strings.Repeat("ä", 1<<20)))
	if err == nil || len(err.Message) > 400 || !utf8.ValidString(err.Message) {
		t.Fatalf("%.500q", fmt.Sprint(err))
	}
}

// TestAllocations holds that a value which passes costs none.
func TestAllocations(t *testing.T) {
	for ty, value := range map[string]string{"integer": "42", "numeric(10,2)": "1234.56", "double precision": "1e3", "boolean": "t", "varchar(4)": "äöü", "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
		"timestamptz": "2026-11-20 23:53:41.5+00", "bytea": `\x00ff`, "inet": "10.0.0.1", "bit(2)": "01", "date": "2026-11-20", "time": "10:00", "json": `{"a":[1,2]}`} {
		judge, text := typing.Compile(ty), []byte(value)
		if n := testing.AllocsPerRun(100, func() {
			if err := judge.Check(text); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s %q costs %v allocations", ty, value, n)
		}
	}
}

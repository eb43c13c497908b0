package where

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"holdfast/internal/fault"
	"holdfast/row"
)

// acc is a table with a column of each kind.
var acc = []row.Column{
	{Name: "src_ip", Type: "text"}, {Name: "seconds", Type: "integer"}, {Name: "price", Type: "numeric(20,4)"}, {Name: "start", Type: "timestamptz"},
	{Name: "paid", Type: "boolean"}, {Name: "call id", Type: "varchar(64)"}, {Name: "day", Type: "date"}, {Name: "bare"},
}

var schema = &row.Schema{ID: 1, Table: "acc", Columns: acc}

// of makes a row of acc; "NULL" is NULL.
func of(values ...string) *row.Row {
	r := &row.Row{Seq: 7, Schema: schema}
	for i := range acc {
		v := row.Null
		if i < len(values) && values[i] != "NULL" {
			v = row.Text(values[i])
		}
		r.Values = append(r.Values, v)
	}
	return r
}

// TestMatch judges rows.
func TestMatch(t *testing.T) {
	one := of("192.0.2.7", "65", "1.50", "2026-11-20 23:30:00+01:00", "t", "a b", "2026-11-20", "x")
	none := of("NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL")
	odd := of("", "not a number", "NaN", "infinity", "maybe", "", "yesterday", "")
	cases := []struct {
		text            string
		one, none, oddy bool
	}{
		{`src_ip == "192.0.2.7"`, true, false, false},
		{`"192.0.2.7" == src_ip`, true, false, false},
		{`src_ip != "192.0.2.7"`, false, false, true},
		{`not (src_ip == "192.0.2.7")`, false, false, true},
		{`src_ip == nil`, false, true, false},
		{`src_ip != nil`, true, false, true},
		{`seconds == 65`, true, false, false},
		{`seconds > 60 and seconds <= 65`, true, false, false},
		{`60 < seconds`, true, false, false},
		{`seconds < 60 or src_ip startsWith "192."`, true, false, false},
		{`!(seconds > 60)`, false, false, false},
		{`seconds in [1, 65]`, true, false, false},
		{`seconds not in [1, 2]`, true, false, false},
		{`seconds % 2 == 1`, true, false, false},
		{`seconds / 0 == 1 or true`, true, true, true},
		{`price == 1.5`, true, false, false},
		{`price == 1.5000000000000000001`, true, false, false}, // a float of expr-lang has 16 digits
		{`price * 2 == 3`, true, false, false},
		{`price >= -1e3`, true, false, false},
		{`start == "2026-11-20 22:30:00Z"`, true, false, false},
		{`start == date("2026-11-20 22:30:00")`, true, false, false},
		{`start > "2026-11-20 22:30:00.000001"`, false, false, false},
		{`start < now() - duration("2h") or true`, true, true, true},
		{`start.Year() == 2026`, false, false, false}, // refused below
		{`day == "2026-11-20"`, true, false, false},
		{`paid`, true, false, false},
		{`not paid`, false, false, false},
		{`paid == true and true`, true, false, false},
		{`$env["call id"] == "a b"`, true, false, false},
		{`len($env["call id"]) == 3`, true, false, false},
		{`$env["call id"] matches "^a .$"`, true, false, false},
		{`upper(bare) == "X"`, true, false, false},
		{`src_ip contains "0.2"`, true, false, false},
		{`src_ip[0:3] == "192"`, true, false, false},
		{`(src_ip ?? "none") == "none"`, false, true, false},
		{`src_ip == bare`, false, false, true},
		{`paid ? seconds > 1 : seconds < 1`, true, false, false},
		{`true`, true, true, true},
		{`1 > 2`, false, false, false},
	}
	for _, c := range cases {
		w, err := Compile(c.text, "acc", acc)
		if strings.Contains(c.text, "Year") {
			if fault.Code(err) != fault.FeatureNotSupported {
				t.Errorf("%s: error %v", c.text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		for name, got := range map[string]struct {
			r    *row.Row
			want bool
		}{"one": {one, c.one}, "none": {none, c.none}, "odd": {odd, c.oddy}} {
			if w.Match(got.r) != got.want {
				t.Errorf("%s: row %q: want %v", c.text, name, got.want)
			}
		}
		other := *one
		other.Schema = &row.Schema{Table: "calls", Columns: acc}
		if w.Match(&other) {
			t.Errorf("%s matches a row of another table", c.text)
		}
	}
}

// TestFailures counts rows that a part cannot be computed of.
func TestFailures(t *testing.T) {
	w, err := Compile(`10 % seconds == 1`, "acc", acc)
	if err != nil {
		t.Fatal(err)
	}
	if w.Match(of("a", "0")) || !w.Match(of("a", "9")) || w.Match(of("a", "0")) {
		t.Fatal("10 % 0 matches, or 10 % 9 does not")
	}
	n, why := w.Failed()
	if n != 2 || why == nil || !strings.Contains(why.Error(), "seq 7") {
		t.Fatalf("%d failed, %v", n, why)
	}
}

// TestRefused holds that what is wrong is named, and what would cost without
// bounds is not taken.
func TestRefused(t *testing.T) {
	cases := []struct{ text, code, says string }{
		{`src == "x"`, fault.UndefinedColumn, `column "src" of table "acc" does not exist`},
		{`$env["src"] == "x"`, fault.UndefinedColumn, `"src"`},
		{`seconds == "x"`, fault.DatatypeMismatch, "mismatched types"},
		{`src_ip > 5`, fault.DatatypeMismatch, "mismatched types"},
		{`seconds`, fault.DatatypeMismatch, "bool"},
		{`start > "yesterday"`, fault.DatatypeMismatch, "mismatched types"},
		{`src_ip ==`, fault.SyntaxError, "cannot be read"},
		{``, fault.SyntaxError, "cannot be read"},
		{`all(1..100000, true)`, fault.FeatureNotSupported, "not taken"},
		{`seconds in 1..1000000`, fault.FeatureNotSupported, "not taken"},
		{`let a = src_ip; a == "x"`, fault.FeatureNotSupported, "not taken"},
		{`repeat(src_ip, 1000) == "x"`, fault.FeatureNotSupported, "not taken"},
		{`src_ip + src_ip == "x"`, fault.FeatureNotSupported, "put together"},
		{`src_ip matches bare`, fault.FeatureNotSupported, "pattern"},
		{`src_ip matches "("`, fault.InvalidParameterValue, "cannot be read: missing closing )"},
		{`src_ip matches "x{900}y{900}"`, fault.LimitExceeded, "too large"},
		{`src_ip matches "(x{1000}){1000}"`, fault.InvalidParameterValue, "cannot be read"},
		{`"src_ip" == "x"`, fault.InvalidParameterValue, "no column"},
		{`bare == "x" or "src_ip" in ["x"]`, fault.InvalidParameterValue, "no column"},
		{`toJSON($env) == ""`, fault.FeatureNotSupported, "not taken"},
		{`len([src_ip | upper()]) == date("x").Unix()`, fault.FeatureNotSupported, "not taken"},
		{`start == date("gibberish")`, fault.InvalidParameterValue, "cannot be computed"},
		{`1 % 0 == seconds`, fault.DatatypeMismatch, "divide by zero"},
		{strings.Repeat("(", 4000) + "true", fault.SyntaxError, "cannot be read"},
		{strings.Repeat("a", 5000), fault.LimitExceeded, "5000 bytes"},
		{`seconds in [` + strings.Repeat("1,", 400) + `1]`, fault.SyntaxError, "cannot be read"},
	}
	for _, c := range cases {
		_, err := Compile(c.text, "acc", acc)
		if fault.Code(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.60s: %v, want %s, %q", c.text, err, c.code, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60s: the error has several lines", c.text)
		}
	}
}

// TestAdvice holds that who writes SQL is told what to write instead, and that
// types have our names.
func TestAdvice(t *testing.T) {
	for text, says := range map[string]string{
		`src_ip = "x"`:                        "compare with ==",
		`src_ip == 192.0.2.1`:                 "texts stand in quotes",
		`src_ip == "x" AND seconds > 5`:       "lower case",
		`src_ip LIKE "192%"`:                  "startsWith",
		`src_ip IS NULL`:                      "nil",
		`src_ip <> "x"`:                       "!=",
		`seconds between 5 and 6`:             "seconds >= 5 and seconds <= 6",
		`start > now() - 2h`:                  `duration("2h")`,
		`src_ip in ("a", "b")`:                `["192.0.2.7", "192.0.2.8"]`,
		`src_ip matches "a\.b"`:               "backslash",
		`select * from acc where seconds > 5`: "leave out all but the condition",
		`WHERE seconds > 5`:                   "leave out where",
		`seconds > "5"`:                       "seconds (number)",
		`start > now() - "2h"`:                "start (time)",
	} {
		_, err := Compile(text, "acc", acc)
		if err == nil || !strings.Contains(fault.Of(err).Hint, says) {
			t.Errorf("%s: %v, hint %q, want %q", text, err, fault.Of(err).Hint, says)
		}
		for _, name := range []string{"float64", "string", "time.Time", "strconv"} {
			if err != nil && strings.Contains(err.Error(), name) {
				t.Errorf("%s: the error speaks of %s: %v", text, name, err)
			}
		}
	}
}

// number draws a number in one of the ways to write it.
func number(r *rand.Rand) string {
	signs, exponents := []string{"", "-", "+"}, []string{"", "", "e0", "E2", "e-3", "e+17", "e-40", "e999999999999999999999", "e-99999999999999999999"}
	digits := func(most int) string {
		var b strings.Builder
		for range r.IntN(most + 1) {
			b.WriteByte("0001259"[r.IntN(7)])
		}
		return b.String()
	}
	front, behind := digits([]int{2, 18, 40}[r.IntN(3)]), ""
	if r.IntN(2) == 0 {
		behind = "." + digits(8)
	}
	if front == "" && len(behind) < 2 {
		front = "0"
	}
	return signs[r.IntN(3)] + front + behind + exponents[r.IntN(len(exponents))]
}

// TestNumbers compares numbers with those of math/big, and holds that keys keep
// their order.
func TestNumbers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200_000 {
		a, b := number(r), number(r)
		x, okx := parseDecimal([]byte(a))
		y, oky := parseDecimal([]byte(b))
		if !okx || !oky {
			t.Fatalf("%q or %q is no number", a, b)
		}
		got := x.compare(&y)
		if !strings.Contains(a+b, "9999") {
			p, _ := new(big.Rat).SetString(a)
			q, _ := new(big.Rat).SetString(b)
			if want := p.Cmp(q); got != want {
				t.Fatalf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
		if back := y.compare(&x); back != -got {
			t.Fatalf("%s and %s: %d, and the other way round %d", a, b, got, back)
		}
		ka, _ := Number.AppendKey(nil, []byte(a))
		kb, _ := Number.AppendKey(nil, []byte(b))
		if c := strings.Compare(string(ka), string(kb)); got < 0 && c > 0 || got > 0 && c < 0 || got == 0 && c != 0 {
			t.Fatalf("%s and %s compare %d, their keys %d", a, b, got, c)
		}
	}
	for _, bad := range []string{"", " ", "-", ".", "e5", "1e", "1e+", "0x10", "1_000", "NaN", "inf", "1 2", "--1", "1.2.3", "1e5x"} {
		if _, ok := parseDecimal([]byte(bad)); ok {
			t.Errorf("%q passes for a number", bad)
		}
	}
}

// TestKeys holds that keys of the other kinds keep the order of their values,
// and that values that compare as equal have one digest.
func TestKeys(t *testing.T) {
	lists := map[Kind][]string{
		Time: {"0001-01-01", "1969-12-31 23:59:59.25", "1970-01-01 00:00:00Z", "2026-11-20 10:00:00+02:00", "2026-11-20 08:00:00.000001", "2026-11-20 08:00:01Z", "9999-12-31"},
		Bool: {"no", "yes"},
		Text: {"", "a", "a\x00b", "aa", strings.Repeat("b", 30) + "1", strings.Repeat("b", 30) + "2", "ü"},
	}
	for k, list := range lists {
		for i := 1; i < len(list); i++ {
			a, ok := k.AppendKey(nil, []byte(list[i-1]))
			b, okb := k.AppendKey(nil, []byte(list[i]))
			if !ok || !okb || len(a) != k.KeyLen() || string(a) > string(b) {
				t.Errorf("%s: %q has the key %x, %q has %x", k, list[i-1], a, list[i], b)
			}
		}
	}
	same := map[Kind][2]string{Number: {"1.0", " 01e0"}, Time: {"2026-11-20 10:00:00+02:00", "2026-11-20 08:00:00"}, Bool: {"t", "ON"}}
	for k, pair := range same {
		var digests [2]uint64
		for i, text := range pair {
			key, _ := k.AppendKey(nil, []byte(text))
			digests[i] = Prefix("t", "c", k).Digest(k, []byte(text), key)
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: %q are equal and have two digests", k, pair)
		}
	}
}

// FuzzCompile holds that no expression panics, and none that is taken takes
// long.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`src_ip == "x"`, `seconds in [1,2] and not (price > 5.5)`, `start > date("2026-01-01") ?? true`, `$env["call id"] matches "a"`, `-seconds < +1`} {
		f.Add(s)
	}
	rows := []*row.Row{of("192.0.2.7", "65", "1.50", "2026-11-20", "t", "a", "2026-11-20", "x"), of(), of("", "x", "y", "z", "", "", "", "")}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := Compile(text, "acc", acc)
		if err != nil {
			return
		}
		for _, r := range rows {
			w.Match(r)
		}
		_ = w.Condition()
	})
}

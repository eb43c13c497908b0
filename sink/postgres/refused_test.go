package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

const raise = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.x = '13' THEN RAISE 'not this one' %s; END IF; RETURN NEW; END $$"

// kinds are the ways in which PostgreSQL refuses a row of t (id, x, pad): how
// t is made, which x is refused with which code, and whether the database
// names the line or the key, so that three statements have to do.
var kinds = []struct {
	name  string
	make  []string
	bad   row.Value
	code  string
	words string
	few   bool
}{
	{"not an integer", []string{"CREATE TABLE t (id bigint, x integer, pad text)"}, row.Text("x"), "22P02", `"x"`, true},
	{"out of range", []string{"CREATE TABLE t (id bigint, x integer, pad text)"}, row.Text("99999999999"), "22003", "out of range", true},
	{"too long", []string{"CREATE TABLE t (id bigint, x varchar(8), pad text)"}, row.Text("123456789"), "22001", "too long", true},
	{"no time", []string{"CREATE TABLE t (id bigint, x text, pad text); ALTER TABLE t ALTER x TYPE timestamptz USING NULL"}, row.Text("2026-13-41"), "22008", "2026-13-41", true},
	{"key that is there", []string{"CREATE TABLE t (id bigint, x text UNIQUE, pad text); INSERT INTO t VALUES (0, 'twice')"}, row.Text("twice"), "23505", "twice", true},
	{"key checked at the end", []string{"CREATE TABLE t (id bigint, x text UNIQUE DEFERRABLE, pad text); INSERT INTO t VALUES (0, 'twice')"}, row.Text("twice"), "23505", "twice", true},
	{"CHECK", []string{"CREATE TABLE t (id bigint, x text CONSTRAINT lucky CHECK (x <> '13'), pad text)"}, row.Text("13"), "23514", "lucky", true},
	{"NOT NULL", []string{"CREATE TABLE t (id bigint, x text NOT NULL, pad text)"}, row.Null, "23502", `"x"`, true},
	{"no partition", []string{"CREATE TABLE t (id bigint, x text, pad text) PARTITION BY LIST ((x = '13')); CREATE TABLE p PARTITION OF t FOR VALUES IN (false)"}, row.Text("13"), "23514", "no partition", true},
	{"too large for an index", []string{"CREATE TABLE t (id bigint, x text UNIQUE, pad text)"}, row.Text(unpackable(9000)), "54000", "index", true},
	{"BEFORE trigger", []string{"CREATE TABLE t (id bigint, x text, pad text)", fmt.Sprintf(raise, ""),
		"CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()"}, row.Text("13"), "P0001", "not this one", true},
	{"no parent", []string{"CREATE TABLE p (x text PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 9)", "CREATE TABLE t (id bigint, x text REFERENCES p, pad text)"},
		row.Text("nobody"), "23503", "nobody", true},
	{"no parent, at COMMIT", []string{"CREATE TABLE p (x text PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 9)",
		"CREATE TABLE t (id bigint, x text REFERENCES p DEFERRABLE INITIALLY DEFERRED, pad text)"}, row.Text("nobody"), "23503", "nobody", true},
	{"AFTER trigger, with a code of its own", []string{"CREATE TABLE t (id bigint, x text, pad text)", fmt.Sprintf(raise, "USING ERRCODE = 'UE001'"),
		"CREATE TRIGGER no AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()"}, row.Text("13"), "UE001", "not this one", false},
	{"constraint trigger, at COMMIT", []string{"CREATE TABLE t (id bigint, x text, pad text)", fmt.Sprintf(raise, ""),
		"CREATE CONSTRAINT TRIGGER no AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()"}, row.Text("13"), "P0001", "not this one", false},
}

// unpackable returns n characters that no compression makes much smaller.
func unpackable(n int) string {
	var b strings.Builder
	for x := uint32(1); b.Len() < n; x = x*1664525 + 1013904223 {
		fmt.Fprintf(&b, "%08x", x)
	}
	return b.String()[:n]
}

// judgedRow returns row seq of t. Its x is good for each of the kinds.
func judgedRow(i int, kind string, bad *row.Value) row.Row {
	x := row.Text(fmt.Sprint(i % 10))
	switch kind {
	case "key that is there", "key checked at the end", "too large for an index":
		x = row.Text(fmt.Sprint("only ", i))
	case "no time":
		x = row.Null
	}
	if bad != nil {
		x = *bad
	}
	return row.Row{Seq: uint64(i + 1), Received: int64(i), Schema: text("t", "id", "x", "pad"),
		Values: []row.Value{row.Text(fmt.Sprint(i + 1)), x, row.Text("tab\t\\ " + strings.Repeat("é", 90))}}
}

// TestRefused delivers bad rows of each kind at the ends and in the middle of
// several chunks, and counts what each costs.
func TestRefused(t *testing.T) {
	const rows = 12_000 // of some 210 bytes: more than two chunks
	at := []int{0, 1, rows / 2, rows/2 + 1, rows/2 + 500, rows - 2, rows - 1}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			n, url := start(t, kind.make...)
			apply := func(first int, bad []int) (*sinktest.Rejects, int) {
				j, before := new(sinktest.Rejects), n.conn.statements
				end := row.Position{Seq: uint64(first + rows)}
				b := sinktest.NewLargeBatch(rows, func(i int) row.Row {
					if slices.Contains(bad, i) {
						return judgedRow(first+i, kind.name, &kind.bad)
					}
					return judgedRow(first+i, kind.name, nil)
				}, end)
				if err := n.Apply(context.Background(), b, j); err != nil {
					t.Fatal(err)
				}
				return j, n.conn.statements - before
			}
			apply(0, nil) // looks at the table
			_, clean := apply(rows, nil)
			_, first := apply(2*rows, at[:1]) // what is checked at COMMIT costs the session one batch more
			j, dirty := apply(3*rows, at)
			t.Logf("%d statements, %d with a bad row, and %d with %d", clean, first, dirty, len(at))
			if clean > 24 { // three for each of some five chunks, sent with its rows
				t.Errorf("a clean batch took %d statements", clean)
			}
			if extra := first - clean; kind.few && extra > 3+clean {
				t.Errorf("the first bad row took %d statements more", extra)
			}
			if extra := dirty - clean; kind.few && extra > 3*len(at) {
				t.Errorf("%d bad rows took %d statements more, want three each at most", len(at), extra)
			}
			var got []int
			for i, r := range j.Rows {
				seq := int(r.Seq) - 1 - 3*rows
				got = append(got, seq)
				want := judgedRow(3*rows+seq, kind.name, &kind.bad)
				if fmt.Sprintf("%q", r.Values) != fmt.Sprintf("%q", want.Values) || r.Received != want.Received || r.Values[1].Null != want.Values[1].Null {
					t.Errorf("row %d was set aside as %q, want %q", r.Seq, r.Values, want.Values)
				}
				if why := j.Why[i]; why.Code != kind.code || why.Table != "t" || why.Seq != r.Seq || !strings.Contains(why.Err.Error(), kind.words) {
					t.Errorf("row %d: SQLSTATE %s, %v; want %s and %q", r.Seq, why.Code, why, kind.code, kind.words)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, at) {
				t.Fatalf("rows %d were set aside, want %d", got, at)
			}
			if got := column(t, url, "SELECT count(*)::text || ' ' || count(DISTINCT id) FROM t WHERE id > 0"); got != fmt.Sprintf("%d %[1]d", 4*rows-1-len(at)) {
				t.Fatalf("t holds %s rows, want %d", got, 4*rows-1-len(at))
			}
			if got := column(t, url, "SELECT count(*) FROM (SELECT id < lag(id) OVER (ORDER BY ctid) AS back FROM t WHERE id > 0) AS o WHERE back"); got != "0" && kind.name != "no partition" {
				t.Errorf("%s rows are out of order", got)
			}
		})
	}
}

// TestAllRefused delivers nothing but bad rows: each costs three statements.
func TestAllRefused(t *testing.T) {
	n, url := start(t, "CREATE TABLE t (x integer)")
	var rows []row.Row
	for seq := uint64(1); seq <= 999; seq++ {
		rows = append(rows, values(seq, text("t", "x"), "bad"))
	}
	before := n.conn.statements
	j := mustDeliver(t, n, rows...)
	if len(j.Rows) != 999 || !j.Settled {
		t.Fatalf("%d rows were set aside, settled %v", len(j.Rows), j.Settled)
	}
	if took := n.conn.statements - before; took > 3*999+20 {
		t.Errorf("999 bad rows took %d statements", took)
	}
	if got := column(t, url, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("t holds %s rows", got)
	}
}

// TestCircle delivers rows of two tables that refer to each other, which only
// a whole transaction can hold, and one that refers to nothing.
func TestCircle(t *testing.T) {
	n, url := start(t, "CREATE TABLE a (id text PRIMARY KEY, b text)", "CREATE TABLE b (id text PRIMARY KEY, a text REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
		"ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED")
	a, b := text("a", "id", "b"), text("b", "id", "a")
	j := mustDeliver(t, n, values(1, a, "1", "1"), values(2, a, "2", "nobody"), values(3, b, "1", "1"), values(4, a, "3", "2"), values(5, b, "2", "3"))
	if len(j.Rows) != 1 || j.Rows[0].Seq != 2 {
		t.Fatalf("set aside %v: %v, want row 2", j.Rows, j.Why)
	}
	if got := column(t, url, "SELECT id FROM a UNION ALL SELECT id FROM b ORDER BY 1"); got != "1 1 2 3" {
		t.Fatalf("the tables hold %s", got)
	}
}

// TestCommitRefused has a constraint checked at COMMIT in a table that is
// written by a trigger, of which the sink knows nothing.
func TestCommitRefused(t *testing.T) {
	n, url := start(t, "CREATE TABLE p (x text PRIMARY KEY); INSERT INTO p VALUES ('1')",
		"CREATE TABLE log (x text REFERENCES p DEFERRABLE INITIALLY DEFERRED)", "CREATE TABLE t (x text)",
		"CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.x); RETURN NEW; END $$",
		"CREATE TRIGGER log AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION log()")
	s := text("t", "x")
	rows := []row.Row{values(1, s, "1"), values(2, s, "nobody"), values(3, s, "1")}
	_, err := deliver(n, rows...)
	var refused *sink.RowError
	if err == nil || errors.As(err, &refused) || errors.Is(err, sink.ErrDoubtful) {
		t.Fatalf("the first attempt gave %v, want an error about the sink", err)
	}
	if j := mustDeliver(t, n, rows...); len(j.Rows) != 1 || j.Rows[0].Seq != 2 || j.Why[0].Code != "23503" {
		t.Fatalf("set aside %v: %v, want row 2", j.Rows, j.Why)
	}
	if got := column(t, url, "SELECT count(*) FROM log"); got != "2" {
		t.Fatalf("%s rows are in", got)
	}
}

// TestNamed reads the line out of what PostgreSQL says in several languages.
func TestNamed(t *testing.T) {
	for where, want := range map[string]int{
		"COPY t, line 3, column x: \"bad\"":                             2,
		"PL/pgSQL function no() line 7 at RAISE\nCOPY t, line 3: \"1\"": 2,
		"COPY t, Zeile 3, Spalte x: »bad«":                              2,
		"COPY t, ligne 3, colonne x : « bad »":                          2,
		"COPY t, 行 3, 列 x: \"bad\"":                                     2,
		"COPY t, line 3, column x: \"a\nCOPY t, line 9\"":               2,
		"COPY t, line 11":                                               -1, // more than were sent
		"COPY t, line 0":                                                -1,
		"COPY t, line 99999999999999999999":                             -1,
		"COPY other, line 3":                                            -1,
		"PL/pgSQL function no() line 7 at RAISE":                        -1,
		"":                                                              -1,
		"SQL statement \"INSERT INTO x VALUES (1)\"\nPL/pgSQL function f() line 3 at SQL": -1,
	} {
		if got := named(&pgconn.PgError{Where: where}, "t", 10); got != want {
			t.Errorf("%q names line %d, want %d", where, got, want)
		}
	}
	if got := named(&pgconn.PgError{Where: "COPY x, line 7, line 2"}, "x, line 7", 10); got != 1 {
		t.Errorf("an odd name gives line %d", got)
	}
}

// TestVerdicts holds what is about a row and what about the sink.
func TestVerdicts(t *testing.T) {
	for code, want := range map[string]bool{
		"22P02": true, "22001": true, "23505": true, "23514": true, "54000": true, "P0001": true, "UE001": true, "428C9": true,
		"42P01": false, "42703": false, "42501": false, "0A000": false, "53100": false, "57014": false, "57P01": false, "08006": false,
		"40P01": false, "25006": false, "XX001": false, "22P04": false, "": false, "1": false,
	} {
		if got := aboutRow(fmt.Errorf("x: %w", &pgconn.PgError{Code: code, SeverityUnlocalized: "ERROR"})); got != want {
			t.Errorf("SQLSTATE %q is about the row: %v, want %v", code, got, want)
		}
	}
	if aboutRow(&pgconn.PgError{Code: "22P02", SeverityUnlocalized: "FATAL"}) || aboutRow(errors.New("connection reset")) {
		t.Error("what ends a connection is about no row")
	}
}

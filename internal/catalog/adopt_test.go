package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/fault"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// theirs makes a sink's table of words like "id integer!", where ! is NOT
// NULL, = a default and ~ a generated column.
func theirs(name string, words ...string) Table {
	t := Table{Name: name}
	for _, w := range words {
		c := strings.TrimRight(w, "!=~")
		marks := w[len(c):]
		t.Columns = append(t.Columns, Column{Column: cols(c)[0], NotNull: strings.Contains(marks, "!"),
			Default: strings.Contains(marks, "="), Generated: strings.Contains(marks, "~")})
	}
	return t
}

func adopt(t *testing.T, c *Catalog, sink string, tables ...Table) bool {
	t.Helper()
	changed, err := c.Adopt(sink, tables)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// TestAdopted holds that the sink's definitions go before what was declared or
// met, survive the process, and end with the table.
func TestAdopted(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{})
	if err := c.Declare("declared", cols("a text", "b text")); err != nil {
		t.Fatal(err)
	}
	both := []Table{theirs("calls", "id bigint!=", "caller varchar(64)!", "total integer~"), theirs("declared", "a integer")}
	if !adopt(t, c, "billing", both...) {
		t.Error("nothing changed")
	}
	generation := c.Generation()
	if adopt(t, c, "billing", both...) || c.Generation() != generation {
		t.Error("the same tables are a change")
	}
	for _, c := range []*Catalog{c, open(t, dir, Options{})} { // while it runs, and after a start without the sink
		got, by, ok := c.Known("calls")
		if !ok || !reflect.DeepEqual(got, both[0]) || by.How != FromSink || by.Sink != "billing" || by.Since.IsZero() {
			t.Errorf("calls is %v from %v", got, by)
		}
		if got, err := c.Resolve("declared", cols("a"), false); err != nil || got[0].Type != "integer" {
			t.Errorf("declared: %v, %v", got, err)
		}
		if _, err := c.Resolve("declared", cols("b"), false); fault.Code(err) != fault.UndefinedColumn {
			t.Errorf("a column that the sink has not: %v", err)
		}
	}
	adopt(t, c, "billing", theirs("other", "x text"))
	if c.Generation() == generation {
		t.Error("tables that vanished are no change")
	}
	for _, c := range []*Catalog{c, open(t, dir, Options{})} {
		if _, err := c.Columns("calls"); fault.Code(err) != fault.UndefinedTable {
			t.Errorf("a table that vanished: %v", err)
		}
		if got, err := c.Columns("declared"); err != nil || !reflect.DeepEqual(got, cols("a text", "b text")) {
			t.Errorf("a declared table that vanished from the sink: %v, %v", got, err)
		}
	}
	if err := c.Keep("another"); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := open(t, dir, Options{}).Known("other"); ok {
		t.Error("what was learned from a sink that is no authority any more is known")
	}
}

// TestAdoptedWithRows holds that rows bring columns to a table of the sink
// where they may, and that those do not become part of its definition.
func TestAdoptedWithRows(t *testing.T) {
	c := open(t, t.TempDir(), Options{})
	adopt(t, c, "s", theirs("t", "a integer"))
	for range 2 {
		got, err := c.Resolve("t", cols("x numeric", "a text"), true)
		if err != nil || !reflect.DeepEqual(got, cols("x numeric", "a integer")) {
			t.Fatalf("%v, %v", got, err)
		}
		adopt(t, c, "s", theirs("t", "a integer"), theirs("u", "b text")) // it has not got the column yet
	}
	if _, err := c.Resolve("t", cols("x"), false); fault.Code(err) != fault.UndefinedColumn {
		t.Errorf("with fixed tables: %v", err)
	}
	adopt(t, c, "s", theirs("t", "a integer", "x text"))
	if got, err := c.Resolve("t", cols("x"), true); err != nil || got[0].Type != "text" {
		t.Errorf("once the sink has it: %v, %v", got, err)
	}
}

// TestUnfit holds that one table which cannot be used costs no other.
func TestUnfit(t *testing.T) {
	c := open(t, t.TempDir(), Options{Fold: strings.ToLower, Check: func(s *row.Schema) error {
		if s.Table == "no" {
			return errors.New("reserved")
		}
		return nil
	}})
	adopt(t, c, "first", theirs("taken", "a text"))
	changed, err := c.Adopt("s", []Table{theirs("no", "a text"), theirs("good", "a text"), theirs("GOOD", "a text"), theirs("taken", "a integer"),
		theirs(strings.Repeat("x", 64), "a text"), {Name: "empty"}})
	var unfit *UnfitError
	if !changed || !errors.As(err, &unfit) {
		t.Fatalf("%v, %v", changed, err)
	}
	for _, word := range []string{`"no"`, `"GOOD"`, `"taken"`, "64 bytes", `"empty"`} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
	if _, by, ok := c.Known("good"); !ok || by.Sink != "s" {
		t.Error("the good one is not known")
	}
	if _, by, _ := c.Known("taken"); by.Sink != "first" {
		t.Errorf("the other sink's table is now %v", by)
	}
}

// TestVersion1 holds that the file of the first version is read, and that no
// value is judged by what nobody may have declared.
func TestVersion1(t *testing.T) {
	dir := t.TempDir()
	text := `{"version":1,"crc32c":"a736e834","tables":{"calls":[{"name":"a","type":"text"},{"name":"n","type":"numeric"}]}}`
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir, Options{})
	if c.Damaged() != nil {
		t.Fatal(c.Damaged())
	}
	if got, err := c.Columns("calls"); err != nil || !reflect.DeepEqual(got, cols("a text", "n numeric")) {
		t.Errorf("%v, %v", got, err)
	}
	if c.Judge("calls", cols("n", "a"), false) != nil {
		t.Error("its values are judged")
	}
	if err := c.Declare("more", cols("x integer")); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{})
	if _, by, ok := again.Known("calls"); !ok || by.How != "" || by.String() != "not known" {
		t.Errorf("after it was written again: %v, %v", by, ok)
	}
	if again.Judge("more", cols("x"), false) == nil {
		t.Error("a declared table is not judged after a start")
	}
}

func TestJudge(t *testing.T) {
	c := open(t, t.TempDir(), Options{})
	adopt(t, c, "billing", theirs("calls", "id bigint!=", "caller varchar(4)!", "seconds integer", "total integer~", "note text"))
	if err := c.DeclareTable(theirs("declared", "n integer!", "m numeric(3,1)", "x text")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve("met", cols("n numeric"), true); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		table, columns, values string // values with a blank between, N for NULL
		auto                   bool
		code, message          string
	}{
		{"calls", "caller,seconds", "anna 7", false, "", ""},
		{"calls", "caller,seconds", "anna N", false, "", ""},
		{"calls", "seconds,caller", "x anna", false, fault.InvalidTextRepr, `invalid input syntax for type integer: "x"`},
		{"calls", "caller,seconds", "annas 99999999999", false, fault.StringTooLong, "value too long for type character varying(4)"},
		{"calls", "caller,seconds", "N x", false, fault.InvalidTextRepr, `invalid input syntax for type integer: "x"`},
		{"calls", "caller", "N", false, fault.NotNullViolation, `null value in column "caller" of relation "calls" violates not-null constraint`},
		{"calls", "seconds", "7", false, fault.NotNullViolation, `null value in column "caller" of relation "calls" violates not-null constraint`},
		{"calls", "id,caller", "N anna", false, fault.NotNullViolation, `null value in column "id" of relation "calls" violates not-null constraint`},
		{"calls", "caller,total", "anna N", false, fault.GeneratedAlways, `cannot insert a non-DEFAULT value into column "total"`},
		{"calls", "caller,gone", "anna N", false, fault.UndefinedColumn, `column "gone" of relation "calls" does not exist`},
		{"calls", "caller,gone", "anna N", true, "", ""},
		{"gone", "a", "1", false, fault.UndefinedTable, `relation "gone" does not exist`},
		{"gone", "a", "1", true, "", ""},
		{"declared", "n,m", "1 9.9", false, "", ""},
		{"declared", "n,m", "1 99.95", false, fault.NumberOutOfRange, "numeric field overflow"},
		{"declared", "x", "1", false, fault.NotNullViolation, `null value in column "n" of relation "declared" violates not-null constraint`},
		{"met", "n", "x", true, "", ""},
	} {
		j := c.Judge(tc.table, cols(strings.Split(tc.columns, ",")...), tc.auto)
		var values []row.Value
		for _, v := range strings.Fields(tc.values) {
			if v == "N" {
				values = append(values, row.Null)
			} else {
				values = append(values, row.Text(v))
			}
		}
		var err *fault.Error
		if j != nil {
			err = j.Check(values)
		}
		switch {
		case err == nil && tc.code != "":
			t.Errorf("%s (%s) %q passes", tc.table, tc.columns, tc.values)
		case err != nil && (err.Code != tc.code || err.Message != tc.message):
			t.Errorf("%s (%s) %q: %s %q, want %s %q", tc.table, tc.columns, tc.values, err.Code, err.Message, tc.code, tc.message)
		}
	}
	j := c.Judge("calls", cols("seconds", "caller"), false)
	if err := j.Check([]row.Value{row.Text("x"), row.Text("a")}); !strings.Contains(err.Hint, `sink "billing"`) || !strings.Contains(err.Hint, `"seconds"`) {
		t.Errorf("the hint names neither column nor sink: %q", err.Hint)
	}
	row := []row.Value{row.Text("7"), row.Text("anna")}
	if n := testing.AllocsPerRun(100, func() { _ = j.Check(row) }); n != 0 {
		t.Errorf("a row that passes costs %v allocations", n)
	}
}

package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

func cols(words ...string) (out []row.Column) {
	for _, w := range words {
		name, typ, _ := strings.Cut(w, " ")
		out = append(out, row.Column{Name: name, Type: typ})
	}
	return out
}

// met is a table that is known from a row.
func met(columns []row.Column) *table {
	return &table{own: newDefinition(typed(columns, true), Origin{How: FirstRow, Since: time.Unix(1e9, 0).UTC()})}
}

func open(t *testing.T, dir string, o Options) *Catalog {
	t.Helper()
	d, err := disk.OpenReal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	c, err := Open(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDeclareIsDurable holds that a table is known to whoever opens the
// directory after Declare returned, without anything being closed.
func TestDeclareIsDurable(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{})
	want := cols("a text", "b varchar(64)", "Ä numeric")
	if err := c.Declare("calls", want); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{})
	got, err := again.Columns("calls")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("Columns gives %v, %v; want %v", got, err, want)
	}
	if err := again.Declare("calls", want); fault.Code(err) != fault.DuplicateTable {
		t.Errorf("declared twice: %v", err)
	}
	if _, err := again.Columns("call"); fault.Code(err) != fault.UndefinedTable {
		t.Errorf("a table that is not known: %v", err)
	}
}

func TestResolve(t *testing.T) {
	for _, tc := range []struct {
		name    string
		table   string
		columns []row.Column
		auto    bool
		code    string
		want    []row.Column
	}{
		{"types known go before types given", "t", cols("b text", "a text"), false, "", cols("b numeric", "a text")},
		{"unknown table", "u", cols("a"), false, fault.UndefinedTable, nil},
		{"unknown column", "t", cols("a", "x"), false, fault.UndefinedColumn, nil},
		{"new column", "t", cols("x numeric", "a"), true, "", cols("x numeric", "a text")},
		{"new table", "u", cols("y numeric", "z"), true, "", cols("y numeric", "z")},
		{"column named twice", "t", cols("a", "a"), false, fault.DuplicateColumn, nil},
		{"new column named twice", "t", cols("x", "x"), true, fault.DuplicateColumn, nil},
		{"long table", strings.Repeat("x", 64), cols("a"), true, fault.NameTooLong, nil},
		{"long column", "u", cols(strings.Repeat("x", 64)), true, fault.NameTooLong, nil},
		{"longest name", strings.Repeat("x", 63), cols("a"), true, "", cols("a")},
		{"NUL", "u", cols("a\x00b"), true, fault.CharacterNotInRepertoire, nil},
		{"not UTF-8", "\xff", cols("a"), true, fault.CharacterNotInRepertoire, nil},
		{"no name", "", cols("a"), true, fault.InvalidName, nil},
		{"no columns", "u", nil, true, fault.FeatureNotSupported, nil},
		{"a sink refuses", "sink_no", cols("a"), true, fault.InvalidName, nil},
		{"long type", "u", cols("a " + strings.Repeat("x", 129)), true, fault.InvalidParameterValue, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			c := open(t, dir, Options{Check: func(s *row.Schema) error {
				if strings.HasPrefix(s.Table, "sink_") {
					return errors.New("reserved")
				}
				return nil
			}})
			if err := c.Declare("t", cols("a text", "b numeric")); err != nil {
				t.Fatal(err)
			}
			got, err := c.Resolve(tc.table, tc.columns, tc.auto)
			if fault.Code(err) != tc.code || (err == nil) != (tc.code == "") || !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("got %v, %v; want %v, code %q", got, err, tc.want, tc.code)
			}
			if err != nil && fault.Of(err).Hint == "" {
				t.Errorf("%q has no hint", err)
			}
			if err == nil {
				again, err := open(t, dir, Options{}).Resolve(tc.table, tc.columns, false)
				if err != nil || !reflect.DeepEqual(again, tc.want) {
					t.Errorf("after opening again: %v, %v", again, err)
				}
			}
		})
	}
}

// TestDiskFails holds that a table which could not be noted is refused in the
// words for what is wrong, is not known, and is taken once the disk is well.
func TestDiskFails(t *testing.T) {
	for _, f := range []struct {
		cause error
		code  string
	}{{syscall.ENOSPC, fault.DiskFull}, {syscall.EDQUOT, fault.DiskFull}, {syscall.EIO, fault.IOError}} {
		d := disk.NewFaulty(disk.NewMem())
		c, err := Open(d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		d.Fail(disk.Fault{Kind: disk.CallCreate, N: 1, Err: f.cause})
		if err := c.Declare("calls", cols("a text")); fault.Code(err) != f.code {
			t.Errorf("%v: Declare returns %v, want SQLSTATE %s", f.cause, err, f.code)
		}
		if _, err := c.Columns("calls"); fault.Code(err) != fault.UndefinedTable {
			t.Errorf("%v: a table that was refused: %v", f.cause, err)
		}
		if err := c.Declare("calls", cols("a text")); err != nil {
			t.Errorf("%v: once the disk is well: %v", f.cause, err)
		}
	}
}

// TestSinkSeesWholeTable holds that a sink is asked about all columns of a
// table, since two that came one after the other may exclude each other.
func TestSinkSeesWholeTable(t *testing.T) {
	c := open(t, t.TempDir(), Options{Check: func(s *row.Schema) error {
		if len(s.Columns) > 1 {
			return errors.New("one is enough")
		}
		return nil
	}})
	if _, err := c.Resolve("t", cols("a"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve("t", cols("A"), true); fault.Code(err) != fault.InvalidName {
		t.Errorf("the second column was taken: %v", err)
	}
	if got, _ := c.Columns("t"); len(got) != 1 {
		t.Errorf("a refused column is known: %v", got)
	}
}

// TestFoldedAlike holds that two names which a sink takes for one table are not
// both taken, while tables that are known already go on as before.
func TestFoldedAlike(t *testing.T) {
	dir := t.TempDir()
	before := open(t, dir, Options{})
	for _, name := range []string{"Old", "old"} { // from before a sink folded names
		if err := before.Declare(name, cols("a text")); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, dir, Options{Fold: strings.ToLower})
	if _, err := c.Resolve("calls", cols("a text"), true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Calls", "CALLS", "OLD"} {
		_, err := c.Resolve(name, cols("a text"), true)
		if fault.Code(err) != fault.InvalidName {
			t.Errorf("%q was met: %v", name, err)
		}
		if err := c.Declare(name, cols("a text")); fault.Code(err) != fault.InvalidName {
			t.Errorf("%q was declared: %v", name, err)
		}
	}
	err := c.Declare("Calls", cols("a text"))
	if err == nil || !strings.Contains(err.Error(), `"Calls"`) || !strings.Contains(err.Error(), `"calls"`) {
		t.Errorf("the error names not both tables: %v", err)
	}
	for _, name := range []string{"calls", "Old", "old", "calls2"} {
		if _, err := c.Resolve(name, cols("a text", "b text"), true); err != nil {
			t.Errorf("%q gets a column: %v", name, err)
		}
	}
}

func TestTooManyColumns(t *testing.T) {
	c := open(t, t.TempDir(), Options{})
	var many []row.Column
	for i := range maxColumns {
		many = append(many, row.Column{Name: fmt.Sprint("c", i)})
	}
	if _, err := c.Resolve("t", many, true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve("t", cols("one_more"), true); fault.Code(err) != fault.TooManyColumns {
		t.Errorf("column %d: %v", maxColumns+1, err)
	}
}

func TestTooManyTables(t *testing.T) {
	dir := t.TempDir()
	tables := map[string]*table{}
	for i := range maxTables {
		tables[fmt.Sprint("t", i)] = met(cols("a"))
	}
	text, err := encode(tables)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir, Options{})
	if _, err := c.Resolve("one_more", cols("a"), true); fault.Code(err) != fault.LimitExceeded {
		t.Errorf("table %d: %v", maxTables+1, err)
	}
	if _, err := c.Resolve("t7", cols("b"), true); err != nil {
		t.Errorf("a column of a known table: %v", err)
	}
}

// TestDamage changes the file in each of its bytes: the catalog opens, says
// so, and keeps the file; or the change is one that JSON does not see.
func TestDamage(t *testing.T) {
	tables := map[string]*table{"calls": met(cols("a text", "b numeric"))}
	good, err := encode(tables)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		got, err := parse(bad)
		var damage *damagedError
		if err == nil && !reflect.DeepEqual(got, tables) {
			t.Fatalf("byte %d: another catalog passes: %s", i, bad)
		}
		if err != nil && !errors.As(err, &damage) && !strings.Contains(err.Error(), "newer") {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for cut := range good {
		if _, err := parse(good[:cut]); err == nil {
			t.Fatalf("cut to %d bytes, it passes", cut)
		}
	}

	dir := t.TempDir()
	bad := bytes.Replace(good, []byte("numeric"), []byte("numerid"), 1)
	if err := os.WriteFile(filepath.Join(dir, fileName), bad, 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir, Options{})
	if c.Damaged() == nil {
		t.Error("the damage is not told")
	}
	if kept, err := os.ReadFile(filepath.Join(dir, asideName)); err != nil || !bytes.Equal(kept, bad) {
		t.Errorf("the damaged file was not set aside: %v", err)
	}
	if _, err := c.Resolve("calls", cols("a"), true); err != nil {
		t.Errorf("nothing can be declared afterwards: %v", err)
	}
	if again := open(t, dir, Options{}); again.Damaged() != nil {
		t.Errorf("still damaged: %v", again.Damaged())
	}
}

// TestNewer holds that a file of a later version is refused and left alone.
func TestNewer(t *testing.T) {
	dir := t.TempDir()
	text := []byte(`{"version":3,"crc32c":"00000000","tables":{"later":true}}`)
	if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := disk.OpenReal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := Open(d, Options{}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer catalog: %v", err)
	}
	if left, err := os.ReadFile(filepath.Join(dir, fileName)); err != nil || !bytes.Equal(left, text) {
		t.Errorf("it was changed: %q, %v", left, err)
	}
}

// TestConcurrent lets writers meet the same new table at once: each gets its
// columns, and all are known in the end.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 5 {
				want := cols("shared text", fmt.Sprintf("own%d_%d numeric", i, k))
				if got, err := c.Resolve("t", want, true); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := open(t, dir, Options{}).Columns("t"); err != nil || len(got) != 41 {
		t.Errorf("%d columns are known, want 41: %v", len(got), err)
	}
}

func FuzzParse(f *testing.F) {
	good, err := encode(map[string]*table{"calls": met(cols("a text", "b"))})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"crc32c":"","tables":null}`))
	f.Add([]byte(`{"version":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		tables, err := parse(text)
		if err != nil {
			return
		}
		again, err := encode(tables)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parse(again); err != nil || !reflect.DeepEqual(back, tables) {
			t.Fatalf("does not survive a round: %v", err)
		}
	})
}

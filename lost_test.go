package holdfast_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast"
	"holdfast/row"
)

// told returns what Verify says of the data directory itself.
func told(t *testing.T, db *holdfast.DB) (all []string) {
	t.Helper()
	v, err := db.Verify(t.Context(), "", func(d row.Damage) error {
		if d.Stream != "" {
			t.Errorf("a stream is damaged: %+v", d)
		}
		all = append(all, d.What)
		return nil
	})
	if err != nil || v.Damaged != len(all) {
		t.Errorf("verify: %+v, %v", v, err)
	}
	return all
}

// TestLostFiles removes and damages the files beside the streams: each is named
// by every start and every Verify until somebody settles it, and what it said is
// not taken for void meanwhile.
func TestLostFiles(t *testing.T) {
	remove := os.Remove
	flip := func(file string) error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text[len(text)/2] ^= 1
		return os.WriteFile(file, text, 0o600)
	}
	for name, c := range map[string]struct {
		harm   func(string) error
		settle func(*holdfast.DB, string) error
		held   string
	}{
		"HOLDS removed":        {remove, func(db *holdfast.DB, _ string) error { return db.RemoveHold("missing-holds-file") }, "missing-holds-file"},
		"HOLDS damaged":        {flip, func(db *holdfast.DB, _ string) error { return db.RemoveHold("damaged-holds-file") }, "damaged-holds-file"},
		"SINKS removed":        {remove, settleSinks, "case"},
		"SINKS damaged":        {flip, settleSinks, "case"},
		"catalog.json damaged": {flip, func(_ *holdfast.DB, dir string) error { return os.Remove(filepath.Join(dir, "catalog.json.damaged")) }, "case"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			data, file := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
			start := func() *holdfast.DB {
				return open(t, data, holdfast.Options{Sinks: []holdfast.Sink{{Name: "one", Sink: lite(t, file)}}})
			}
			db := start()
			insert(t, db, 1, 2, 3)
			drained(t, db)
			if err := errors.Join(db.AddHold(holdfast.Hold{Name: "case", Streams: []string{"main"}}), db.PauseSink("one", "")); err != nil {
				t.Fatal(err)
			}
			insert(t, db, 4)
			if all := told(t, db); len(all) != 0 {
				t.Errorf("before: %q", all)
			}
			closed(t, db)
			harmed, _, _ := strings.Cut(name, " ")
			if err := c.harm(filepath.Join(data, harmed)); err != nil {
				t.Fatal(err)
			}
			closed(t, open(t, data, holdfast.Options{})) // a verb on a stopped server does not eat the message
			for range 2 {
				db = start()
				if all := told(t, db); len(all) != 1 || !strings.Contains(all[0], harmed+" ") && !strings.Contains(all[0], harmed+":") {
					t.Errorf("told %q", all)
				}
				eventually(t, "pausing the sink", func() bool { return sinks(db) == "one:paused" })
				if all := db.Holds(); len(all) != 1 || all[0].Name != c.held {
					t.Errorf("the holds are %+v", all)
				}
				closed(t, db)
			}
			db = start()
			if err := errors.Join(c.settle(db, data), db.ResumeSink("one", holdfast.Resume{})); err != nil {
				t.Fatal(err)
			}
			drained(t, db)
			closed(t, db)
			db = start()
			if all := told(t, db); len(all) != 0 {
				t.Errorf("once it is settled: %q", all)
			}
			if got := ask(t, file, "SELECT a FROM t ORDER BY a"); got != "1 2 3 4" {
				t.Errorf("the sink has %s", got)
			}
		})
	}
}

func settleSinks(_ *holdfast.DB, dir string) error {
	return os.Remove(filepath.Join(dir, "SINKS.damaged"))
}

// TestLostRetirement removes SINKS, which alone knows that a name in the
// configuration was retired: rows are not delivered to it anew.
func TestLostRetirement(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
	start := func() *holdfast.DB {
		return open(t, data, holdfast.Options{Sinks: []holdfast.Sink{{Name: "old", Sink: lite(t, file)}, {Name: "new", Sink: lite(t, file+".2")}}})
	}
	db := start()
	insert(t, db, 1, 2, 3)
	drained(t, db)
	if _, err := db.RetireSink(t.Context(), "old", false); err != nil {
		t.Fatal(err)
	}
	closed(t, db)
	if err := os.Remove(filepath.Join(data, "SINKS")); err != nil {
		t.Fatal(err)
	}
	db = start()
	defer closed(t, db)
	eventually(t, "pausing both sinks", func() bool { return sinks(db) == "new:paused old:paused" })
	if got := ask(t, file, "SELECT a FROM t ORDER BY a"); got != "1 2 3" {
		t.Errorf("the retired sink has %s", got)
	}
}

package holdfast_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast"
	"holdfast/internal/fault"
)

// TestDirectoryInTheWay puts a directory in the place of each file: the start
// says which, what to do, and what that means; and that works.
func TestDirectoryInTheWay(t *testing.T) {
	for _, name := range []string{"HOLDS", "SINKS", "catalog.json", "ROLL", "BUDGETS", "SOURCES", "streams/main/MANIFEST", "streams/main/GAPS"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			dir := t.TempDir()
			data, rows := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
			o := func() holdfast.Options {
				return holdfast.Options{Streams: []holdfast.Stream{{Name: "main", Limits: holdfast.Limits{Budget: 64 << 20}}}, Sinks: []holdfast.Sink{{Name: "one", Sink: lite(t, rows)}}}
			}
			db := open(t, data, o())
			insert(t, db, 1, 2, 3)
			drained(t, db)
			if err := errors.Join(db.AddHold(holdfast.Hold{Name: "case"}), db.PauseSink("one", "")); err != nil {
				t.Fatal(err)
			}
			closed(t, db)
			file := filepath.Join(data, filepath.FromSlash(name))
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) { // not all of them are there always
				t.Fatal(err)
			}
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, reading := range []bool{false, true} {
				again := o()
				again.Reading = reading
				_, err := holdfast.Open(data, again)
				if f := fault.Of(err); err == nil || !strings.Contains(err.Error(), "directory where the file "+filepath.Base(name)+" belongs") || !strings.Contains(f.Hint, "move the directory away: ") {
					t.Fatalf("reading %t: refused with %v", reading, err)
				}
				for _, k := range again.Sinks {
					_ = k.Sink.Close()
				}
			}
			if err := os.Rename(file, filepath.Join(dir, "away")); err != nil {
				t.Fatal(err)
			}
			db = open(t, data, o())
			insert(t, db, 4)
			if st := db.Status(); st.Streams[0].EndSeq != 4 || st.Streams[0].FirstSeq != 1 {
				t.Errorf("with it away: %+v", st.Streams[0])
			}
			if all := db.Holds(); len(all) != 1 || name == "HOLDS" != (all[0].Name == "missing-holds-file") {
				t.Errorf("with it away the holds are %+v", all)
			}
		})
	}
}

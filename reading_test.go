package holdfast_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast"
)

// tree returns what is below a directory: content and time of each file.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text := []byte{}
		if info.Mode().IsRegular() {
			text, err = os.ReadFile(name)
		}
		all[name] = fmt.Sprint(info.Mode(), info.ModTime(), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestReading opens what a process that is gone has left, to look at it: every
// row is there, with what was set aside and damaged beside it, and no file is
// made, changed or removed.
func TestReading(t *testing.T) {
	dir := t.TempDir()
	live, data := filepath.Join(dir, "live"), filepath.Join(dir, "copy")
	streams := func(at string) []holdfast.Stream {
		return []holdfast.Stream{{Name: "main", More: []holdfast.Directory{{Dir: filepath.Join(at, "more")}},
			Limits: holdfast.Limits{Budget: 64 << 20, History: 1, MinFree: func(total int64) int64 { return total }}}}
	}
	db := open(t, live, holdfast.Options{Streams: []holdfast.Stream{{Name: "main", More: []holdfast.Directory{{Dir: filepath.Join(dir, "more")}}}}, Sinks: []holdfast.Sink{{Name: "one", Sink: lite(t, filepath.Join(dir, "rows.db"))}}})
	insert(t, db, 1, 2, 3)
	drained(t, db)
	if err := errors.Join(db.Seal(t.Context()), db.AddHold(holdfast.Hold{Name: "case"})); err != nil {
		t.Fatal(err)
	}
	insert(t, db, 4, 5)
	if err := os.CopyFS(data, os.DirFS(live)); err != nil { // as a snapshot finds it
		t.Fatal(err)
	}
	closed(t, db)
	text, err := os.ReadFile(filepath.Join(data, "catalog.json"))
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := errors.Join(os.WriteFile(filepath.Join(data, "catalog.json"), text, 0o600), os.Remove(filepath.Join(data, "HOLDS"))); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for range 2 {
		db := open(t, data, holdfast.Options{Reading: true, Streams: streams(dir), FixedTables: true})
		if all := told(t, db); len(all) == 0 || db.Status().Streams[0].EndSeq != 5 {
			t.Errorf("told %q; %+v", all, db.Status().Streams[0])
		}
		var got []string
		for r, err := range db.Read(t.Context(), holdfast.ReadOptions{Stream: "main"}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(r.Values[0].Text))
		}
		if fmt.Sprint(got) != "[1 2 3 4 5]" {
			t.Errorf("read %v", got)
		}
		v, err := db.Repair(t.Context(), "", false, func(holdfast.Repair) error { return nil })
		if err != nil || v.Rows < 5 {
			t.Errorf("%+v, %v", v, err)
		}
		closed(t, db)
	}
	after := tree(t, dir)
	if !maps.Equal(before, after) {
		for name := range after {
			if before[name] != after[name] {
				t.Errorf("%s was made or changed", name)
			}
		}
		for name := range before {
			if after[name] == "" {
				t.Errorf("%s was removed", name)
			}
		}
	}
}

// TestOpenNowhere opens what is no directory: it is told, and nothing breaks.
func TestOpenNowhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "data")} {
		for _, reading := range []bool{false, true} {
			db, err := holdfast.Open(dir, holdfast.Options{Reading: reading})
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("open data directory %q", dir)) {
				t.Errorf("%q, reading %v: %v, %v", dir, reading, db, err)
			}
		}
	}
}

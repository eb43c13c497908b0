package holdfast_test

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
)

// TestMoveSource holds that rows and the position of their source commit
// together, small and staged, and over a restart; and that a source is moved
// from where it stands only.
func TestMoveSource(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, holdfast.Options{})
	store := func(from, to string, rows, size int) error {
		t.Helper()
		tx := db.BeginMove(holdfast.Move{Source: "cache", From: from, To: to})
		s, err := db.Schema("t", []row.Column{{Name: "v", Type: "text"}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if err := tx.Insert(s, []row.Value{row.Text(fmt.Sprint(to, i, strings.Repeat("x", size)))}); err != nil {
				t.Fatal(err)
			}
		}
		return tx.Commit(t.Context(), true)
	}
	want := 0
	expect := func(at string) {
		t.Helper()
		if got, err := db.Position("cache"); err != nil || got != at {
			t.Fatalf("it stands at %q, %v, want %q", got, err, at)
		}
		n := 0
		for _, err := range db.Read(t.Context(), holdfast.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Fatalf("there are %d rows, want %d", n, want)
		}
	}
	expect("")
	for i, step := range []struct{ rows, size int }{{1, 10}, {3, 10}, {40, 200_000}, {0, 0}, {2, 10}} {
		from, to := fmt.Sprint("p", i), fmt.Sprint("p", i+1)
		if i == 0 {
			from = ""
		}
		if err := store(from, to, step.rows, step.size); err != nil {
			t.Fatal(err)
		}
		want += step.rows
		expect(to)
		for _, wrong := range []string{from, "elsewhere"} {
			if err := store(wrong, "x", 2, 10); fault.Code(err) != fault.SerializationFailure {
				t.Fatalf("moved from %q again: %v", wrong, err)
			}
		}
		expect(to)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, dir, holdfast.Options{})
		expect(to)
	}
	// What a crash leaves between the commit and the file: the move is found in
	// the stream, and one that did not come to its commit is not.
	for _, c := range []struct{ after, at string }{{"44", "p9"}, {"46", "p5"}} {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		moving := fmt.Sprintf(`{"version":1,"sources":{"cache":{"position":"p5","moving":{"to":"p9","stream":"main","after":%s}}}}`, c.after)
		if err := os.WriteFile(filepath.Join(dir, "SOURCES"), summed(moving), 0o600); err != nil {
			t.Fatal(err)
		}
		db = open(t, dir, holdfast.Options{})
		expect(c.at)
	}
}

// summed adds the checksum's line.
func summed(line string) []byte {
	return fmt.Appendf(nil, "%s\ncrc32c %08x\n", line, crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli)))
}

package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// TestFormats holds what becomes of files in each format.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		text   string
		rows   []string
		bad    []string
		aside  string // why the file is bad
		stands bool   // whether it is left
	}{
		{name: "objects", text: "{\"b\":2,\"a\":\"x\"}\n\n{\"a\":null}\r\n{\"a\":{\"k\": 1}}", rows: []string{"acc|x|2", "acc|", `acc|{"k":1}`}},
		{name: "a bad line before and one behind", text: "{\"a\":\n{\"a\":1}\nno\n", rows: []string{"acc|1"}, bad: []string{`f@0 "{\"a\":"`, `f@14 "no"`}},
		{name: "no object at all", text: "one\ntwo\n", aside: "at byte 0: the JSON is broken"},
		{name: "blank lines alone", text: "\n \n", aside: "it has no row"},
		{name: "empty", text: "", aside: "it is empty"},
		{name: "too large", o: Options{MaxFile: 8}, text: `{"a":"xxxxxxx"}`, aside: "max_file is 8"},
		{name: "many bad lines first", text: strings.Repeat("x\n", 2000) + "{\"a\":1}\n", aside: "its first 1000 lines are no rows"},
		{name: "csv", o: Options{Format: CSV}, text: "\xef\xbb\xbfa,b\r\n1,\"x\ny\"\r\n2,\"\"\n3", rows: []string{"acc|1|x\ny", "acc|2|"}, bad: []string{`f@22 "3"`}},
		{name: "csv with an open quote", o: Options{Format: CSV}, text: "a,b\n1,2\n3,\"4\n5,6\n", rows: []string{"acc|1|2"}, bad: []string{`f@8 "3,\"4\n5,6\n"`}},
		{name: "csv without a header", o: Options{Format: CSV}, text: "a,a\n1,2\n", aside: "in the header line"},
		{name: "flat", o: Options{Format: Flat, Columns: map[string][]string{"acc": {"a", "b"}}}, text: "1|2\n3\n|", rows: []string{"acc|1|2", "acc||"}, bad: []string{`f@4 "3"`}},
		{name: "flat without columns", o: Options{Format: Flat}, text: "1|2\n", stands: true},
		{name: "raw", o: Options{Format: Raw}, text: "a\nb\n", rows: []string{"acc|f|a\nb\n"}},
		{name: "raw that is no text", o: Options{Format: Raw}, text: "a\xff", aside: "it is not UTF-8 text"},
		{name: "configured table", o: Options{Table: "other"}, text: `{"a":1}`, rows: []string{"other|1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.o)
			b.put("acc/f", c.text)
			b.round()
			b.want("rows", b.store.rows, c.rows...)
			b.want("malformed lines", b.store.bad, c.bad...)
			switch {
			case c.stands:
				b.want("files", b.left(), "acc/f")
				if st := b.s.Status(); st.State != Held || st.Files != 1 || len(st.Notes) != 1 {
					t.Errorf("status %+v", st)
				}
			case c.aside != "":
				b.want("files", b.left(), "bad/acc/f", "bad/acc/f.why")
				if why := b.why("acc/f"); !strings.Contains(why, c.aside) {
					t.Errorf("it is bad because %q, want %q", why, c.aside)
				}
				if text, _ := os.ReadFile(b.path("bad/acc/f")); string(text) != c.text {
					t.Errorf("the bad file has %q", text)
				}
			default:
				b.want("files", b.left())
				if st := b.s.Status(); st.State != Following || st.Files != 0 || !st.Oldest.IsZero() || st.Rows != uint64(len(c.rows)) || st.Bytes != uint64(len(c.text)) {
					t.Errorf("status %+v", st)
				}
			}
		})
	}
}

// TestLayouts holds which files are complete, and of which table they are.
func TestLayouts(t *testing.T) {
	files := []string{"acc/2026-11-20/b", "acc/2026-11-20/a", "acc/2026-11-19/z", "acc/x.tmp", "acc/.y", "acc/new/n", "acc/tmp/t", "acc/cur/c", "calls/a", "bad/acc/old"}
	put := func(b *bench) {
		for _, name := range files {
			b.put(name, fmt.Sprintf("{\"f\":%q}", name))
		}
	}
	b := newBench(t, Options{})
	put(b)
	b.round()
	b.want("rows", b.store.rows, "acc|acc/2026-11-19/z", "acc|acc/2026-11-20/a", "acc|acc/2026-11-20/b", "acc|acc/cur/c", "acc|acc/new/n", "acc|acc/tmp/t", "calls|calls/a")
	b.want("files", b.left(), "acc/.y", "acc/x.tmp", "bad/acc/old")
	b = newBench(t, Options{Maildir: true})
	put(b)
	b.round()
	b.want("rows", b.store.rows, "acc|acc/new/n")
	b = newBench(t, Options{Maildir: true, Table: "mail"})
	b.put("new/n", "{\"a\":1}")
	b.put("tmp/t", "{\"a\":1}")
	b.round()
	b.want("rows", b.store.rows, "mail|1")
	b = newBench(t, Options{})
	b.put("a", "{\"a\":1}")
	b.round()
	b.want("rows", b.store.rows)
	if st := b.s.Status(); st.State != Held || !strings.Contains(strings.Join(st.Notes, ""), "of no table") {
		t.Errorf("a file of no table: %+v", st)
	}
}

// TestNameOrder holds that the files of a directory with more names than are
// held at once come in the order of their names, and share transactions.
func TestNameOrder(t *testing.T) {
	const files = 2500
	for _, piece := range []int{1, 7, 100, files, pieceNames} {
		if piece < 100 && os.Getenv("HOLDFAST_LONG") == "" {
			continue
		}
		b := newBench(t, Options{Format: Raw})
		b.s.piece = piece
		var want []string
		rng := rand.New(rand.NewPCG(uint64(piece), 1))
		for _, i := range rng.Perm(files) {
			b.put(fmt.Sprintf("acc/%05d", i), "x")
		}
		for i := range files {
			want = append(want, fmt.Sprintf("acc|%05d|x", i))
		}
		b.round()
		if !slices.Equal(b.store.rows, want) {
			t.Errorf("piece %d: %d rows, not in order: %.200v", piece, len(b.store.rows), b.store.rows)
		}
		if b.store.commits != (files+batchFiles-1)/batchFiles {
			t.Errorf("piece %d: %d transactions", piece, b.store.commits)
		}
		b.want("files", b.left())
	}
}

// TestRefusals holds what waits, and what is a row's own fault.
func TestRefusals(t *testing.T) {
	b := newBench(t, Options{})
	b.store.refuse = func(table string, _ []row.Column, values []row.Value) error {
		switch {
		case table == "gone":
			return fault.New(fault.UndefinedTable, "no such table")
		case string(values[0].Text) == "bad":
			return fault.New(fault.InvalidTextRepr, "no such value")
		}
		return nil
	}
	b.put("acc/1", "{\"a\":1}\n{\"a\":\"bad\"}\n")
	b.put("acc/2", "{\"a\":\"bad\"}\n")
	b.put("gone/1", "{\"a\":1}\n")
	b.put("gone/2", "{\"a\":1}\n")
	b.round()
	b.want("rows", b.store.rows, "acc|1")
	b.want("malformed lines", b.store.bad, `1@8 "{\"a\":\"bad\"}"`)
	b.want("files", b.left(), "bad/acc/2", "bad/acc/2.why", "gone/1", "gone/2")
	if st := b.s.Status(); st.State != Held || st.Files != 2 || st.Bad != 1 || st.Rejects != 1 {
		t.Errorf("status %+v", st)
	}
	b.store.refuse = func(string, []row.Column, []row.Value) error { return fault.New(fault.DiskFull, "full") }
	if err := b.s.round(t.Context()); fault.Code(err) != fault.DiskFull {
		t.Fatalf("a full disk: %v", err)
	}
	b.store.refuse = nil
	b.round()
	b.want("rows", b.store.rows, "acc|1", "gone|1", "gone|1")
	b.want("files", b.left(), "bad/acc/2", "bad/acc/2.why")
	b.put("acc/2", "no")
	b.round()
	b.want("files", b.left(), "bad/acc/2", "bad/acc/2.1", "bad/acc/2.1.why", "bad/acc/2.why")
}

// TestRun holds that what comes is taken in by itself, and that empty dated
// directories go, but for the last.
func TestRun(t *testing.T) {
	b := newBench(t, Options{Poll: 50 * time.Millisecond})
	for _, day := range []string{"2026-11-18", "2026-11-19", "2026-11-20"} {
		b.put("acc/"+day+"/1", "{\"a\":1}")
	}
	s, err := Start(b.o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s did not happen: %+v", what, s.Status())
			}
		}
	}
	await("the first files", func() bool { return s.Status().Rows == 3 && s.Status().State == Following })
	b.put("acc/2026-11-20/2", "{\"a\":2}")
	await("another file", func() bool { return s.Status().Rows == 4 })
	old := time.Now().Add(-2 * time.Hour)
	for _, day := range []string{"2026-11-18", "2026-11-20"} {
		if err := os.Chtimes(b.path("acc/"+day), old, old); err != nil {
			t.Fatal(err)
		}
	}
	await("the empty directory to go", func() bool {
		days, err := filepath.Glob(b.path("acc/*"))
		return err == nil && len(days) == 2
	})
	if err := os.Rename(b.o.Dir, b.o.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	await("the missing directory to show", func() bool { return s.Status().State == Waiting && s.Status().Error != "" })
	if err := os.Rename(b.o.Dir+".away", b.o.Dir); err != nil {
		t.Fatal(err)
	}
	b.put("acc/3", "{\"a\":3}")
	await("the file behind it", func() bool { return s.Status().Rows == 5 && s.Status().State == Following })
}

// TestUnmounted holds that a spool that must be a volume does not start
// without one.
func TestUnmounted(t *testing.T) {
	b := newBench(t, Options{Mounted: true})
	if _, err := Start(b.o); fault.Of(err) == nil || !strings.Contains(err.Error(), "nothing is mounted") || fault.Of(err).Hint == "" {
		t.Errorf("start without a volume: %v", err)
	}
	b.o.Dir += "/missing"
	if _, err := Start(b.o); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("start without a directory: %v", err)
	}
}

package flat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// readLines returns the rows of all files of a table, in the order of their
// names, with the fields that its .columns file names. It uses nothing of the
// sink but the form of the lines.
func readLines(t testing.TB, dir, table string) (columns []string, rows [][]row.Value) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, escapeName(table)+"_0.columns"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		v, err := row.ParseFlat(nil, bytes.TrimSuffix(line, []byte("\n")))
		if err != nil || len(v) != 1 {
			t.Fatalf("columns of %q: line %q: %v", table, line, err)
		}
		columns = append(columns, string(v[0].Text))
	}
	return columns, readFiles(t, dir, escapeName(table)+"_0.log")
}

// readFiles returns the lines of the file called name and of those it was
// rotated to, in the order of their first fields.
func readFiles(t testing.TB, dir, name string) (rows [][]row.Value) {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), name) {
			found = append(found, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Slice(found, func(i, j int) bool { return firstNumber(t, dir, found[i]) < firstNumber(t, dir, found[j]) })
	for _, p := range found {
		text, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			t.Fatalf("%s ends in the middle of a line: %q", p, text[max(0, len(text)-80):])
		}
		for line := range bytes.Lines(text) {
			v, err := row.ParseFlat(nil, bytes.TrimSuffix(line, []byte("\n")))
			if err != nil {
				t.Fatalf("%s: line %.80q: %v", p, line, err)
			}
			rows = append(rows, v)
		}
	}
	return rows
}

// firstNumber returns what a file's first field is; files of numbered rows are
// in the order of those.
func firstNumber(t testing.TB, dir, name string) (n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Sscanf(string(text), "%d", &n)
	return n
}

// fields picks columns out of rows; those that a line has not are NULL.
func fields(t testing.TB, dir, table string, columns ...string) [][]row.Value {
	t.Helper()
	have, rows := readLines(t, dir, table)
	all := make([][]row.Value, 0, len(rows))
	for _, r := range rows {
		one := make([]row.Value, len(columns))
		for i, c := range columns {
			at := slices.Index(have, c)
			if at < 0 {
				t.Fatalf("table %q has no column %q, only %q", table, c, have)
			}
			one[i] = row.Null
			if at < len(r) {
				one[i] = r[at]
			}
		}
		all = append(all, one)
	}
	return all
}

var theID = sink.ID{StreamID: "id", Stream: "main", Sink: "files"}

func mustOpen(t testing.TB, dir string, o Options) *Sink {
	t.Helper()
	s, err := Open("flatstore:"+dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustAttach(t testing.TB, s *Sink) sink.Session {
	t.Helper()
	n, err := s.Attach(context.Background(), theID, "a", row.Position{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// table returns rows first to last of table t, whose columns are v and w.
func numbered(first, last int) []row.Row {
	sc := &row.Schema{Table: "t", Columns: []row.Column{{Name: "v"}, {Name: "w"}}}
	var rows []row.Row
	for seq := first; seq <= last; seq++ {
		rows = append(rows, row.Row{Seq: uint64(seq), Received: int64(seq) * 1e6, Schema: sc,
			Values: []row.Value{row.Text(fmt.Sprint(seq)), row.Text("pad " + strings.Repeat("x", seq%50))}})
	}
	return rows
}

func deliver(n sink.Session, rows []row.Row, rejects *sinktest.Rejects) error {
	if rejects == nil {
		rejects = new(sinktest.Rejects)
	}
	return n.Apply(context.Background(), sinktest.NewBatch(rows, row.Position{Seq: rows[len(rows)-1].Seq}), rejects)
}

func mustDeliver(t testing.TB, n sink.Session, rows []row.Row) {
	t.Helper()
	if err := deliver(n, rows, nil); err != nil {
		t.Fatal(err)
	}
}

// wantNumbered checks that table t holds rows 1 to last, once each, in order.
func wantNumbered(t testing.TB, dir string, last int) {
	t.Helper()
	if problem := numberedProblem(t, dir, last); problem != "" {
		t.Fatal(problem)
	}
}

func numberedProblem(t testing.TB, dir string, last int) string {
	t.Helper()
	got := readFiles(t, dir, "t_0.log")
	for i, r := range got {
		if string(r[0].Text) != fmt.Sprint(i+1) || len(r) != 2 {
			return fmt.Sprintf("row %d is %v", i+1, r)
		}
	}
	if len(got) != last {
		return fmt.Sprintf("there are %d rows, want %d", len(got), last)
	}
	return ""
}

// TestConformance runs the suite. Rows are refused by a hook, since a text file
// refuses nearly none; TestKamailioRefuses holds the one that it does. The rules
// about foreign keys and about descriptions do not apply: files have no keys,
// and take every table.
func TestConformance(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Names: []string{"a/b", "..", ".hidden", "../../etc/passwd", "%2F", "a\nb", "con|a", `\N`},
		New: func(t *testing.T) sinktest.Destination {
			dir := filepath.Join(t.TempDir(), "odd ?#%41 name")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			var refused sync.Map // by table: column and value
			judge := func(r *row.Row) error {
				c, ok := refused.Load(r.Schema.Table)
				for i, v := range r.Values {
					if ok && c == [2]string{r.Schema.Columns[i].Name, string(v.Text)} {
						return errors.New("not this one")
					}
				}
				return nil
			}
			return sinktest.Destination{
				Open: func(t *testing.T) sink.Sink {
					s, err := Open("flatstore:"+dir, Options{Busy: 5 * time.Second})
					if err != nil {
						t.Fatal(err)
					}
					s.judge = judge
					return s
				},
				Rows: func(t *testing.T, table string, columns ...string) [][]row.Value {
					return fields(t, dir, table, columns...)
				},
				Tables: func(t *testing.T, name string) int {
					if _, err := os.Stat(filepath.Join(dir, escapeName(name)+"_0.log")); err == nil {
						return 1
					}
					return 0
				},
				ForgetCursor: func(t *testing.T, id sink.ID) {
					if err := mustOpen(t, dir, Options{}).Retire(context.Background(), id); err != nil {
						t.Fatal(err)
					}
				},
				Refuse: func(t *testing.T, table, column, value string) {
					refused.Store(table, [2]string{column, value})
				},
				Break: func(t *testing.T) func() {
					if err := os.Rename(dir, dir+".away"); err != nil {
						t.Fatal(err)
					}
					return func() {
						if err := os.Rename(dir+".away", dir); err != nil {
							t.Fatal(err)
						}
					}
				},
			}
		},
	})
}

// TestOpenRefuses holds that a start says what is wrong with the directory or
// the options.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	sealed := filepath.Join(dir, "sealed")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(sealed, 0o500)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url string
		o         Options
		want      string
	}{
		{"no path", "flatstore:", Options{}, "a directory is needed"},
		{"missing", "flatstore:" + dir + "/missing", Options{}, "does not exist; create it"},
		{"a file", file, Options{}, "is not a directory"},
		{"not writable", sealed, Options{}, "no file can be made in the directory"},
		{"no table", dir, Options{File: "acc-%Y_{n}.log"}, "{table} is missing"},
		{"no number", dir, Options{File: "{table}.log"}, "{n} is missing"},
		{"odd conversion", dir, Options{File: "{table}_{n}.%s"}, "%s is none of"},
		{"percent at the end", dir, Options{File: "{table}_{n}%"}, "at its end"},
		{"leads out", dir, Options{File: "../{table}_{n}.log"}, "plain path"},
		{"absolute", dir, Options{File: "/{table}_{n}.log"}, "plain path"},
		{"not clean", dir, Options{File: "a//{table}_{n}.log"}, "plain path"},
		{"hidden", dir, Options{File: ".holdfast/{table}_{n}.log"}, "reserved"},
		{"number", dir, Options{Number: -1}, "number -1"},
		{"size", dir, Options{RotateSize: -1}, "-1 bytes"},
		{"period", dir, Options{RotateEvery: time.Millisecond}, "1ms"},
		{"mode", dir, Options{Mode: 0o440}, "mode 0440"},
		{"directory mode", dir, Options{DirMode: 0o600}, "mode 0600"},
	} {
		if c.name == "not writable" && os.Geteuid() == 0 {
			continue // nothing is sealed from root
		}
		s, err := Open(c.url, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", c.name, s, err, c.want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("looking at the directory left %v", left)
	}
}

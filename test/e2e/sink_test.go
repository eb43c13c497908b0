package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listed is what `sink list --json` says of one sink.
type listed struct {
	Name        string `json:"name"`
	State       string `json:"state"`
	Reason      string `json:"reason"`
	Seq         uint64 `json:"seq"`
	LagRows     uint64 `json:"lag_rows"`
	RejectsOpen int    `json:"rejects_open"`
	Do          string `json:"do"`
}

// sinkOf returns what sink list says of one sink; the zero value where it is
// not listed.
func sinkOf(t *testing.T, config, name string) listed {
	t.Helper()
	for line := range strings.Lines(holdfast(t, 0, "sink", "list", "--config", config, "--json").stdout) {
		var k listed
		if err := json.Unmarshal([]byte(line), &k); err != nil {
			t.Fatalf("read %q: %v", line, err)
		}
		if k.Name == name {
			return k
		}
	}
	return listed{}
}

// has waits until a file of SQLite answers a query with the words.
func has(t *testing.T, file, sql, want string) {
	t.Helper()
	eventually(t, 20*time.Second, fmt.Sprintf("%q from %s", want, filepath.Base(file)), func() (bool, string) {
		r := command(t, t.TempDir(), nil, "sqlite3", "-readonly", file, sql)
		got := strings.Join(strings.Fields(r.stdout), " ")
		return got == want, got + r.stderr
	})
}

// TestSinkVerbs looks after sinks as an operator does: pauses one, adds others
// that begin with the oldest row and with the next one, renames one, and retires
// one, over restarts and while nothing runs.
func TestSinkVerbs(t *testing.T) {
	need(t, "sqlite3")
	data := dataDir(t)
	dir := filepath.Dir(data)
	path := func(name string) string { return filepath.Join(dir, name+".db") }
	sinks := func(lines ...string) string {
		text := "data: DATA\ntables: {auto: true}\nsinks:\n"
		for _, l := range lines {
			text += "  " + strings.ReplaceAll(l, "DIR", dir) + "\n"
		}
		return configure(t, data, text)
	}
	const a, b = "a: {type: sqlite, path: DIR/a.db}", "b: {type: sqlite, path: DIR/b.db}"
	const rows = "SELECT n FROM t ORDER BY n"
	config := sinks(a, b)
	s := start(t, data, options{config: config})
	insert := func(n int) { execute(t, s.client(), fmt.Sprintf("INSERT INTO t (n) VALUES (%d)", n)) }
	insert(1)
	has(t, path("a"), rows, "1")

	// pause: the other goes on, also over a restart; drain says why it cannot
	holdfast(t, 0, "sink", "pause", "b", "--config", config)
	if r := holdfast(t, 1, "sink", "drain", "none", "--config", config); !strings.Contains(r.stderr, `sink "none" is not registered`) {
		t.Errorf("drain of an unknown sink: %s", r.stderr)
	}
	insert(2)
	has(t, path("a"), rows, "1 2")
	s.stop()
	s = start(t, data, options{config: config})
	insert(3)
	holdfast(t, 0, "sink", "drain", "a", "--config", config)
	if k := sinkOf(t, config, "b"); k.State != "paused" || k.LagRows == 0 || k.Do != "holdfast sink resume b" {
		t.Errorf("a paused sink is listed as %+v", k)
	}
	if r := holdfast(t, 1, "sink", "drain", "b", "--config", config, "--timeout", "30s"); !strings.Contains(r.stderr, "has not committed rows") {
		t.Errorf("drain of a paused sink: %s", r.stderr)
	}
	if r := holdfast(t, 1, "sink", "retire", "b", "--config", config); !strings.Contains(r.stderr, "--force") {
		t.Errorf("retire of a sink that is behind: %s", r.stderr)
	}
	holdfast(t, 0, "sink", "resume", "b", "--config", config)
	has(t, path("b"), rows, "1 2 3")

	// added sinks, and the renamed one
	holdfast(t, 0, "sink", "rename", "b", "better", "--config", config)
	insert(4)
	has(t, path("b"), rows+"; SELECT sink FROM holdfast_cursor", "1 2 3 4 better")
	s.stop()
	config = sinks(a, strings.Replace(b, "b:", "better:", 1),
		"old: {type: sqlite, path: DIR/old.db, start: oldest}", "new: {type: sqlite, path: DIR/new.db, start: now}")
	s = start(t, data, options{config: config})
	insert(5)
	has(t, path("old"), rows, "1 2 3 4 5")
	has(t, path("new"), rows, "5")
	has(t, path("b"), rows, "1 2 3 4 5")

	// seek back: what the sink no longer has comes again
	if r := command(t, dir, nil, "sqlite3", path("new"), "PRAGMA busy_timeout=10000; DELETE FROM t"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	holdfast(t, 0, "sink", "replay", "new", "--from", "3", "--config", config)
	has(t, path("new"), rows, "3 4 5")
	if r := holdfast(t, 1, "sink", "seek", "new", "4711", "--config", config); !strings.Contains(r.stderr, "ends at seq 5") {
		t.Errorf("seek beyond the end: %s", r.stderr)
	}
	holdfast(t, 2, "sink", "seek", "new", "many", "--config", config)

	// retire: the cursor goes, the rows stay; without a server, too
	if r := holdfast(t, 0, "sink", "retire", "old", "--config", config, "--json"); !strings.Contains(r.stdout, `"cursors":1`) {
		t.Errorf("retire answers %s", r.stdout)
	}
	has(t, path("old"), "SELECT count(*) FROM holdfast_cursor; SELECT count(*) FROM t", "0 5")
	s.stop()
	if k := sinkOf(t, config, "better"); k.State != "detached" || k.Seq != 5 {
		t.Errorf("while nothing runs, a sink is listed as %+v", k)
	}
	holdfast(t, 0, "sink", "retire", "new", "--config", config)
	if r := holdfast(t, 1, "sink", "seek", "better", "1", "--config", config); !strings.Contains(r.stderr, "start the server") {
		t.Errorf("seek while nothing runs: %s", r.stderr)
	}
	s = start(t, data, options{config: config}) // both are still configured
	insert(6)
	has(t, path("b"), rows, "1 2 3 4 5 6")
	has(t, path("old"), "SELECT count(*) FROM t", "5")
	for _, name := range []string{"old", "new"} {
		if k := sinkOf(t, config, name); k.Name != "" {
			t.Errorf("a retired sink is listed as %+v", k)
		}
	}
}

// aside is what `rejects list --json` says of one reject.
type aside struct {
	ID       uint64    `json:"id"`
	Sink     string    `json:"sink"`
	Seq      uint64    `json:"seq"`
	Table    string    `json:"table"`
	State    string    `json:"state"`
	Error    string    `json:"error"`
	Attempts int       `json:"attempts"`
	Values   []*string `json:"values"`
}

func rejectsOf(t *testing.T, args ...string) (all []aside) {
	t.Helper()
	out := holdfast(t, 0, append([]string{"rejects", "list", "--json"}, args...)...).stdout
	for line := range strings.Lines(out) {
		var r aside
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("read %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// TestRejectsVerbs has a CHECK refuse rows: the others arrive, and each aside
// one is listed with the database's words, and edited, retried or discarded.
func TestRejectsVerbs(t *testing.T) {
	need(t, "sqlite3")
	data := dataDir(t)
	file := filepath.Join(filepath.Dir(data), "rows.db")
	if r := command(t, t.TempDir(), nil, "sqlite3", file, "CREATE TABLE t (n INTEGER, CHECK (n <> 13 AND n < 100))"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	config := configure(t, data, "data: DATA\ntables: {auto: true}\nsinks: {lite: {type: sqlite, path: "+file+"}}\n")
	s := start(t, data, options{config: config})
	for _, n := range []int{12, 13, 14, 130, 1300, 15} {
		execute(t, s.client(), fmt.Sprintf("INSERT INTO t (n) VALUES (%d)", n))
	}
	const rows = "SELECT n FROM t ORDER BY n"
	has(t, file, rows, "12 14 15")
	holdfast(t, 0, "sink", "drain", "lite", "--config", config)
	all := rejectsOf(t, "--config", config)
	if len(all) != 3 || all[0].Seq != 2 || all[0].Table != "t" || all[0].Sink != "lite" || !strings.Contains(all[0].Error, "CHECK constraint failed") || all[0].Attempts != 1 {
		t.Fatalf("rejects are %+v", all)
	}
	if k := sinkOf(t, config, "lite"); k.RejectsOpen != 3 || k.State != "idle" || !strings.Contains(k.Do, "rejects list") {
		t.Errorf("the sink is listed as %+v", k)
	}
	id := func(i int) string { return fmt.Sprint(all[i].ID) }
	if r := holdfast(t, 0, "rejects", "show", id(1), "--config", config); !strings.Contains(r.stdout, `"130"`) || !strings.Contains(r.stdout, "row 4 of stream main") {
		t.Errorf("show says %s", r.stdout)
	}

	// edit and retry one; one is refused again
	holdfast(t, 0, "rejects", "edit", id(1), "n=31", "--config", config)
	if r := holdfast(t, 1, "rejects", "retry", id(0), id(1), "--config", config); !strings.HasPrefix(r.stdout, "1 delivered, 1 refused again, 0 not tried\n") || !strings.Contains(r.stdout, "CHECK") {
		t.Errorf("retry says %s%s", r.stdout, r.stderr)
	}
	has(t, file, rows, "12 14 15 31")
	holdfast(t, 2, "rejects", "retry", "--config", config) // what is meant?
	holdfast(t, 1, "rejects", "edit", id(0), "m=1", "--config", config)
	s.stop()

	// without a server: list, export, discard; retry says what it needs
	if r := holdfast(t, 0, "rejects", "export", "--config", config, "--rows"); strings.Join(strings.Fields(r.stdout), " ") != `{"n":"13"} {"n":"1300"}` {
		t.Errorf("exported %s", r.stdout)
	}
	if r := holdfast(t, 0, "rejects", "discard", id(2), "--config", config); !strings.Contains(r.stdout, "nothing was discarded") || len(rejectsOf(t, "--config", config)) != 2 {
		t.Errorf("discard without --apply says %s", r.stdout)
	}
	holdfast(t, 0, "rejects", "discard", id(2), "--note", "a test", "--apply", "--config", config)
	if r := holdfast(t, 1, "rejects", "retry", "--all", "--config", config); !strings.Contains(r.stdout, "nothing delivers") {
		t.Errorf("retry while nothing runs: %s%s", r.stdout, r.stderr)
	}
	if all := rejectsOf(t, "--config", config, "--state", "discarded"); len(all) != 1 || all[0].Seq != 5 {
		t.Errorf("discarded are %+v", all)
	}

	// the cause is mended; killed in between, nothing comes twice
	s = start(t, data, options{config: config})
	if r := command(t, t.TempDir(), nil, "sqlite3", file, "PRAGMA busy_timeout=10000; BEGIN; CREATE TABLE u (n INTEGER); INSERT INTO u SELECT n FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t; COMMIT"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	holdfast(t, 0, "rejects", "retry", "--sink", "lite", "--config", config)
	s.kill()
	start(t, data, options{config: config})
	holdfast(t, 0, "rejects", "retry", "--all", "--config", config)
	holdfast(t, 0, "sink", "drain", "lite", "--config", config)
	has(t, file, rows, "12 13 14 15 31")
	if left := rejectsOf(t, "--config", config); len(left) != 0 {
		t.Errorf("rejects that wait: %+v", left)
	}
}

// TestRotate writes flat files and takes them away, by the verb and by the
// signal, as logrotate does.
func TestRotate(t *testing.T) {
	data := dataDir(t)
	dir := filepath.Join(filepath.Dir(data), "flat")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	config := configure(t, data, "data: DATA\ntables: {auto: true}\nsinks: {files: {type: flat, url: \"flatstore:"+dir+"\", writer: 7}}\n")
	s := start(t, data, options{config: config})
	file := filepath.Join(dir, "acc_7.log")
	holds := func(name, want string) {
		t.Helper()
		eventually(t, 20*time.Second, want+" in "+filepath.Base(name), func() (bool, string) {
			text, err := os.ReadFile(name)
			return err == nil && string(text) == want, fmt.Sprint(string(text), err)
		})
	}
	insert := func(n int) { execute(t, s.client(), fmt.Sprintf("INSERT INTO acc (n, who) VALUES (%d, 'x')", n)) }
	rotate := []func(){
		func() {
			if r := holdfast(t, 0, "rotate", "--config", config); r.stdout != "closed the files of files\n" {
				t.Errorf("rotate says %q", r.stdout)
			}
		},
		func() {
			s.signal(syscall.SIGUSR1)
			s.logged(20*time.Second, "USR1: files are closed")
		},
	}
	for i, do := range rotate {
		insert(i)
		holds(file, fmt.Sprintf("%d|x\n", i))
		if err := os.Rename(file, fmt.Sprint(file, ".", i)); err != nil {
			t.Fatal(err)
		}
		do()
		if _, err := os.Stat(file); err == nil {
			t.Error("the file is there again before a row came")
		}
	}
	insert(2)
	holds(file, "2|x\n")
	holds(file+".1", "1|x\n")
	if r := holdfast(t, 1, "rotate", "none", "--config", config); !strings.Contains(r.stderr, "not registered") {
		t.Errorf("rotate of an unknown sink: %s", r.stderr)
	}
	s.stop()
	if r := holdfast(t, 1, "rotate", "--config", config); !strings.Contains(r.stderr, "no server runs") {
		t.Errorf("rotate while nothing runs: %s", r.stderr)
	}
}

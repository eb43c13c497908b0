package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
	"holdfast/row"
)

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"nonsense"}, 2, "holdfast: unknown verb \"nonsense\"\nhint: see holdfast --help\n"},
		{[]string{"statsu"}, 2, "holdfast: unknown verb \"statsu\"\nhint: did you mean status?\n"},
		{[]string{"config", "chek"}, 2, "holdfast: unknown verb \"chek\"\nhint: did you mean check?\n"},
		{[]string{"--nonsense"}, 2, "holdfast: unknown flag: --nonsense\nhint: see holdfast --help\n"},
		{[]string{"cat", "--from", "x"}, 2, ""},
		{[]string{"cat", "t"}, 2, "holdfast: argument \"t\" is not taken by \"holdfast cat\"\nhint: see holdfast cat --help\n"},
		{[]string{"tail", "-n", "-1"}, 2, "holdfast: -n -1 is out of range\nhint: from 0 to 10000\n"},
		{[]string{"put"}, 2, "holdfast: --table is missing\nhint: see holdfast put --help\n"},
		{[]string{"put", "--table", "t"}, 2, "holdfast: --format is missing\nhint: --format flat, csv or ndjson\n"},
		{[]string{"put", "--table", "t", "--format", "xml"}, 2, "holdfast: format \"xml\" is not known\nhint: flat, csv or ndjson\n"},
		{[]string{"put", "--table", "t", "--format", "flat"}, 2, "holdfast: flat lines carry no column names\nhint: name them with --columns, in the order of the fields\n"},
		{[]string{"put", "--table", "t", "--format", "flat", "--columns", "a,b,a"}, 2, "holdfast: --columns names \"a\" twice, or nothing\nhint: name each column once\n"},
		{[]string{"put", "--table", "t", "--format", "ndjson", "--columns", "a"}, 2, "holdfast: ndjson lines name their columns themselves\nhint: leave --columns out\n"},
		{[]string{"put", "--table", "t", "--format", "csv", "--http", "x:1", "--data", "y"}, 2, "holdfast: --http and --data name two servers\nhint: give one of them\n"},
		{[]string{"put", "--table", "t", "--format", "csv", "--batch", "0"}, 2, "holdfast: --batch \"0\" is out of range\nhint: from 1 to 100000\n"},
		{[]string{"completion"}, 2, "holdfast: completion needs the name of one shell\nhint: bash, zsh, fish or powershell\n"},
		{[]string{"completion", "tcsh"}, 2, "holdfast: shell \"tcsh\" is not known\nhint: bash, zsh, fish or powershell\n"},
		{nil, 0, ""},
		{[]string{"config"}, 0, ""},
		{[]string{"help", "put"}, 0, ""},
	} {
		r := run(t, "", nil, test.args...)
		if r.code != test.code || test.want != "" && r.errors != test.want || test.code == 2 && r.out != "" {
			t.Errorf("%q:\n got %d %q %q\nwant %d %q", test.args, r.code, r.errors, r.out, test.code, test.want)
		}
	}
}

// TestEveryVerbExplainsItself walks all verbs, those added later included.
func TestEveryVerbExplainsItself(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%q has no short text or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&Env{Context: t.Context(), Getenv: lookup(nil)}))
}

func fill(t *testing.T, m *memory) {
	t.Helper()
	for _, line := range []string{"{\"a\":\"x\",\"b\":null}", "{\"a\":\"two words\",\"b\":\"\"}"} {
		if _, err := (&httpapi.Local{Store: m, Admin: m}).Put(t.Context(), "calls", "application/json", strings.NewReader(line)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (&httpapi.Local{Store: m, Admin: m}).Put(t.Context(), "other", "application/json", strings.NewReader("{\"c\":\"NULL\"}")); err != nil {
		t.Fatal(err)
	}
}

const (
	line1 = "1 2026-01-02T03:04:05.000000Z calls a=x b=NULL\n"
	line2 = "2 2026-01-02T03:04:05.000000Z calls a=\"two words\" b=\"\"\n"
	line3 = "3 2026-01-02T03:04:05.000000Z other c=\"NULL\"\n"
	json3 = `{"seq":3,"received":"2026-01-02T03:04:05Z","table":"other","columns":["c"],"values":["NULL"]}` + "\n"
)

func TestReading(t *testing.T) {
	m := &memory{}
	fill(t, m)
	dir := server(t, m)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"cat"}, line1 + line2 + line3},
		{[]string{"cat", "--table", "calls"}, line1 + line2},
		{[]string{"cat", "--from", "2", "--limit", "1"}, line2},
		{[]string{"cat", "--from", "3", "--json"}, json3},
		{[]string{"cat", "--from", "4"}, ""},
		{[]string{"tail"}, line1 + line2 + line3},
		{[]string{"tail", "-n", "2"}, line2 + line3},
		{[]string{"tail", "-n", "0"}, ""},
		{[]string{"tail", "-n", "1", "--table", "calls"}, line2},
		{[]string{"tail", "-n", "5", "--table", "calls"}, line1 + line2},
		{[]string{"tail", "-n", "1", "--json"}, json3},
		{[]string{"verify"}, "1 stream, 2 segments, 3 rows, 3.0 MB read: all is as it was written\n"},
		{[]string{"verify", "--json"}, ""},
	} {
		if r := run(t, "", []string{"HOLDFAST_DATA=" + dir}, test.args...); r.code != 0 || r.out != test.want || r.errors != "" {
			t.Errorf("%q:\n got %d %s%s\nwant %s", test.args, r.code, r.out, r.errors, test.want)
		}
	}
	if r := run(t, "", nil, "tail", "--data", dir, "--stream", "no"); r.code != 1 || !strings.Contains(r.errors, `stream "no" is not known`) {
		t.Errorf("got %+v", r)
	}
	if r := run(t, "", nil, "verify", "--data", dir, "--stream", "no"); r.code != 1 || !strings.Contains(r.errors, `stream "no" is not known`) {
		t.Errorf("got %+v", r)
	}
}

func TestDamage(t *testing.T) {
	m := &memory{damage: []row.Damage{
		{Stream: "main", Segment: 3, Offset: 4096, First: 150, Last: 150, What: "checksum\nof a row"},
		{Stream: "main", Segment: 4, Offset: 0, First: 200, Last: 209, What: "checksum of a block"},
		{Stream: "main", Segment: 5, Offset: 8192, What: "index"},
	}}
	fill(t, m)
	dir := server(t, m)
	words := []string{
		"stream main, segment 3, offset 4096, seq 150: checksum of a row\n",
		"stream main, segment 4, offset 0, seq 200 to 209: checksum of a block\n",
		"stream main, segment 5, offset 8192, no row lost: index\n",
	}
	r := run(t, "", nil, "verify", "--data", dir)
	if want := strings.Join(words, "") + "1 stream, 2 segments, 3 rows, 3.0 MB read: 3 damaged places\n"; r.code != 3 || r.out != want || r.errors != "holdfast: 3 damaged places found\n" {
		t.Errorf("\n got %d %s%s\nwant %s", r.code, r.out, r.errors, want)
	}
	r = run(t, "", nil, "verify", "--json", "--data", dir)
	var found []row.Damage
	for d := json.NewDecoder(strings.NewReader(r.out)); d.More(); {
		var one row.Damage
		if err := d.Decode(&one); err != nil {
			t.Fatal(err)
		}
		found = append(found, one)
	}
	if r.code != 3 || !reflect.DeepEqual(found, m.damage) {
		t.Errorf("got %d, %+v", r.code, found)
	}
	r = run(t, "", nil, "cat", "--data", dir)
	if want := "holdfast: damage: " + strings.Join(words, "holdfast: damage: ") + "holdfast: 3 damaged places found\n"; r.code != 3 || r.out != line1+line2+line3 || r.errors != want {
		t.Errorf("\n got %d %s%s\nwant %s", r.code, r.out, r.errors, want)
	}
	r = run(t, "", nil, "cat", "--data", dir, "--json")
	if r.code != 3 || strings.Count(r.out, "{\"damage\":") != 3 || strings.Count(r.out, "\n") != 6 {
		t.Errorf("got %+v", r)
	}
	r = run(t, "", nil, "status", "--data", dir)
	if r.code != 0 || !strings.Contains(r.out, "damage: "+words[0]) {
		t.Errorf("got %+v", r)
	}
}

// watched is an output that a test can wait on.
type watched struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *watched) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		got := w.buf.String()
		w.mu.Unlock()
		if strings.HasPrefix(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestTailFollows(t *testing.T) {
	m := &memory{more: make(chan struct{})}
	fill(t, m)
	dir := server(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	out := &watched{}
	done := make(chan result, 1)
	go func() {
		done <- runWith(&Env{Context: ctx, Getenv: lookup(nil), Stdout: out}, "tail", "-f", "-n", "1", "--data", dir)
	}()
	out.await(t, line3)
	fill(t, m)
	m.more <- struct{}{}
	out.await(t, line3+strings.Replace(line1, "1", "4", 1)+strings.Replace(line2, "2", "5", 1)+strings.Replace(line3, "3", "6", 1))
	cancel()
	if r := <-done; r.code != 0 {
		t.Errorf("an interrupted tail ends with %+v", r)
	}
}

func TestStatus(t *testing.T) {
	m := &memory{}
	fill(t, m)
	dir, addr := server(t, m), tcp(t, m)
	const want = `holdfast v0.1 on /data, up 3m; pg 127.0.0.1:5433, http closed
2 connections, 30.0 MB resident, at most 40.0 MB

STREAM  STATE  FIRST SEQ  END SEQ  SEGMENTS  SIZE    LIMIT     FREE  REPLAY  DAMAGE
main    ok     1          3        1         1.0 MB  200.0 GB  0 B   -       0

SINK     STREAM  TYPE    STATE    SEQ  BEHIND  BYTES  AGE  ROWS/S  DONE IN  REJECTS  RETRIES  SIZE
default  main    sqlite  waiting  1    41      0 B    2h   -       -        0        0        0 B
sink default is waiting: database is locked
`
	for _, args := range [][]string{{"status", "--data", dir}, {"status", "--http", addr}} {
		if r := run(t, "", nil, args...); r.code != 0 || r.out != want {
			t.Errorf("%q:\n got %d %s%s\nwant %s", args, r.code, r.out, r.errors, want)
		}
	}
	r := run(t, "", nil, "status", "--json", "--data", dir)
	var st httpapi.Status
	if err := json.Unmarshal([]byte(r.out), &st); err != nil || st.Streams[0].EndSeq != 3 || st.Sinks[0].LagRows != 41 {
		t.Errorf("got %s, %v", r.out, err)
	}
	if r := run(t, "", nil, "status", "--http", "127.0.0.1:1"); r.code != 1 || !strings.HasPrefix(r.errors, "holdfast: ") {
		t.Errorf("without a server: %+v", r)
	}
}

func TestStatusWatch(t *testing.T) {
	dir := server(t, &memory{})
	ctx, cancel := context.WithCancel(t.Context())
	out := &watched{}
	done := make(chan result, 1)
	go func() {
		done <- runWith(&Env{Context: ctx, Getenv: lookup(nil), Stdout: out}, "status", "--watch=1ms", "--json", "--data", dir)
	}()
	out.await(t, `{"version"`)
	for lines := 0; lines < 3; time.Sleep(time.Millisecond) {
		out.mu.Lock()
		lines = bytes.Count(out.buf.Bytes(), []byte("\n"))
		out.mu.Unlock()
	}
	cancel()
	if r := <-done; r.code != 0 {
		t.Errorf("an interrupted watch ends with %+v", r)
	}
}

func TestStatusOfNoServer(t *testing.T) {
	var b strings.Builder
	if err := printStatus(&b, httpapi.Status{Data: "/d"}, time.Now()); err != nil || !strings.HasPrefix(b.String(), "no server runs on /d\n") {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestNoServer(t *testing.T) {
	dir := absent(t)
	for _, verb := range []string{"cat", "tail", "status", "verify"} {
		r := run(t, "", nil, verb, "--data", dir)
		if r.code != 1 || !strings.Contains(r.errors, dir) || !strings.Contains(r.errors, "does not exist\nhint: ") {
			t.Errorf("%s: got %+v", verb, r)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s made the directory", verb)
		}
		r = run(t, "", nil, verb, "--data", t.TempDir())
		if r.code != 1 || !strings.Contains(r.errors, "no server answers") {
			t.Errorf("%s: got %+v", verb, r)
		}
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "h.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data: " + dir + "\n")
	env := []string{"HOLDFAST_CONFIG=" + file}
	if r := run(t, "", env, "config", "check"); r.code != 0 || r.out != file+" is fine\n" {
		t.Errorf("got %+v", r)
	}
	if r := run(t, "", env, "config", "print", "--data", "/elsewhere"); r.code != 0 || !strings.HasPrefix(r.out, "data: /elsewhere\n") {
		t.Errorf("a flag does not go before the file: %+v", r)
	}
	if r := run(t, "", append(env, "HOLDFAST_DATA=/env", "HOLDFAST_LOG=json"), "config", "print"); !strings.HasPrefix(r.out, "data: /env\n") || !strings.Contains(r.out, "format: json\n") {
		t.Errorf("the environment does not go before the file: %+v", r)
	}
	if r := run(t, "", nil, "config", "print"); !strings.Contains(r.out, "auto: true\n") {
		t.Errorf("without a file: %+v", r)
	}
	write("tabels: {auto: true}\ndrain: 5\n")
	want := "holdfast: " + file + ":1:1: unknown key \"tabels\"\nhint: did you mean \"tables\"?\n" +
		"holdfast: " + file + ":2:8: \"5\" is not a length of time\nhint: write a number and a unit, like \"5s\" or \"500ms\"\n"
	for _, verb := range []string{"check", "print"} {
		if r := run(t, "", nil, "config", verb, "--config", file); r.code != 1 || r.errors != want || r.out != "" {
			t.Errorf("%s:\n got %d %s\nwant %s", verb, r.code, r.errors, want)
		}
	}
	write("data: " + file + "\n")
	if r := run(t, "", env, "config", "check"); r.code != 1 || !strings.Contains(r.errors, "is not a directory") {
		t.Errorf("an impossible path passes the check: %+v", r)
	}
	if r := run(t, "", []string{"HOLDFAST_LOG=jsn"}, "config", "check"); r.code != 1 || r.errors != "holdfast: log \"jsn\" is neither a format nor a level\nhint: did you mean \"json\"?\n" {
		t.Errorf("got %+v", r)
	}
	if r := run(t, "", nil, "config", "schema"); r.code != 0 || !json.Valid([]byte(r.out)) {
		t.Errorf("got %+v", r)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	var b build
	if r := run(t, "", nil, "version", "--json"); json.Unmarshal([]byte(r.out), &b) != nil || b.Version == "" || b.Go == "" {
		t.Errorf("got %+v", r)
	}
	if r := run(t, "", nil, "version"); !strings.HasPrefix(r.out, "holdfast ") || strings.Count(r.out, "\n") != 1 {
		t.Errorf("got %+v", r)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := run(t, "", nil, "completion", shell); r.code != 0 || !strings.Contains(r.out, "holdfast") {
			t.Errorf("%s: code %d, %d bytes", shell, r.code, len(r.out))
		}
	}
}

func TestProgressNeedsATerminal(t *testing.T) {
	p := startProgress(&Env{Stderr: &bytes.Buffer{}}, func() string { t.Error("asked"); return "" })
	p.stop()
	if p != nil {
		t.Error("a progress line goes where nobody looks")
	}
}

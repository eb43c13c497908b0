package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

func TestPutStores(t *testing.T) {
	for _, test := range []struct {
		name, stdin string
		args        []string
		want        []string
		commits     int
	}{
		{"flat, byte for byte", "a|b\\n\"x\"|%7C\r\n|é\t|\x01\n", []string{"--format", "flat", "--columns", "x,y,z"}, []string{"a|b\\n\"x\"|%7C\r", "|é\t|\x01"}, 1},
		{"flat without last line feed", "a\nb", []string{"--format", "flat", "--columns", "x"}, []string{"a", "b"}, 1},
		{"flat empty line", "\n\n", []string{"--format", "flat", "--columns", "x"}, []string{"", ""}, 1},
		{"flat in batches", "1\n2\n3\n4\n5\n", []string{"--format", "flat", "--columns", "x", "--batch", "2"}, []string{"1", "2", "3", "4", "5"}, 3},
		{"ndjson", "{\"a\":1.50}\n\n{\"a\":null}\n", []string{"--format", "ndjson"}, []string{"1.50", "NULL"}, 1},
		{"ndjson in batches", "{\"a\":1}\n\n{\"a\":2}\n\n\n{\"a\":3}", []string{"--format", "ndjson", "--batch", "1"}, []string{"1", "2", "3"}, 3},
		{"csv", "a,b\n1,\n\"\",\"x\ny\"\n", []string{"--format", "csv"}, []string{"1|NULL", "|x\ny"}, 1},
		{"csv in batches", "a,b\n1,2\n\"x\n\"\"\n\",3\n4,5\n", []string{"--format", "csv", "--batch", "1"}, []string{"1|2", "x\n\"\n|3", "4|5"}, 3},
		{"csv with columns", "1,2\n", []string{"--format", "csv", "--columns", `a,"b""c"`}, []string{"1|2"}, 1},
		{"nothing", "", []string{"--format", "ndjson"}, nil, 0},
		{"csv nothing", "", []string{"--format", "csv"}, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &memory{}
			dir := server(t, m)
			r := run(t, test.stdin, nil, append([]string{"put", "--data", dir, "--table", "t"}, test.args...)...)
			if want := fmt.Sprintf("%d rows stored\n", len(test.want)); r.code != 0 || r.out != want || r.errors != "" {
				t.Errorf("got %+v, want %q", r, want)
			}
			if got := m.stored(); !reflect.DeepEqual(got, test.want) || m.commits != test.commits {
				t.Errorf("stored %q in %d commits, want %q in %d", got, m.commits, test.want, test.commits)
			}
		})
	}
}

func TestPutSaysWhatIsStored(t *testing.T) {
	refuse := func(at int, err error) func(int) error {
		return func(n int) error {
			if n == at {
				return err
			}
			return nil
		}
	}
	flat := []string{"--format", "flat", "--columns", "x,y", "--batch", "2"}
	for _, test := range []struct {
		name, stdin string
		args        []string
		refuse      func(int) error
		stored      int
		want        string
	}{
		{"flat, fields", "a|b\nc|d\ne|f\ng\n", flat, nil, 2,
			"holdfast: line 4: the line has 1 field, and --columns names 2; lines 1 to 2 are stored, nothing after them is\nhint: go on with the lines from 3\n"},
		{"flat, first batch", "a|b\nc|d|\n", flat, nil, 0, "holdfast: line 2: the line has 3 fields, and --columns names 2; nothing is stored\n"},
		{"flat, UTF-8", "a|b\nc|d\nx|\xff\n", flat, nil, 2,
			"holdfast: line 3: byte 3 (0xff) is not text in UTF-8; lines 1 to 2 are stored, nothing after them is\nhint: go on with the lines from 3\n"},
		{"flat, NUL", "a|\x00\n", flat, nil, 0, "holdfast: line 1: byte 3 (0x00) is not text in UTF-8; nothing is stored\n"},
		{"flat, refused value", "a|b\nc|d\ne|f\ng|bad\n", flat, nil, 2,
			"holdfast: line 4: value \"bad\" is bad; lines 1 to 2 are stored, nothing after them is\nhint: use a good one\n"},
		{"ndjson behind empty lines", "{\"a\":1}\n\n\n{\"a\":\n", []string{"--format", "ndjson"}, nil, 0,
			"holdfast: line 4: the JSON is broken at byte 6, at the end; nothing is stored\nhint: the object does not end\n"},
		{"csv behind a long value", "a,b\n\"1\n2\",3\n4,bad\n", []string{"--format", "csv"}, nil, 0, "holdfast: line 4: value \"bad\" is bad; nothing is stored\nhint: use a good one\n"},
		{"csv in the second batch", "a\n1\n\"2\n\"\nbad\n", []string{"--format", "csv", "--batch", "2"}, nil, 2,
			"holdfast: line 5: value \"bad\" is bad; lines 1 to 4 are stored, nothing after them is\nhint: use a good one\n"},
		{"csv header", "a,a\n1,2\n", []string{"--format", "csv"}, nil, 0, "holdfast: line 1: column \"a\" stands twice in the header line; nothing is stored\n"},
		{"csv with columns", "1\n2,3\n", []string{"--format", "csv", "--columns", "a"}, nil, 0, "holdfast: line 2: the record has 2 fields, and 1 columns are named, in the header line or with the request; nothing is stored\n"},
		{"full", "a|b\nc|d\ne|f\n", flat, refuse(2, fault.New(fault.DiskFull, "no room").WithHint("make room")), 2,
			"holdfast: no room; lines 1 to 2 are stored, nothing after them is\nhint: make room\n"},
		{"unknown", "a|b\nc|d\ne|f\n", flat, refuse(2, fault.New(fault.OutcomeUnknown, "the flush failed")), 2,
			"holdfast: the flush failed; lines 1 to 2 are stored, lines 3 to 3 may or may not be, later ones are not\n"},
		{"unknown at once", "a|b\nc|d\ne|f\n", flat, refuse(1, fault.New(fault.OutcomeUnknown, "the flush failed")), 0,
			"holdfast: the flush failed; lines 1 to 2 may or may not be stored, later ones are not\n"},
		{"long line", "a|b\nc|d\n" + strings.Repeat("x", maxLine) + "|y\n", flat, nil, 2,
			"holdfast: line 3: the line is longer than 4194304 bytes; lines 1 to 2 are stored, nothing after them is\nhint: go on with the lines from 3\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &memory{refuse: test.refuse}
			dir := server(t, m)
			r := run(t, test.stdin, nil, append([]string{"put", "--data", dir, "--table", "t"}, test.args...)...)
			if r.code != 1 || r.errors != test.want || r.out != "" {
				t.Errorf("\n got %d %s%s\nwant %s", r.code, r.out, r.errors, test.want)
			}
			if got := len(m.stored()); got != test.stored {
				t.Errorf("%d rows are stored, want %d", got, test.stored)
			}
		})
	}
}

func TestPutBrokenInput(t *testing.T) {
	m := &memory{}
	dir := server(t, m)
	r := runWith(&Env{Context: t.Context(), Getenv: lookup(nil), Stdin: broken{strings.NewReader("1\n2\n3")}},
		"put", "--data", dir, "--table", "t", "--format", "flat", "--columns", "x", "--batch", "2")
	if r.code != 1 || !strings.Contains(r.errors, "read standard input") || !strings.Contains(r.errors, "lines 1 to 2 are stored") {
		t.Errorf("got %+v", r)
	}
}

func TestPutOverTCP(t *testing.T) {
	m := &memory{}
	r := run(t, "1\n", nil, "put", "--http", tcp(t, m), "--table", "t", "--format", "flat", "--columns", "x")
	if r.code != 0 || len(m.stored()) != 1 {
		t.Errorf("got %+v, stored %q", r, m.stored())
	}
	r = run(t, "1\n", nil, "put", "--http", tcp(t, m), "--table", "unknown", "--format", "flat", "--columns", "x")
	if r.code != 1 || r.errors != "holdfast: line 1: table \"unknown\" is not known; nothing is stored\nhint: declare it\n" {
		t.Errorf("got %+v", r)
	}
}

// TestPutWithoutFlags holds that the server of the default data directory gets
// the rows, and that where none has it open they go to the default port alone.
func TestPutWithoutFlags(t *testing.T) {
	args := []string{"put", "--table", "t", "--format", "flat", "--columns", "x"}
	m := &memory{}
	dir := server(t, m)
	here := t.TempDir()
	t.Chdir(here)
	if err := os.Symlink(dir, config.Default().Data); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "1\n", nil, args...); r.code != 0 || len(m.stored()) != 1 {
		t.Errorf("got %+v, stored %q", r, m.stored())
	}

	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that a server which has the default port on this machine gets nothing
	r := runWith(&Env{Context: ctx, Getenv: lookup(nil), Stdin: strings.NewReader("1\n"),
		Offline: func(context.Context, *config.Config) (Database, error) {
			t.Error("put made a data directory in the working directory")
			return nil, errors.New("unexpected")
		}}, args...)
	if r.code != 1 || len(m.stored()) != 1 {
		t.Errorf("got %+v, stored %q", r, m.stored())
	}
}

// TestClosedPort holds that whoever asks a port where nothing listens is told
// what to do, and that nothing is in doubt.
func TestClosedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"put", "--http", addr, "--table", "t", "--format", "flat", "--columns", "x"},
		{"status", "--http", addr},
	} {
		r := run(t, "1\n", nil, args...)
		if r.code != 1 || !strings.Contains(r.errors, fmt.Sprintf("no server answers at %q", addr)) ||
			!strings.Contains(r.errors, "\nhint: start it with holdfast serve") || strings.Contains(r.errors, "may or may not") {
			t.Errorf("%s: got %+v", args[0], r)
		}
	}
}

// TestPutWithoutAnswer holds that a batch whose answer is lost is sent again with the
// same key and the same rows, that each batch has a key of its own, and that put
// says what it does not know where no answer comes at all.
func TestPutWithoutAnswer(t *testing.T) {
	for _, c := range []struct {
		name  string
		lost  func(n int) bool // whether the nth answer is
		retry string
		code  int
		want  string
		sent  []string // the rows of the requests, without those sent again as they were
	}{
		{"one answer is lost", func(n int) bool { return n == 2 }, "1m", 0, "3 rows stored", []string{"1", "2", "3"}},
		{"two of a batch are", func(n int) bool { return n == 2 || n == 3 }, "1m", 0, "3 rows stored", []string{"1", "2", "3"}},
		{"all but one are", func(n int) bool { return n > 1 }, "1ms", 1, "lines 1 to 1 are stored, lines 2 to 2 may or may not be", []string{"1", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, byKey, sent := 0, map[string]string{}, []string{}
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, err := io.ReadAll(r.Body)
				if key := r.Header.Get("Idempotency-Key"); key == "" || err != nil {
					t.Errorf("a request without a key: %v", err)
				} else if was, again := byKey[key]; !again {
					byKey[key], sent = string(text), append(sent, string(text))
				} else if was != string(text) {
					t.Errorf("key %q came with %q, and with %q", key, was, text)
				}
				if n++; c.lost(n) {
					panic(http.ErrAbortHandler)
				}
				w.Write([]byte(`{"rows":1}`))
			}))
			defer s.Close()
			r := run(t, "1\n2\n3\n", nil, "put", "--http", strings.TrimPrefix(s.URL, "http://"), "--table", "t", "--format", "flat", "--columns", "x", "--batch", "1", "--retry", c.retry)
			if r.code != c.code || !strings.Contains(r.out+r.errors, c.want) || len(sent) != len(c.sent) {
				t.Errorf("got %+v, requests %q", r, sent)
			}
			for i, row := range c.sent {
				if i < len(sent) && !strings.Contains(sent[i], row) {
					t.Errorf("request %d has %q", i, sent[i])
				}
			}
		})
	}
}

func TestPutInterrupted(t *testing.T) {
	m := &memory{}
	dir := server(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := runWith(&Env{Context: ctx, Getenv: lookup(nil), Stdin: strings.NewReader("1\n")},
		"put", "--data", dir, "--table", "t", "--format", "flat", "--columns", "x")
	if r.code != 1 || len(m.stored()) != 0 {
		t.Errorf("got %+v, stored %q", r, m.stored())
	}
}

func TestPutOffline(t *testing.T) {
	m := &memory{}
	var opened []string
	dir := t.TempDir()
	offline := func(_ context.Context, c *config.Config) (Database, error) {
		opened = append(opened, c.Data)
		return &offlineMemory{&httpapi.Local{Store: m, Admin: m}, m}, nil
	}
	e := func() *Env {
		return &Env{Context: t.Context(), Getenv: lookup([]string{"HOLDFAST_DATA=" + dir}), Stdin: strings.NewReader("1\n"), Offline: offline}
	}
	if r := runWith(e(), "put", "--table", "t", "--format", "flat", "--columns", "x"); r.code != 0 {
		t.Errorf("got %+v", r)
	}
	// A socket that nobody listens on any more is no server.
	if err := os.WriteFile(config.AdminSocket(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := runWith(e(), "cat"); r.code != 0 || !strings.Contains(r.out, "x=1") {
		t.Errorf("got %+v", r)
	}
	if !reflect.DeepEqual(opened, []string{dir, dir}) || m.closed != 2 {
		t.Errorf("opened %q, closed %d times", opened, m.closed)
	}
	// Nor is there one where the path is too long for any socket.
	dir = filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if r := runWith(e(), "cat"); r.code != 0 || opened[len(opened)-1] != dir {
		t.Errorf("a long path: got %+v, opened %q", r, opened)
	}
	busy := e()
	busy.Offline = func(context.Context, *config.Config) (Database, error) { return nil, errors.New("in use") }
	if r := runWith(busy, "cat"); r.code != 1 || r.errors != "holdfast: in use\n" {
		t.Errorf("got %+v", r)
	}
}

type offlineMemory struct {
	*httpapi.Local
	m *memory
}

func (o *offlineMemory) Close() error { return o.m.Close() }

// FuzzBatcher holds that the batches of any input are together the input: for
// flat lines every field, for the other formats every byte.
func FuzzBatcher(f *testing.F) {
	f.Add("flat", "a|b\n|\n", uint8(1))
	f.Add("csv", "a,b\n\"x\n\"\"\",2\n3,4", uint8(2))
	f.Add("ndjson", "{}\n\n{}", uint8(1))
	f.Fuzz(func(t *testing.T, format, text string, rows uint8) {
		if format != "csv" && format != "ndjson" {
			format = "flat"
		}
		columns := []string{"a", "b"}
		if format != "flat" {
			columns = nil
		}
		in := newBatcher(strings.NewReader(text), format, columns, int(rows)%5+1)
		var back strings.Builder
		last := 0
		for {
			b, err := in.next()
			if err != nil {
				if b.bad != 0 && (b.bad < last || b.bad > strings.Count(text, "\n")+1) {
					t.Fatalf("line %d is at fault, after line %d, of %q", b.bad, last, text)
				}
				return
			}
			if b.rows == 0 && format != "ndjson" || b.last < last {
				t.Fatalf("a batch of %d rows ends in line %d, the one before it in %d", b.rows, b.last, last)
			}
			last = b.last
			body := b.body.String()
			switch {
			case format == "flat":
				if strings.Count(body, "\n") != b.rows {
					t.Fatalf("%d rows became %q", b.rows, body)
				}
				continue
			case format == "csv":
				header := string(in.header)
				if body = strings.TrimPrefix(body, header); back.Len() == 0 {
					back.WriteString(header)
				}
			}
			back.WriteString(body)
			got := back.String()
			if format == "ndjson" {
				continue // empty lines are left out
			}
			if !strings.HasPrefix(text+"\n", got) {
				t.Fatalf("the batches give %q, the input is %q", got, text)
			}
		}
	})
}

package http

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// got is one request, as a receiver sees it.
type got struct {
	key, first, last string
	header           nethttp.Header
	seqs             []uint64
	bytes            int
}

// receiver keeps each row once, by what the requests say of themselves.
type receiver struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	requests []got
	seen     map[string]bool // stream id, sink and seq
	plain    bool            // keeps rows however often they come
	twice    int             // rows that came again
	tables   map[string][]map[string]*string
	refused  map[string]string                                 // of a table: column=value that makes it refuse
	answer   func(n int, w nethttp.ResponseWriter, q got) bool // answers in place of the receiver, where it returns true
	late     func(n int, w nethttp.ResponseWriter)             // called when the rows are kept, before the answer
}

type line struct {
	Seq      uint64
	Received string
	Table    string
	Tx       string
	Row      map[string]*string
	Gap      *struct {
		First  uint64 `json:"first_seq"`
		Last   uint64 `json:"last_seq"`
		Reason string
	}
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t, seen: map[string]bool{}, tables: map[string][]map[string]*string{}, refused: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w nethttp.ResponseWriter, q *nethttp.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(q.Body)
		if err != nil {
			r.t.Errorf("body is not compressed: %v", err)
			return
		}
		in = z
	}
	one := got{key: q.Header.Get("Idempotency-Key"), first: q.Header.Get("Holdfast-First-Seq"), last: q.Header.Get("Holdfast-Last-Seq"), header: q.Header}
	var lines []line
	text := bufio.NewReader(in)
	for {
		b, err := text.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return // the sender went away
		}
		var l line
		if err := json.Unmarshal(b, &l); err != nil {
			r.t.Errorf("line %q: %v", b, err)
		}
		lines, one.bytes = append(lines, l), one.bytes+len(b)
		if l.Gap == nil {
			one.seqs = append(one.seqs, l.Seq)
		}
	}
	r.requests = append(r.requests, one)
	if fmt.Sprint(len(one.seqs)) != q.Header.Get("Holdfast-Rows") || q.Method != "POST" || q.Header.Get("Content-Type") != "application/x-ndjson" {
		r.t.Errorf("request %+v holds %d rows", q.Header, len(one.seqs))
	}
	if r.answer != nil && r.answer(len(r.requests), w, one) {
		return
	}
	r.keep(w, q, lines)
}

// keep takes all lines or none.
func (r *receiver) keep(w nethttp.ResponseWriter, q *nethttp.Request, lines []line) {
	for _, l := range lines {
		column, value, ok := strings.Cut(r.refused[l.Table], "=")
		if v := l.Row[column]; ok && v != nil && *v == value {
			w.WriteHeader(422)
			fmt.Fprintf(w, "not this one")
			return
		}
	}
	for _, l := range lines {
		id := fmt.Sprint(q.Header.Get("Holdfast-Stream-Id"), " ", q.Header.Get("Holdfast-Sink"), " ", l.Seq)
		if l.Gap != nil {
			first, last := fmt.Sprint(l.Gap.First), fmt.Sprint(l.Gap.Last)
			id += "gap" + first
			l.Table, l.Row = "holdfast_gap", map[string]*string{"first_seq": &first, "last_seq": &last, "reason": &l.Gap.Reason}
		}
		if r.seen[id] && !r.plain {
			r.twice++
			continue
		}
		r.seen[id] = true
		r.tables[l.Table] = append(r.tables[l.Table], l.Row)
	}
	if r.late != nil {
		r.late(len(r.requests), w)
	}
}

func (r *receiver) rows(table string, columns ...string) [][]row.Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([][]row.Value, 0, len(r.tables[table]))
	for _, have := range r.tables[table] {
		one := make([]row.Value, len(columns))
		for i, c := range columns {
			if v := have[c]; v != nil {
				one[i] = row.Text(*v)
			} else {
				one[i] = row.Null
			}
		}
		all = append(all, one)
	}
	return all
}

// wantRows checks that table t has rows 1 to last, each once, in order.
func (r *receiver) wantRows(last int) {
	r.t.Helper()
	rows := r.rows("t", "v")
	for i, v := range rows {
		if string(v[0].Text) != fmt.Sprint(i+1) {
			r.t.Fatalf("row %d is %v", i+1, v)
		}
	}
	if len(rows) != last {
		r.t.Fatalf("the receiver has %d rows, want %d", len(rows), last)
	}
}

// notForHTTP are the rules that cannot hold where what was sent cannot be taken
// back.
var notForHTTP = []string{
	"an error of Refuse rolls everything back, and comes out", // the rows in front of the refused one are with the receiver
	"rejects are settled before the commit",                   // likewise; TestSettleFails holds what can be held
	"a retry that fails leaves nothing",                       // likewise
	"a large batch takes little memory",                       // this receiver keeps all rows in the same memory; see TestMemory
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Pending: notForHTTP,
		New: func(t *testing.T) sinktest.Destination {
			r, dir := newReceiver(t), filepath.Join(t.TempDir(), "sinks", "one")
			r.plain = true
			// Room enough that rows are sent when a batch was read to its end:
			// what is sent cannot be taken back, as some rules demand.
			o := Options{Dir: dir, Busy: 5 * time.Second, MaxBody: 2 << 20}
			open := func(t *testing.T) sink.Sink {
				s, err := Open(r.URL, o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			return sinktest.Destination{
				Open: open,
				Rows: func(t *testing.T, table string, columns ...string) [][]row.Value { return r.rows(table, columns...) },
				Tables: func(t *testing.T, name string) int {
					return min(len(r.rows(name)), 1)
				},
				ForgetCursor: func(t *testing.T, id sink.ID) {
					s := open(t)
					if err := errors.Join(s.Retire(context.Background(), id), s.Close()); err != nil {
						t.Fatal(err)
					}
				},
				Refuse: func(t *testing.T, table, column, value string) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.refused[table] = column + "=" + value
				},
				Break: func(t *testing.T) func() {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.answer = func(_ int, w nethttp.ResponseWriter, _ got) bool {
						w.WriteHeader(503)
						return true
					}
					return func() {
						r.mu.Lock()
						defer r.mu.Unlock()
						r.answer = nil
					}
				},
			}
		},
	})
}

var theID = sink.ID{StreamID: "id", Stream: "main", Sink: "posts"}

func mustOpen(t testing.TB, address string, o Options) *Sink {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Open(address, o)
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

func numbered(first, last int) []row.Row {
	sc := &row.Schema{Table: "t", Columns: []row.Column{{Name: "v"}, {Name: "w"}}}
	var rows []row.Row
	for seq := first; seq <= last; seq++ {
		rows = append(rows, row.Row{Seq: uint64(seq), Received: int64(seq) * 1e6, Schema: sc,
			Values: []row.Value{row.Text(fmt.Sprint(seq)), row.Null}})
	}
	return rows
}

func deliver(n sink.Session, rejects *sinktest.Rejects, first, last int) error {
	return n.Apply(context.Background(), sinktest.NewBatch(numbered(first, last), row.Position{Seq: uint64(last)}), rejects)
}

// TestLine holds what a receiver gets, byte for byte.
func TestLine(t *testing.T) {
	r := row.Row{Seq: 7, Received: 1795218472000001, Flags: row.TxBegin,
		Schema: &row.Schema{Table: `a"b`, Columns: []row.Column{{Name: "x"}, {Name: "y"}, {Name: "z\\"}}},
		Values: []row.Value{row.Null, row.Text(""), row.Text("é\n\x01\"\\/")}}
	want := `{"seq":7,"received":"2026-11-20T23:47:52.000001Z","table":"a\"b","tx":"begin","row":{"x":null,"y":"","z\\":"é\u000a\u0001\"\\/"}}` + "\n"
	if got := string(appendLine(nil, &r)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// TestOpenRefuses holds that a start says what cannot work.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	broken := filepath.Join(dir, "broken")
	if err := errors.Join(os.WriteFile(empty, nil, 0o600), os.WriteFile(broken, []byte("a\nb"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url string
		o         Options
		want      string
	}{
		{"no scheme", "example.net/rows", Options{Dir: dir}, "http:// or https://"},
		{"other scheme", "ftp://example.net", Options{Dir: dir}, "http:// or https://"},
		{"no URL", "http://a b", Options{Dir: dir}, "invalid character"},
		{"fragment", "http://example.net/#x", Options{Dir: dir}, "#x"},
		{"password stays hidden", "http://u:secret@example.net/", Options{}, "u:xxxxx@"},
		{"half a password is no port", "http://u:x/secret@example.net:secret@y/", Options{}, "%XX"},
		{"no URL with a password", "http://u:secret@exa mple.net/", Options{}, "%XX"},
		{"token stays hidden", "http://example.net/rows?token=secret@", Options{}, "http://example.net/rows?...\""},
		{"no directory", "http://example.net/", Options{}, "directory for the cursor"},
		{"header name", "http://example.net/", Options{Dir: dir, Headers: map[string]string{"a b": "c"}}, `"a b"`},
		{"header value", "http://example.net/", Options{Dir: dir, Headers: map[string]string{"a": "b\r\nc: d"}}, "control character"},
		{"own header", "http://example.net/", Options{Dir: dir, Headers: map[string]string{"idempotency-key": "c"}}, "set by Holdfast"},
		{"secret missing", "http://example.net/", Options{Dir: dir, TokenFile: dir + "/missing"}, "no such file"},
		{"secret empty", "http://example.net/", Options{Dir: dir, TokenFile: empty}, "is empty"},
		{"secret of two lines", "http://example.net/", Options{Dir: dir, HeaderFiles: map[string]string{"X": broken}}, "control character"},
		{"two tokens", "http://example.net/", Options{Dir: dir, TokenFile: broken, Headers: map[string]string{"authorization": "x"}}, "exclude each other"},
		{"no certificates", "https://example.net/", Options{Dir: dir, CAFile: empty}, "holds none"},
		{"negative", "http://example.net/", Options{Dir: dir, MaxBody: -1}, "-1 bytes"},
	} {
		_, err := Open(c.url, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

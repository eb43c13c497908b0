package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/fault"
	"holdfast/row"
)

// serve starts a server over f on a socket of its own and returns a client.
func serve(t *testing.T, f *fake) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := Server(ctx, New(Options{Store: f, Admin: f}).Private(), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c := NewUnix(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-done
		goleak.VerifyNone(t)
	})
	return c
}

func storedRows() []*row.Row {
	calls := &row.Schema{Table: "calls", Columns: []row.Column{{Name: "a"}, {Name: "b"}}}
	other := &row.Schema{Table: "other", Columns: []row.Column{{Name: "x"}}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC).UnixMicro()
	return []*row.Row{
		{Seq: 1, Received: at, Schema: calls, Values: []row.Value{row.Text("<ü>"), row.Null}},
		{Seq: 2, Received: at, Schema: other, Values: []row.Value{row.Text("")}},
		{Seq: 3, Received: at, Schema: calls, Values: []row.Value{row.Text("z"), row.Text("\n")}},
	}
}

func TestClientRows(t *testing.T) {
	damage := row.Damage{Stream: "main", Segment: 2, Offset: 4096, First: 9, Last: 10, What: "checksum"}
	f := &fake{stored: storedRows(), damage: []row.Damage{damage}}
	c := serve(t, f)
	var got []*RowLine
	var found []row.Damage
	q := RowsQuery{Stream: "ma in", Table: "calls", From: 1, Limit: 5}
	err := c.Rows(t.Context(), q,
		func(r *RowLine) error { got = append(got, r); return nil },
		func(d row.Damage) error { found = append(found, d); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !reflect.DeepEqual(got[0], LineOf(f.stored[0])) || !reflect.DeepEqual(got[1], LineOf(f.stored[2])) {
		t.Errorf("rows came back as %+v", got)
	}
	if !reflect.DeepEqual(found, []row.Damage{damage}) || !reflect.DeepEqual(f.queries, []RowsQuery{q}) {
		t.Errorf("damage %+v, query %+v", found, f.queries)
	}
	stop := errors.New("enough")
	if err := c.Rows(t.Context(), RowsQuery{Stream: "main"}, func(*RowLine) error { return stop }, func(row.Damage) error { return nil }); !errors.Is(err, stop) {
		t.Errorf("the reader's own error came back as %v", err)
	}
	f.adminErr = fault.New(fault.UndefinedObject, "stream %q is not known", "x").WithHint("there is main")
	err = c.Rows(t.Context(), RowsQuery{Stream: "x"}, func(*RowLine) error { return nil }, func(row.Damage) error { return nil })
	if e := fault.Of(err); e.Code != fault.UndefinedObject || e.Hint != "there is main" {
		t.Errorf("an error behind the first rows came back as %v", err)
	}
}

func TestClientFollows(t *testing.T) {
	f := &fake{stored: storedRows()}
	c := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := c.Rows(ctx, RowsQuery{Stream: "main", Follow: true}, func(*RowLine) error {
		if n++; n == 3 {
			cancel() // the rows are here while the server still waits for more
		}
		return nil
	}, func(row.Damage) error { return nil })
	if err != nil || n != 3 {
		t.Errorf("following ended with %v after %d rows", err, n)
	}
}

func TestClientVerify(t *testing.T) {
	a := row.Damage{Stream: "a", Segment: 1, Offset: 1, What: "x"}
	b := row.Damage{Stream: "b", Segment: 2, Offset: 2, First: 1, Last: 2, What: "y"}
	f := &fake{damage: []row.Damage{a, b}, stored: storedRows()}
	c := serve(t, f)
	var found []row.Damage
	v, err := c.Verify(t.Context(), "b", func(d row.Damage) error { found = append(found, d); return nil })
	if err != nil || !reflect.DeepEqual(found, []row.Damage{b}) || v != (Verified{Streams: 1, Rows: 3, Damaged: 1}) {
		t.Errorf("got %+v, %+v, %v", found, v, err)
	}
	f.adminErr = errors.New("disk gone")
	if _, err = c.Verify(t.Context(), "", func(row.Damage) error { return nil }); err == nil || !strings.Contains(err.Error(), "disk gone") {
		t.Errorf("a verification that broke off ends with %v", err)
	}
}

func TestClientRest(t *testing.T) {
	f := &fake{status: Status{Version: "v1", Data: "/d", Started: time.Unix(1, 0).UTC(), Streams: []StreamStatus{{Name: "main", Damage: []row.Damage{}}}}}
	c := serve(t, f)
	s, err := c.Status(t.Context())
	if err != nil || !reflect.DeepEqual(s, f.status) {
		t.Errorf("status came back as %+v, %v", s, err)
	}
	if err := c.Seal(t.Context()); err != nil || f.sealed != 1 {
		t.Errorf("seal: %v, done %d times", err, f.sealed)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	f.readyErr = fault.New(fault.DiskFull, "no room")
	if err := c.Ready(t.Context()); fault.Code(err) != fault.DiskFull {
		t.Errorf("not ready came back as %v", err)
	}
	n, err := c.Put(t.Context(), "t/x", ndjson, strings.NewReader(good))
	if n != 1 || err != nil || f.rows[0] != "t/x(a text='x')" {
		t.Errorf("put %d rows, %v; stored %q", n, err, f.rows)
	}
	_, err = c.Put(t.Context(), "t", ndjson, strings.NewReader(good+"x\n"))
	var refused *Refused
	if !errors.As(err, &refused) || refused.Line != 2 || refused.Err.Code != fault.InvalidTextRepr || errors.Is(err, ErrUnknown) {
		t.Errorf("a refusal came back as %#v", err)
	}
}

func TestPutWithoutAnswer(t *testing.T) {
	var answers atomic.Int32
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch answers.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // the connection breaks
		case 2:
			w.Write([]byte(`{"rows":`)) // half an answer
		case 3:
			http.Error(w, "bad gateway", http.StatusBadGateway) // somebody between
		case 4:
			w.Write([]byte(`{}`)) // not our answer at all
		}
	})
	s := httptest.NewServer(h)
	defer s.Close()
	c := NewTCP(strings.TrimPrefix(s.URL, "http://"))
	defer c.Close()
	for i := range 4 {
		if _, err := c.Put(t.Context(), "t", ndjson, strings.NewReader(good)); !errors.Is(err, ErrUnknown) {
			t.Errorf("answer %d: %v does not say that the outcome is unknown", i+1, err)
		}
	}
	s.Close()
	c.Close() // on a connection still held the request could have got through
	if _, err := c.Put(t.Context(), "t", ndjson, strings.NewReader(good)); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("where nobody listens, nothing can be stored, but the error is %v", err)
	}
}

func TestLargeRecordsTakeTurns(t *testing.T) {
	f := &fake{}
	api := New(Options{Store: f, Admin: f})
	for range maxLarge {
		api.large <- struct{}{}
	}
	send := func(ctx context.Context, size int) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, "POST", "http://localhost/v1/tables/t/rows", strings.NewReader(`{"a":"`+strings.Repeat("x", size)+`"}`))
		r.Header.Set("Content-Type", ndjson)
		w := httptest.NewRecorder()
		api.Public().ServeHTTP(w, r)
		return w
	}
	if w := send(t.Context(), 1000); w.Code != 200 {
		t.Errorf("a small row waits for large ones: %d %s", w.Code, w.Body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if w := send(ctx, largeRecord); w.Code == 200 {
		t.Error("one more large row is read than memory is set aside for")
	}
	<-api.large
	if w := send(t.Context(), maxRecord-100); w.Code != 200 || len(api.large) != maxLarge-1 {
		t.Errorf("a large row got %d %s, and %d turns are taken after it", w.Code, w.Body, len(api.large))
	}
}

func TestLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Int32
	l := Limit(inner, func() bool {
		if now.Load() == 1 {
			return false
		}
		now.Add(1)
		return true
	}, func() { now.Add(-1) })
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := dial()
	defer first.Close()
	served := <-accepted
	second := dial()
	defer second.Close()
	second.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection over the limit is not closed: %v", err)
	}
	served.Close()
	served.Close()
	if now.Load() != 0 {
		t.Errorf("%d connections are counted after all were closed", now.Load())
	}
	third := dial()
	defer third.Close()
	(<-accepted).Close()
}

func TestSilentBodyEnds(t *testing.T) {
	// The deadline itself is a minute; what is tested is that reading sets it.
	var set []time.Time
	p := newPatient(&deadlines{set: &set}, strings.NewReader("x"))
	p.Read(make([]byte, 1))
	p.Read(make([]byte, 1))
	if len(set) != 2 || time.Until(set[0]) < idleBody/2 || !set[1].IsZero() {
		t.Errorf("deadlines are %v, want one ahead while the body is read and none after it", set)
	}
}

type deadlines struct {
	httptest.ResponseRecorder
	set *[]time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	*d.set = append(*d.set, t)
	return nil
}

func TestLocal(t *testing.T) {
	f := &fake{stored: storedRows()}
	l := &Local{Store: f, Admin: f}
	if n, err := l.Put(t.Context(), "t", ndjson, strings.NewReader(good)); n != 1 || err != nil || !reflect.DeepEqual(f.durable, []bool{true}) {
		t.Errorf("put %d, %v, durable %v", n, err, f.durable)
	}
	n := 0
	if err := l.Rows(t.Context(), RowsQuery{Table: "calls"}, func(*RowLine) error { n++; return nil }, func(row.Damage) error { return nil }); err != nil || n != 2 {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestResident(t *testing.T) {
	now, peak := Resident()
	if now == 0 {
		t.Skip("SKIPPED: this system has no /proc")
	}
	if now < 1<<20 || peak < now {
		t.Errorf("resident %d, peak %d", now, peak)
	}
}

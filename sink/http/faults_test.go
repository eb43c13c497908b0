package http

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
	"holdfast/sink/sinktest"
)

// hangUp breaks the connection, so that no answer is had.
func hangUp(t testing.TB, w nethttp.ResponseWriter) {
	c, _, err := w.(nethttp.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	c.Close()
}

// TestLostAnswer loses answers of requests whose rows were taken. They come
// again with the same key and rows, even after a restart, and although more
// rows have gathered; so that a receiver that knows keys gets each row once.
func TestLostAnswer(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			r := newReceiver(t)
			lost := map[int]bool{1: true, 3: true, 4: true}
			r.late = func(n int, w nethttp.ResponseWriter) {
				if lost[n] {
					hangUp(t, w)
				}
			}
			o := Options{Dir: t.TempDir(), MaxBody: 500}
			n := mustAttach(t, mustOpen(t, r.URL, o))
			for last := 20; ; last += 3 { // each attempt has more rows
				err := deliver(n, new(sinktest.Rejects), 1, last)
				if err == nil {
					r.wantRows(last)
					break
				}
				if restart {
					n = mustAttach(t, mustOpen(t, r.URL, o))
				}
			}
			for i := range lost {
				a, b := r.requests[i-1], r.requests[i]
				if a.key != b.key || a.first != b.first || a.last != b.last || !slices.Equal(a.seqs, b.seqs) {
					t.Errorf("request %d was %s of %s to %s, and came again as %s of %s to %s", i, a.key, a.first, a.last, b.key, b.first, b.last)
				}
			}
			if r.requests[0].key != "id.posts.1-"+r.requests[0].last {
				t.Errorf("the first key is %q", r.requests[0].key)
			}
			if len(r.requests) < 8 {
				t.Errorf("only %d requests: the batch was not split", len(r.requests))
			}
			for _, q := range r.requests {
				if q.bytes > 500 && len(q.seqs) > 1 {
					t.Errorf("a request of %d bytes holds %d rows", q.bytes, len(q.seqs))
				}
			}
		})
	}
}

// TestAnswers holds what each answer means, and what an operator reads.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		header string // of Retry-After or Location
		want   string
	}{
		{500, "", "500 Internal Server Error: it is broken"},
		{503, "", "503 Service Unavailable"},
		{503, "7", "asks to wait for 7s"},
		{429, "90", "asks to wait for 1m30s"},
		{401, "", "look at the token"},
		{403, "", "look at the token"},
		{404, "", "look at the URL"},
		{405, "", "look at the URL"},
		{418, "", "418 I'm a teapot"},
		{302, "/elsewhere", `points to "/elsewhere"`},
		{307, "http://203.0.113.1/", `points to "http://203.0.113.1/"`},
		{307, "http://localhost:1/", "not followed"},
	} {
		r := newReceiver(t)
		r.answer = func(n int, w nethttp.ResponseWriter, _ got) bool {
			w.Header().Set("Retry-After", c.header)
			w.Header().Set("Location", c.header)
			w.WriteHeader(c.status)
			fmt.Fprint(w, "it is\nbroken", strings.Repeat("\xff", 1000))
			return true
		}
		s := mustOpen(t, r.URL, Options{})
		n := mustAttach(t, s)
		var j sinktest.Rejects
		err := deliver(n, &j, 1, 3)
		var bad *sink.RowError
		if err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 || len(j.Rows) > 0 {
			t.Errorf("%d: got %v, and %d rejects; want an error about the receiver with %q", c.status, err, len(j.Rows), c.want)
		}
		if len(r.requests) != 1 {
			t.Errorf("%d: there were %d requests", c.status, len(r.requests))
		}
		if strings.Contains(c.want, "wait") {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(20*time.Millisecond, cancel)
			err := n.Apply(ctx, sinktest.NewBatch(numbered(1, 3), row.Position{Seq: 3}), &j)
			if !errors.Is(err, context.Canceled) || len(r.requests) != 1 {
				t.Errorf("%d: while it must wait, Apply gave %v after %d requests", c.status, err, len(r.requests))
			}
		}
		r.answer = nil
		if !strings.Contains(c.want, "wait") {
			if err := deliver(n, &j, 1, 3); err != nil {
				t.Errorf("%d: after it healed: %v", c.status, err)
			}
			r.wantRows(3)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-5": 0, "0": 0, "1": time.Second, " 30 ": 30 * time.Second, "99999999": maxRetryAfter,
		"Sat, 21 Nov 2026 08:00:10 GMT": 10 * time.Second, "Sat, 21 Nov 2020 08:00:10 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q gives %v, want %v", text, got, want)
		}
	}
}

// TestRedirectToSameHost follows a redirection that keeps the request.
func TestRedirectToSameHost(t *testing.T) {
	r := newReceiver(t)
	front := nethttp.NewServeMux()
	front.Handle("/new", r)
	front.Handle("/old", nethttp.RedirectHandler("/new", nethttp.StatusPermanentRedirect))
	s := httptest.NewServer(front)
	defer s.Close()
	n := mustAttach(t, mustOpen(t, s.URL+"/old", Options{Gzip: true}))
	if err := deliver(n, new(sinktest.Rejects), 1, 3); err != nil {
		t.Fatal(err)
	}
	r.wantRows(3)
}

// TestSlow gives up on a receiver that does not answer in time, and on one
// that does not end its answer; and stops at once when it is told to.
func TestSlow(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, q *nethttp.Request) {
		select {
		case <-release:
		case <-q.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	n := mustAttach(t, mustOpen(t, s.URL, Options{Timeout: 50 * time.Millisecond}))
	if err := deliver(n, new(sinktest.Rejects), 1, 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a slow receiver gave %v", err)
	}
	to := mustOpen(t, s.URL, Options{})
	n = mustAttach(t, to)
	time.AfterFunc(20*time.Millisecond, func() { to.Close() })
	if err := deliver(n, new(sinktest.Rejects), 1, 3); err == nil {
		t.Error("Apply through a sink that was closed meanwhile gave no error")
	}
}

// TestSecrets sends what files hold when a request is made, over TLS that is
// verified against the file of certificates and nothing else.
func TestSecrets(t *testing.T) {
	r := newReceiver(t)
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	ca, token, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token"), filepath.Join(dir, "key")
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	write(token, "first\n")
	write(key, "k")
	o := Options{TokenFile: token, HeaderFiles: map[string]string{"X-Key": key}, Headers: map[string]string{"X-Plain": "p"}, CAFile: ca}
	n := mustAttach(t, mustOpen(t, s.URL, o))
	if err := deliver(n, new(sinktest.Rejects), 1, 1); err != nil {
		t.Fatal(err)
	}
	write(token, "second\n")
	if err := deliver(n, new(sinktest.Rejects), 2, 2); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"Bearer first", "Bearer second"} {
		h := r.requests[i].header
		if h.Get("Authorization") != want || h.Get("X-Key") != "k" || h.Get("X-Plain") != "p" {
			t.Errorf("request %d has headers %v", i, h)
		}
	}
	o.CAFile = ""
	n = mustAttach(t, mustOpen(t, s.URL, o))
	if err := deliver(n, new(sinktest.Rejects), 1, 1); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody trusts gave %v", err)
	}
	if len(r.requests) != 2 {
		t.Errorf("%d requests got through", len(r.requests))
	}
}

// TestSettleFails holds that a row is not passed over before it is safe.
func TestSettleFails(t *testing.T) {
	r := newReceiver(t)
	r.refused["t"] = "v=5"
	n := mustAttach(t, mustOpen(t, r.URL, Options{}))
	full := errors.New("the disk is full")
	if err := deliver(n, &sinktest.Rejects{Unsafe: full}, 1, 10); !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	if at, err := n.Cursor(context.Background()); err != nil || at.Seq != 0 {
		t.Fatalf("the cursor stands at %d, %v", at.Seq, err)
	}
	var j sinktest.Rejects
	if err := deliver(n, &j, 1, 10); err != nil {
		t.Fatal(err)
	}
	if len(j.Rows) != 1 || j.Rows[0].Seq != 5 || j.Why[0].Code != "422" || j.Why[0].Err.Error() != "422 Unprocessable Entity: not this one" {
		t.Fatalf("set aside %v because of %v", j.Rows, j.Why)
	}
	if got := len(r.rows("t")); got != 9 {
		t.Fatalf("the receiver has %d rows, want 9", got)
	}
}

// TestEveryOperationFails fails each operation on the cursor's files once. No
// row is lost, and a receiver that knows seqs has each once.
func TestEveryOperationFails(t *testing.T) {
	for at := 1; ; at++ {
		r, count := newReceiver(t), 0
		s := mustOpen(t, r.URL, Options{MaxBody: 400})
		s.watch = local.Watch{Before: func(op local.Op, name string) (int, error) {
			if count++; count == at {
				return 3, errors.New("injected")
			}
			return 0, nil
		}}
		var n sink.Session
		ctx := context.Background()
		for tries := 0; ; tries++ {
			if tries > 5 {
				t.Fatalf("operation %d: no end to errors", at)
			}
			if n == nil {
				fresh, err := s.Attach(ctx, theID, "a", row.Position{}, nil)
				if err != nil {
					continue
				}
				n = fresh
			}
			c, err := n.Cursor(ctx)
			if err == nil && c.Seq == 30 {
				break
			}
			if err == nil {
				_ = deliver(n, new(sinktest.Rejects), int(c.Seq)+1, int(c.Seq)+15)
			}
		}
		r.wantRows(30)
		if count < at {
			t.Logf("failed each of %d operations", at-1)
			if at < 30 {
				t.Error("files are touched past the watch")
			}
			return
		}
	}
}

// TestMemory holds that a batch takes no more than a few requests.
func TestMemory(t *testing.T) {
	s := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, q *nethttp.Request) {
		_, _ = w.Write(nil)
	}))
	defer s.Close()
	n := mustAttach(t, mustOpen(t, s.URL, Options{}))
	sc := &row.Schema{Table: "t", Columns: []row.Column{{Name: "v"}}}
	pad := row.Text(strings.Repeat("x", 500))
	var least, most uint64
	b := sinktest.NewLargeBatch(60_000, func(i int) row.Row {
		if i > 10_000 && i%5_000 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if least == 0 || m.HeapAlloc < least {
				least = m.HeapAlloc
			}
			most = max(most, m.HeapAlloc)
		}
		return row.Row{Seq: uint64(i + 1), Schema: sc, Values: []row.Value{pad}}
	}, row.Position{Seq: 60_000})
	if err := n.Apply(context.Background(), b, new(sinktest.Rejects)); err != nil {
		t.Fatal(err)
	}
	if most-least > 8<<20 {
		t.Errorf("the heap grew from %d to %d bytes", least, most)
	}
}

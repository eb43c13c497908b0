package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// deaf stands before the HTTP door and loses answers: each third one is read from the
// server, which has committed by then, and the client's connection is cut.
type deaf struct {
	listener net.Listener
	to       string
	group    sync.WaitGroup

	mu       sync.Mutex
	n, lost  int
	replayed int
}

func (d *deaf) accept() {
	for {
		c, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.group.Go(func() {
			defer c.Close()
			d.serve(c)
		})
	}
}

func (d *deaf) serve(client net.Conn) {
	server, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer server.Close()
	in, back := bufio.NewReader(client), bufio.NewReader(server)
	for {
		r, err := http.ReadRequest(in)
		if err != nil || r.Write(server) != nil {
			return
		}
		answer, err := http.ReadResponse(back, r)
		if err != nil {
			return
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body = io.NopCloser(bytes.NewReader(text))
		d.mu.Lock()
		d.n++
		lose := d.n%3 == 0
		if lose {
			d.lost++
		}
		if answer.Header.Get("Idempotency-Replayed") != "" {
			d.replayed++
		}
		d.mu.Unlock()
		if err != nil || lose || answer.Write(client) != nil {
			return
		}
	}
}

// TestPutOnce cuts the connection of put behind the commit, before the answer: each
// row is stored once, and put says that all are stored.
func TestPutOnce(t *testing.T) {
	data := dataDir(t)
	_, o := spooled(t, data)
	s := start(t, data, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{listener: l, to: s.http}
	d.group.Go(d.accept)
	t.Cleanup(func() {
		l.Close()
		d.group.Wait()
	})
	var lines strings.Builder
	want := map[string]bool{}
	for i := range 200 {
		id := fmt.Sprintf("row%04d", i)
		want[id] = true
		fmt.Fprintf(&lines, "{\"id\":%q}\n", id)
	}
	r := feed(t, 0, strings.NewReader(lines.String()), "put", "--http", l.Addr().String(), "--table", "acc", "--format", "ndjson", "--batch", "7")
	if !strings.Contains(r.stdout, "200 rows stored") {
		t.Errorf("put says %q, %q", r.stdout, r.stderr)
	}
	if d.mu.Lock(); d.lost < 5 || d.replayed < 5 {
		t.Errorf("of %d answers %d were lost and %d given again", d.n, d.lost, d.replayed)
	}
	d.mu.Unlock()
	s.delivered(time.Minute)
	s.stop()
	once(t, data, want)
}

package syslog

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/fault"
	"holdfast/internal/gate"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store keeps what is committed. full makes commits fail, as a full disk does.
type store struct {
	mu        sync.Mutex
	full      bool
	tried     int
	messages  []string // in the order of their commits
	malformed []string // why: raw
}

func (s *store) Schema(table string, columns []row.Column) (*row.Schema, error) {
	return &row.Schema{Table: table, Columns: columns}, nil
}

func (s *store) Begin() Tx { return &tx{s: s} }

func (s *store) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

func (s *store) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages) + len(s.malformed)
}

type tx struct {
	s                   *store
	messages, malformed []string
}

func (t *tx) Insert(s *row.Schema, v []row.Value) error {
	text := v[len(v)-1].Text
	if bytes.IndexByte(text, 0) >= 0 {
		return fault.New(fault.CharacterNotInRepertoire, "it holds a NUL")
	}
	t.messages = append(t.messages, string(text))
	return nil
}

func (t *tx) Malformed(_ string, raw []byte, why, _ string) error {
	t.malformed = append(t.malformed, why+": "+string(raw))
	return nil
}

func (t *tx) Commit(context.Context) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.tried++
	if t.s.full {
		return fault.New(fault.DiskFull, "no room")
	}
	t.s.messages, t.s.malformed = append(t.s.messages, t.messages...), append(t.s.malformed, t.malformed...)
	t.Rollback()
	return nil
}

func (t *tx) Rollback() { t.messages, t.malformed = nil, nil }

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// start serves a listener and a packet socket until the test ends.
func start(t *testing.T, o Options) (s *Server, stream, packets string) {
	t.Helper()
	o.Table = "syslog"
	s = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.ServeStream(l); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := s.ServePackets(c); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.Shutdown(ctx)
		wg.Wait()
	})
	return s, l.Addr().String(), c.LocalAddr().String()
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// closed waits until the server has closed c.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection is open: %v", err)
	}
}

// TestEveryLineOnce sends lines over all ways at a time, while the store is full
// now and then: each is stored once, and those of a connection in order.
func TestEveryLineOnce(t *testing.T) {
	const conns, each = 8, 500
	st := &store{}
	s, stream, packets := start(t, Options{Store: st})
	var wg sync.WaitGroup
	for i := range conns {
		c := dial(t, "tcp", stream)
		wg.Go(func() {
			var b bytes.Buffer
			for k := range each {
				m := fmt.Sprintf("<13>c%d m%d", i, k)
				if i%2 == 0 {
					fmt.Fprintf(&b, "%d %s", len(m), m)
				} else {
					b.WriteString(m + "\n")
				}
				if k%50 == 49 {
					send(t, c, b.String())
					b.Reset()
					st.setFull(k%100 == 49)
				}
			}
		})
	}
	u := dial(t, "udp", packets)
	for k := range 100 {
		send(t, u, fmt.Sprintf("<13>u m%d\n", k))
	}
	wg.Wait()
	st.setFull(false)
	eventually(t, "all lines are stored", func() bool { return st.count() >= conns*each+100 })
	seen := map[string]int{} // how many of each sender
	for _, m := range st.messages {
		var k int
		from, number, _ := strings.Cut(m, " ")
		if _, err := fmt.Sscanf(number, "m%d", &k); err != nil || k != seen[from] {
			t.Fatalf("%q follows %d of %s (%v)", m, seen[from]-1, from, err)
		}
		seen[from]++
	}
	if got := s.Stats(); got.Rows != conns*each+100 || got.Malformed != 0 || got.Lost != 0 || got.Refused != 0 || got.Waiting != 0 || got.Trouble != "" || !got.Oldest.IsZero() {
		t.Errorf("%+v", got)
	}
}

// TestHostile holds that what cannot be divided into messages ends its
// connection and nothing else (scenario 41), that what is no text is kept, and
// that whoever may not send is sent away.
func TestHostile(t *testing.T) {
	st := &store{}
	s, stream, packets := start(t, Options{Store: st, MaxLine: 100, Gate: gate.New(gate.Limits{Open: 4})})
	honest := dial(t, "tcp", stream)
	send(t, honest, "before\n")
	for _, bad := range []string{"99999999999 x", "101 x", "1a x", "12345678901234567890"} {
		c := dial(t, "tcp", stream)
		send(t, c, "5 fine."+bad)
		closed(t, c)
	}
	send(t, honest, "a\x00b\n"+strings.Repeat("y", 150)+"\nafter\n")
	send(t, dial(t, "udp", packets), strings.Repeat("z", 150))
	eventually(t, "all that is told is kept", func() bool { return st.count() >= 2+4+2+1 })
	if got := strings.Join(st.messages, "|"); strings.Count(got, "fine.") != 4 || strings.Count(got, "before") != 1 || strings.Index(got, "before") > strings.Index(got, "after") {
		t.Errorf("messages %q", got)
	}
	for _, want := range []string{"it holds a NUL: a\x00b", "it is longer than 100 bytes; this is its beginning: " + strings.Repeat("y", 100), strings.Repeat("z", 100)} {
		if !strings.Contains(strings.Join(st.malformed, "\n"), want) {
			t.Errorf("malformed %q lacks %q", st.malformed, want)
		}
	}
	if got := s.Stats(); got.Refused != 4 || got.Malformed != 3 {
		t.Errorf("%+v", got)
	}
	for range 3 {
		send(t, dial(t, "tcp", stream), "one more\n")
	}
	eventually(t, "four connections are open", func() bool { return s.Stats().Conns == 4 })
	closed(t, dial(t, "tcp", stream))
}

// TestOfOneAddress holds that one address does not take the places of all.
func TestOfOneAddress(t *testing.T) {
	s, stream, _ := start(t, Options{Store: &store{}, Gate: gate.New(gate.Limits{Open: 4, PerAddress: 2})})
	for range 2 {
		send(t, dial(t, "tcp", stream), "x\n")
	}
	eventually(t, "two connections are open", func() bool { return s.Stats().Conns == 2 })
	closed(t, dial(t, "tcp", stream))
	_, port, err := net.SplitHostPort(stream)
	if err != nil {
		t.Fatal(err)
	}
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := from.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, "y\n")
	eventually(t, "that of another address is let in", func() bool { return s.Stats().Conns == 3 })
}

// TestAllow holds that only allowed networks may send.
func TestAllow(t *testing.T) {
	st := &store{}
	s, stream, packets := start(t, Options{Store: st, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	closed(t, dial(t, "tcp", stream))
	send(t, dial(t, "udp", packets), "x")
	eventually(t, "both are refused", func() bool { return s.Stats().Refused == 2 })
	if st.count() != 0 {
		t.Errorf("stored %q", st.messages)
	}
}

// TestQuietRefusals holds that whoever is refused over and over does not fill the
// log, which tells how many it leaves out.
func TestQuietRefusals(t *testing.T) {
	const many = 50
	var log bytes.Buffer // of a handler that writes one line at a time
	begun := time.Now()
	s, stream, _ := start(t, Options{Store: &store{}, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range many {
		closed(t, dial(t, "tcp", stream))
	}
	eventually(t, "all are refused", func() bool { return s.Stats().Refused == many })
	s.Shutdown(t.Context())
	if lines, most := strings.Count(log.String(), "connection closed"), 2+int(time.Since(begun)/tellEvery); lines == 0 || lines > most {
		t.Errorf("the log has %d lines about %d connections, at most %d are due", lines, many, most)
	}
}

// TestShutdown holds that what was read is stored before a stop, and that it is
// counted where it cannot be.
func TestShutdown(t *testing.T) {
	for _, full := range []bool{false, true} {
		st := &store{full: full}
		s, stream, packets := start(t, Options{Store: st})
		c := dial(t, "tcp", stream)
		send(t, c, "one\ntwo\nhalf of th")
		send(t, dial(t, "udp", packets), "three")
		eventually(t, "both readers have tried", func() bool {
			return st.attempts() >= 2 && (!full || s.Stats().Waiting == 3 && s.Stats().WaitingBytes == 11 && !s.Stats().Oldest.IsZero())
		})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if !full {
			ctx = context.WithoutCancel(ctx)
		}
		s.Shutdown(ctx)
		cancel()
		want := Stats{Rows: 3, Bytes: 11}
		if full {
			want = Stats{Lost: 3}
		}
		got := s.Stats()
		if got.Rows != want.Rows || got.Bytes != want.Bytes || got.Lost != want.Lost || got.Waiting != 0 || got.Conns != 0 || (got.Trouble != "") != full {
			t.Errorf("full %v: %+v", full, got)
		}
		if err := s.ServeStream(&net.TCPListener{}); err == nil {
			t.Error("a server that was shut down serves")
		}
	}
}

// TestHandshake holds that a connection which is no TLS is closed.
func TestHandshake(t *testing.T) {
	st := &store{}
	s := New(Options{Store: st, Table: "syslog"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeStream(tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12})) }()
	c := dial(t, "tcp", l.Addr().String())
	send(t, c, "<13>this is no handshake at all, and long enough for one\n")
	eventually(t, "it is refused", func() bool { return s.Stats().Refused == 1 })
	s.Shutdown(t.Context())
	if err := <-done; err != nil || st.count() != 0 {
		t.Errorf("%v, stored %q", err, st.messages)
	}
}

// TestFlood holds that datagrams which come while rows cannot be stored are
// kept up to a bound, and counted beyond it.
func TestFlood(t *testing.T) {
	p := &pending{more: make(chan struct{}, 1)}
	l := line{text: make([]byte, 60_000)}
	kept := 0
	for p.put(l) {
		kept++
	}
	if total := kept * len(l.text); total > maxPending || total < maxPending*9/10 {
		t.Errorf("%d bytes wait", total)
	}
	if got := len(p.take()); got < 1 || got > maxBatchLines {
		t.Errorf("a batch of %d", got)
	}
	if !p.put(l) {
		t.Error("there is no room after some were taken")
	}
	for len(p.take()) > 0 {
	}
	if p.size != 0 {
		t.Errorf("%d bytes are left of nothing", p.size)
	}
}

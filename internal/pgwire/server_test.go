package pgwire

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/gate"

	"holdfast/row"
)

func TestStartUp(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	c := &client{t: t, conn: dial(t, addr)}
	c.fe = pgproto3.NewFrontend(c.conn, c.conn)
	start := func(version uint32, params ...string) string {
		b := binary.BigEndian.AppendUint32(nil, version)
		for _, p := range params {
			b = append(append(b, p...), 0)
		}
		b = append(b, 0)
		conn := dial(t, addr)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b)+4)), b...)); err != nil {
			t.Fatal(err)
		}
		cl := &client{t: t, conn: conn, fe: pgproto3.NewFrontend(conn, conn)}
		return cl.until()
	}
	hello := "welcome; set application_name=; set client_encoding=UTF8; set DateStyle=ISO, MDY; set default_transaction_read_only=off; " +
		"set in_hot_standby=off; set integer_datetimes=on; set IntervalStyle=postgres; set is_superuser=off; set server_encoding=UTF8; " +
		"set server_version=15.0 (Holdfast); set session_authorization=u; set standard_conforming_strings=on; set TimeZone=UTC; ready I"
	for _, s := range []struct {
		version uint32
		params  []string
		answer  string
	}{
		{version3, []string{"user", "u", "database", "d"}, hello},
		{version3 + 2, []string{"user", "u"}, "negotiate 196608 []; " + hello},
		{version3, []string{"user", "u", "_pq_.x", "1"}, "negotiate 196608 [_pq_.x]; " + hello},
		{version3, []string{"user", "u", "client_encoding", "'utf-8'"}, `FATAL 22023 invalid value for parameter "client_encoding": "'utf-8'"; closed`},
		{version3, []string{"user", "u", "client_encoding", "EUC_JP"}, `FATAL 22021 text in encoding "EUC_JP" is not taken; closed`},
		{version3, []string{"user", "u", "datestyle", "ISO, MDY", "client_encoding", "UTF8", "options", "-c standard_conforming_strings=on"}, hello},
		{version3, []string{"user", "u", "options", "-c standard_conforming_strings=off"}, `FATAL 22023 invalid value for parameter "standard_conforming_strings": "off"; closed`},
		{version3, []string{"user", "u", "nonsense", "1"}, `FATAL 42704 unrecognized configuration parameter "nonsense"; closed`},
		{version3, []string{"user", "u", "replication", "database"}, "FATAL 0A000 replication connections are not taken; closed"},
		{version3, []string{"user", "u", "replication", "off"}, hello},
		{version3, []string{"database", "d"}, "FATAL 28000 no PostgreSQL user name specified in startup packet; closed"},
		{version3, []string{"user"}, "FATAL 08P01 invalid startup packet layout: expected terminator as last byte; closed"},
		{version3, []string{"user", "\xff"}, `FATAL 22021 invalid byte sequence for encoding "UTF8": 0xff; closed`},
		{2 << 16, []string{"user", "u"}, "FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0; closed"},
		{4 << 16, []string{"user", "u"}, "FATAL 0A000 unsupported frontend protocol 4.0: server supports 3.0; closed"},
	} {
		want(t, fmt.Sprint(s.version, s.params), start(s.version, s.params...), s.answer)
	}
}

// exchange sends bytes and returns all that comes back until the connection
// is closed.
func exchange(t *testing.T, addr, bytes string) string {
	t.Helper()
	conn := dial(t, addr)
	if _, err := conn.Write([]byte(bytes)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%q: %v", bytes, err)
	}
	return string(b)
}

// TestHostileStart: scenarios 36 and 37 of the faults, before anything is
// known of the client.
func TestHostileStart(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	be := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	ssl, gss := be(8)+be(codeSSL), be(8)+be(codeGSS)
	for _, c := range []struct{ name, bytes, answer string }{
		{"length 0", be(0) + be(version3), "C08P01"}, {"length 3", be(3) + be(version3), "C08P01"}, {"length -1", be(1<<32-1) + be(version3), "C08P01"},
		{"length 2^31-1", be(1<<31-1) + be(version3), "C08P01"}, {"10,001 bytes", be(10_001) + be(version3), "C08P01"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"SSL twice", ssl, "N"}, {"data behind SSLRequest", ssl + be(9) + be(version3) + "\x00", "C08P01"}, {"data behind GSSENCRequest", gss + "x", "C08P01"},
		{"TLS at once", "\x16\x03\x01\x02\x00\x01", ""}, {"a cancel request for nobody", be(16) + be(codeCancel) + be(1) + be(2), ""}, {"a short one", be(8) + be(codeCancel), ""},
	} {
		if c.name == "SSL twice" {
			conn := dial(t, addr)
			one := make([]byte, 1)
			for _, m := range []struct{ send, answer string }{{ssl, "N"}, {gss, "N"}, {ssl, "E"}} {
				if _, err := conn.Write([]byte(m.send)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(conn, one); err != nil || string(one) != m.answer {
					t.Fatalf("got %q (%v), want %q", one, err, m.answer)
				}
			}
			continue
		}
		if got := exchange(t, addr, c.bytes); !strings.Contains(got, c.answer) || c.answer == "" && got != "" {
			t.Errorf("%s: got %q, want %q", c.name, got, c.answer)
		}
	}
	want(t, "honest client", connect(t, addr).query("select 1"), "columns ?column? 23; row 1; SELECT 1; ready I")
}

// TestHostileFrames: broken frames end the connection with a word, and what
// they announce is never allocated.
func TestHostileFrames(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, frame := range []string{"Q\x00\x00\x00\x00", "Q\x00\x00\x00\x03", "Q\x7f\xff\xff\xff", "Q\xff\xff\xff\xff", "Q\x80\x00\x00\x00", "S\x00\x01\x00\x00",
		"Q\x04\x00\x00\x05", "\x00\x00\x00\x00\x04", "GET / HTTP/1.1\r\n", "p\x00\x00\x00\x04"} {
		c := connect(t, addr)
		if _, err := c.conn.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		if got := c.until(); !strings.HasPrefix(got, "FATAL 08P01") || !strings.HasSuffix(got, "closed") {
			t.Errorf("%q: got %s", frame, got)
		}
	}
	// A message that is announced and never comes.
	var conns []*client
	for range 20 {
		c := connect(t, addr)
		if _, err := c.conn.Write([]byte("Q\x03\xff\xff\xff" + strings.Repeat("x", 10))); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	time.Sleep(20 * time.Millisecond)
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 20<<20 {
		t.Errorf("%d bytes were allocated for messages that never came", grown)
	}
	for _, c := range conns {
		c.conn.Close()
	}
}

// TestMemoryIsShared: large messages of all sessions have one bound; what does
// not fit is refused, and the connection goes on.
func TestMemoryIsShared(t *testing.T) {
	store := newMemStore(true)
	srv, addr := startServer(t, store, func(o *Options) { o.Memory = 1 << 20 })
	c := connect(t, addr)
	big := strings.Repeat("x", 2<<20)
	want(t, "query", c.query("insert into t(a) values ('"+big+"')"), "ERROR 53200 memory for messages is used up by other connections; ready I")
	want(t, "parse", c.send(parse("", "insert into t(a) values ('"+big+"')"), bind("", ""), syncMessage), "ERROR 53200 memory for messages is used up by other connections; ready I")
	want(t, "copy line", c.copyIn("copy t(a) from stdin", big+"\n"), "ERROR 53200 memory for messages is used up by other connections [COPY t]; ready I")
	want(t, "fits", c.query("insert into t(a) values ('"+big[:900<<10]+"')"), "INSERT 0 1; ready I")
	want(t, "fits again", c.query("insert into t(a) values ('"+big[:900<<10]+"')"), "INSERT 0 1; ready I")
	want(t, "empty", c.query(""), "empty; ready I")
	if free := srv.memory.Free(); free != 1<<20 {
		t.Errorf("%d bytes are free in the end, want all %d", free, 1<<20)
	}
}

// TestLargeValue: a value of many MiB comes through whole, in each way.
func TestLargeValue(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	big := strings.Repeat("é", 5<<20)
	want(t, "query", c.query("insert into t(a) values ('"+big+"')"), "INSERT 0 1; ready I")
	want(t, "bind", c.send(parse("", "insert into t(a) values ($1)"), bind("", "", big), execute(""), syncMessage), "parsed; bound; INSERT 0 1; ready I")
	want(t, "copy", c.copyIn("copy t(a) from stdin", big[:3<<20], big[3<<20:]+"\n"), "COPY 1; ready I")
	for i, r := range store.taken() {
		if r != "t(a)="+big {
			t.Errorf("value %d came through as %d bytes", i, len(r))
		}
	}
}

func TestStartTimeout(t *testing.T) {
	_, addr := startServer(t, newMemStore(true), func(o *Options) { o.StartupTimeout = 50 * time.Millisecond })
	for _, sent := range []string{"", "\x00\x00", "\x00\x00\x00\x20\x00\x03"} {
		if got := exchange(t, addr, sent); got != "" {
			t.Errorf("%q: got %q", sent, got)
		}
	}
	c := connect(t, addr)
	time.Sleep(100 * time.Millisecond)
	want(t, "a started session has no limit", c.query(""), "empty; ready I")
}

func TestTooManyConnections(t *testing.T) {
	srv, addr := startServer(t, newMemStore(true), func(o *Options) { o.Gate = gate.New(gate.Limits{Open: 2}) })
	a, b := connect(t, addr), connect(t, addr)
	_ = b
	conn := dial(t, addr)
	c := &client{t: t, conn: conn, fe: pgproto3.NewFrontend(conn, conn)}
	want(t, "third", c.send(&pgproto3.StartupMessage{ProtocolVersion: version3, Parameters: map[string]string{"user": "u"}}), "FATAL 53300 too many connections: 2 are open; closed")
	a.fe.Send(&pgproto3.Terminate{})
	want(t, "leaving", a.until(), "closed")
	for deadline := time.Now().Add(5 * time.Second); srv.Stats().Connections > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open, want 1", srv.Stats().Connections)
		}
	}
	connect(t, addr)
	if s := srv.Stats(); s.Refused != 1 || s.Accepted != 4 || s.Errors["53300"] != 1 {
		t.Errorf("stats are %+v", s)
	}
}

// TestCrowdStarting: connections that say nothing are bounded together with
// those of the other doors, and one that is beyond the bound is closed.
func TestCrowdStarting(t *testing.T) {
	srv, addr := startServer(t, newMemStore(true), func(o *Options) {
		o.Gate = gate.New(gate.Limits{Waiting: 4, Patience: time.Hour})
		for range 2 { // elsewhere
			o.Gate.Enter(netip.MustParseAddr("192.0.2.1"), func() {})
		}
	})
	for range 2 {
		dial(t, addr)
	}
	for deadline := time.Now().Add(5 * time.Second); srv.Stats().Connections < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open, want 2", srv.Stats().Connections)
		}
	}
	if got := exchange(t, addr, ""); got != "" || srv.Stats().Refused != 1 {
		t.Errorf("one beyond the bound got %q, %+v", got, srv.Stats())
	}
}

// TestCancel: a cancel request with the right key ends the wait for the disk,
// or for COPY's data, and nothing else.
func TestCancel(t *testing.T) {
	store := newMemStore(true)
	store.block, store.entered = make(chan struct{}), make(chan struct{}, 1)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	cancel := func(key uint32) {
		b := binary.BigEndian.AppendUint32(nil, 16)
		for _, n := range []uint32{codeCancel, c.pid, key} {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		exchange(t, addr, string(b))
	}
	cancel(c.key) // idle: means nothing
	c.fe.Send(&pgproto3.Query{String: "insert into t(a) values (1)"})
	if err := c.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	<-store.entered
	cancel(c.key + 1)
	cancel(c.key)
	want(t, "commit", c.until(), "ERROR 57014 canceling the wait for the disk due to user request; ready I")
	want(t, "copy", c.query("copy t(a) from stdin"), "copy in")
	time.Sleep(20 * time.Millisecond)
	cancel(c.key)
	want(t, "copy cancelled", c.until(), "ERROR 57014 canceling COPY due to user request; ready I")
	close(store.block)
	store.entered = nil
	want(t, "after", c.query("insert into t(a) values (2)"), "INSERT 0 1; ready I")
	want(t, "rows", strings.Join(store.taken(), ""), "t(a)=2")
}

// TestShutdown: idle sessions are told, a running statement ends well.
func TestShutdown(t *testing.T) {
	store := newMemStore(true)
	store.block, store.entered = make(chan struct{}), make(chan struct{}, 1)
	srv, addr := startServer(t, store)
	idler, inBlock, busy := connect(t, addr), connect(t, addr), connect(t, addr)
	half := dial(t, addr)
	inBlock.query("begin; insert into t(a) values (1)")
	busy.fe.Send(&pgproto3.Query{String: "insert into t(a) values (2)"})
	if err := busy.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	<-store.entered
	for srv.Stats().Connections < 4 { // what is not accepted when the listener closes is reset by the system
		time.Sleep(time.Millisecond)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	gone := "FATAL 57P01 terminating connection because the server is stopping; closed"
	want(t, "idle", idler.until(), gone)
	want(t, "in a block", inBlock.until(), gone)
	if b, err := io.ReadAll(half); err != nil || len(b) > 0 {
		t.Errorf("a half-open connection got %q, %v", b, err)
	}
	close(store.block)
	want(t, "busy", busy.until(), "INSERT 0 1; ready I")
	want(t, "busy, then", busy.until(), gone)
	for _, c := range []*client{idler, inBlock, busy} {
		c.conn.Close()
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	want(t, "rows", strings.Join(store.taken(), ""), "t(a)=2")
	if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		t.Error("the listener still accepts")
	}
}

// TestShutdownByForce: a wait that does not end is ended when time is up, and
// not taken for success.
func TestShutdownByForce(t *testing.T) {
	store := newMemStore(true)
	store.block, store.entered = make(chan struct{}), make(chan struct{}, 1)
	srv, addr := startServer(t, store)
	c := connect(t, addr)
	c.fe.Send(&pgproto3.Query{String: "insert into t(a) values (2)"})
	if err := c.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	<-store.entered
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown returned %v", err)
	}
	if got := c.until(); strings.Contains(got, "INSERT") {
		t.Errorf("got %s", got)
	}
}

// panicky panics where a bug would.
type panicky struct{ *memStore }

func (p panicky) Schema(string, []row.Column) (*row.Schema, error) { panic("a bug") }

func TestPanic(t *testing.T) {
	var log strings.Builder
	_, addr := startServer(t, panicky{newMemStore(true)}, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	c := connect(t, addr)
	want(t, "panic", c.query("insert into t(a) values (1)"), "FATAL XX000 internal error; closed")
	if !strings.Contains(log.String(), "a bug") {
		t.Errorf("the log has %q", log.String())
	}
	want(t, "others go on", connect(t, addr).query("select 1"), "columns ?column? 23; row 1; SELECT 1; ready I")
}

// TestLeavingEarly: a client that goes away takes its open transaction with it.
func TestLeavingEarly(t *testing.T) {
	store := newMemStore(true)
	srv, addr := startServer(t, store)
	c := connect(t, addr)
	c.query("begin; insert into t(a) values (1)")
	c.conn.Close()
	for deadline := time.Now().Add(5 * time.Second); srv.Stats().Connections > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the session does not end")
		}
	}
	if len(store.rows) > 0 {
		t.Errorf("rows of an open transaction were stored: %v", store.rows)
	}
}

// TestIdleMemory: a connection that has nothing to do holds little, also
// after it had much to do.
func TestIdleMemory(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	const n = 100
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var cs []*client
	for range n {
		c := connect(t, addr)
		c.query("insert into t(a) values ('" + strings.Repeat("x'''", 100_000) + "')x")
		c.fe = nil
		cs = append(cs, c)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / n
	t.Logf("%d bytes for each idle connection, the test's own end included", per)
	if per > 64<<10 {
		t.Errorf("an idle connection holds %d bytes, want at most 64 KiB", per)
	}
	runtime.KeepAlive(cs)
}

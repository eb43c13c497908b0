package pgwire

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestStalledClients: who begins a message and does not end it, and who takes no
// answers, is cut off; who is silent between messages is not.
func TestStalledClients(t *testing.T) {
	srv, addr := startServer(t, newMemStore(true), func(o *Options) { o.Stalled = 50 * time.Millisecond })
	silent := connect(t, addr)
	half := connect(t, addr)
	if _, err := half.conn.Write(binary.BigEndian.AppendUint32([]byte("Q"), 1000)); err != nil {
		t.Fatal(err)
	}
	want(t, "half a message", half.until(), "FATAL 08006 a message of 996 bytes did not come within 65.197753ms; closed")

	deaf := connect(t, addr)
	question := []byte("Q\x00\x00\x00\x15select version()\x00")
	many := []byte(strings.Repeat(string(question), 1000))
	deadline := time.Now().Add(time.Minute)
	if err := deaf.conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = deaf.conn.Write(many)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("who takes no answers is asked for more for ever")
	}
	waitFor(t, func() bool { return srv.Stats().Connections == 1 })
	time.Sleep(200 * time.Millisecond) // longer than anybody may stall
	want(t, "silent", silent.query("select 1"), "columns ?column? 23; row 1; SELECT 1; ready I")
}

// TestAnnouncedOnly: who announces large messages takes no memory from who sends
// them.
func TestAnnouncedOnly(t *testing.T) {
	store := newMemStore(true)
	srv, addr := startServer(t, store, func(o *Options) { o.Memory = 8 << 20 })
	for range 20 {
		c := connect(t, addr)
		if _, err := c.conn.Write(append(binary.BigEndian.AppendUint32([]byte("Q"), 64<<20), "insert"...)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return srv.Clients()[len(srv.Clients())-1].State == "active" })
	}
	c := connect(t, addr)
	want(t, "four MiB among them", c.query("insert into t(a) values ('"+strings.Repeat("x", 4<<20)+"')"), "INSERT 0 1; ready I")
	want(t, "too much", c.query("insert into t(a) values ('"+strings.Repeat("x", 9<<20)+"')"), "ERROR 53200 memory for messages is used up by other connections; ready I")
	want(t, "afterwards", c.query("insert into t(a) values ('x')"), "INSERT 0 1; ready I")
}

// TestSlowButSteady: a large message may take longer than a small one.
func TestSlowButSteady(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store, func(o *Options) { o.Stalled = 300 * time.Millisecond })
	c := connect(t, addr)
	sql := "insert into t(a) values ('" + strings.Repeat("x", 128<<10) + "')\x00"
	message := append(binary.BigEndian.AppendUint32([]byte("Q"), uint32(len(sql)+4)), sql...)
	for len(message) > 0 { // for half a second
		n := min(len(message), 16<<10)
		if _, err := c.conn.Write(message[:n]); err != nil {
			t.Fatal(err)
		}
		message = message[n:]
		time.Sleep(60 * time.Millisecond)
	}
	want(t, "slow but steady", c.until(), "INSERT 0 1; ready I")
}

// TestStalledStart: whoever trickles through the start-up is cut off when its
// time is over, however steadily bytes come.
func TestStalledStart(t *testing.T) {
	_, addr := startServer(t, newMemStore(true), func(o *Options) { o.StartupTimeout = 300 * time.Millisecond })
	conn := dial(t, addr)
	go func() {
		for _, b := range strings.Repeat("\x00", 3) + "\x64" + strings.Repeat("\x00\x03", 100) {
			if _, err := conn.Write([]byte{byte(b)}); err != nil {
				return // as it must end
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	began := time.Now()
	_, err := io.Copy(io.Discard, conn)
	if e, ok := err.(net.Error); ok && e.Timeout() || time.Since(began) > 15*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

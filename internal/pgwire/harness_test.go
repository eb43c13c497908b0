package pgwire

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixedNow is what the clock of every test shows.
var fixedNow = time.Date(2026, 11, 21, 0, 4, 56, 789_000_000, time.UTC)

func fixedClock() time.Time { return fixedNow }

// startServer serves store until the test ends, and returns its address.
func startServer(t testing.TB, store Store, change ...func(*Options)) (*Server, string) {
	t.Helper()
	o := Options{Store: store, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return fixedNow }}
	for _, c := range change {
		c(&o)
	}
	srv := New(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx) // tests that leave statements open are closed here
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return srv, ln.Addr().String()
}

// client speaks in raw frames.
type client struct {
	t    testing.TB
	conn net.Conn
	fe   *pgproto3.Frontend
	pid  uint32
	key  uint32
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// connect starts a session; params are name, value, name, value.
func connect(t testing.TB, addr string, params ...string) *client {
	t.Helper()
	c := &client{t: t, conn: dial(t, addr)}
	c.fe = pgproto3.NewFrontend(c.conn, c.conn)
	m := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "tester"}}
	for i := 0; i < len(params); i += 2 {
		m.Parameters[params[i]] = params[i+1]
	}
	c.fe.Send(m)
	got := c.until()
	if !strings.HasSuffix(got, "ready I") {
		t.Fatalf("start-up answered %q", got)
	}
	return c
}

// until flushes and returns everything up to ReadyForQuery, or the end of the
// connection, one word or two for each message.
func (c *client) until() string {
	c.t.Helper()
	if err := c.fe.Flush(); err != nil {
		return "closed"
	}
	var out []string
	for {
		m, err := c.fe.Receive()
		if err != nil {
			return strings.Join(append(out, "closed"), "; ")
		}
		text := c.tell(m)
		if text != "" {
			out = append(out, text)
		}
		if strings.HasPrefix(text, "ready") || text == "copy in" {
			return strings.Join(out, "; ")
		}
	}
}

func (c *client) tell(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.ReadyForQuery:
		return "ready " + string(m.TxStatus)
	case *pgproto3.CommandComplete:
		return string(m.CommandTag)
	case *pgproto3.ErrorResponse:
		s := m.Severity + " " + m.Code
		if m.Position > 0 {
			s += fmt.Sprintf(" at %d", m.Position)
		}
		return s + " " + m.Message + ctxText(m.Where)
	case *pgproto3.NoticeResponse:
		return m.Severity + " " + m.Code + " " + m.Message
	case *pgproto3.EmptyQueryResponse:
		return "empty"
	case *pgproto3.ParseComplete:
		return "parsed"
	case *pgproto3.BindComplete:
		return "bound"
	case *pgproto3.CloseComplete:
		return "closed it"
	case *pgproto3.NoData:
		return "no data"
	case *pgproto3.CopyInResponse:
		return "copy in"
	case *pgproto3.ParameterDescription:
		return fmt.Sprint("parameters ", m.ParameterOIDs)
	case *pgproto3.RowDescription:
		var f []string
		for _, d := range m.Fields {
			f = append(f, fmt.Sprintf("%s %d", d.Name, d.DataTypeOID))
		}
		return "columns " + strings.Join(f, ", ")
	case *pgproto3.DataRow:
		var f []string
		for _, v := range m.Values {
			if v == nil {
				f = append(f, "NULL")
			} else {
				f = append(f, string(v))
			}
		}
		return "row " + strings.Join(f, "|")
	case *pgproto3.ParameterStatus:
		return "set " + m.Name + "=" + m.Value
	case *pgproto3.BackendKeyData:
		c.pid, c.key = m.ProcessID, binary.BigEndian.Uint32(m.SecretKey)
		return ""
	case *pgproto3.AuthenticationOk:
		return "welcome"
	case *pgproto3.NegotiateProtocolVersion:
		return fmt.Sprint("negotiate ", m.NewestMinorProtocol, m.UnrecognizedOptions)
	}
	return fmt.Sprintf("%T", m)
}

func ctxText(where string) string {
	if where == "" {
		return ""
	}
	return " [" + where + "]"
}

// query sends one simple query.
func (c *client) query(sql string) string {
	c.t.Helper()
	c.fe.Send(&pgproto3.Query{String: sql})
	return c.until()
}

func want(t testing.TB, what, got, wanted string) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s:\n got  %s\n want %s", what, got, wanted)
	}
}

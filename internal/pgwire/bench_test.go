package pgwire

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/row"
)

// nullStore resolves names and forgets rows, so that only the wire is measured.
type nullStore struct{ *memStore }

type nullTx struct{ rows int }

func (n nullStore) Begin() Tx                            { return new(nullTx) }
func (tx *nullTx) Insert(*row.Schema, []row.Value) error { tx.rows++; return nil }
func (tx *nullTx) Treat(*time.Location, bool)            {}
func (tx *nullTx) Rows() int                             { return tx.rows }
func (tx *nullTx) Commit(context.Context, bool) error    { tx.rows = 0; return nil }
func (tx *nullTx) RollbackTo(rows int) error             { tx.rows = rows; return nil }

// loop is a connection that sends the same bytes for ever and drops what it
// is answered.
type loop struct {
	bytes []byte
	at    int
	left  int // how often bytes are sent; then io.EOF
}

func (l *loop) Read(b []byte) (int, error) {
	if l.at == 0 {
		if l.left == 0 {
			return 0, io.EOF
		}
		l.left--
	}
	n := copy(b, l.bytes[l.at:])
	l.at = (l.at + n) % len(l.bytes)
	return n, nil
}
func (l *loop) Write(b []byte) (int, error)      { return len(b), nil }
func (l *loop) Close() error                     { return nil }
func (l *loop) LocalAddr() net.Addr              { return nil }
func (l *loop) RemoteAddr() net.Addr             { return nil }
func (l *loop) SetDeadline(time.Time) error      { return nil }
func (l *loop) SetReadDeadline(time.Time) error  { return nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }

// insertText is a single-row INSERT of ten columns and about 200 bytes of values.
var insertText = "insert into acc (method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,src_ip,ua) values " +
	"('INVITE','24202SIPpTag0012','23617SIPpTag0112','12-24202@127.0.0.1','200','OK','2026-11-20 23:47:52','dave','127.0.0.1','sipp/3.6 plain')"

func frame(kind byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

func encode(t testing.TB, ms ...pgproto3.FrontendMessage) []byte {
	t.Helper()
	var b []byte
	for _, m := range ms {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// workloads are what a client repeats; prepare is sent once before.
func workloads(t testing.TB) []struct {
	name            string
	prepare, repeat []byte
	rows            int
} {
	params := make([]string, 10)
	for i := range params {
		params[i] = strings.Repeat("v", 20)
	}
	placeholders := "$1,$2,$3,$4,$5,$6,$7,$8,$9,$10"
	text := "insert into acc (method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,src_ip,ua) values (" + placeholders + ")"
	var many strings.Builder
	many.WriteString(insertText)
	for range 99 {
		many.WriteString(insertText[strings.Index(insertText, "values")+6:])
		many.WriteString("")
	}
	multi := strings.ReplaceAll(many.String(), ") (", "), (")
	copied := encode(t, &pgproto3.Query{String: "copy acc (a,b,c,d,e,f,g,h,i,j) from stdin"})
	line := strings.Join(params, "\t") + "\n"
	for range 1000 {
		copied = append(copied, frame('d', line)...)
	}
	copied = append(copied, frame('c', "")...)
	return []struct {
		name            string
		prepare, repeat []byte
		rows            int
	}{
		{"simple", nil, frame('Q', insertText+"\x00"), 1},
		{"simple of 100", nil, frame('Q', multi+"\x00"), 100},
		{"prepared", encode(t, parse("s", text), syncMessage), encode(t, bind("", "s", params...), describe('P', ""), execute(""), syncMessage), 1},
		{"unnamed", nil, encode(t, parse("", text), bind("", "", params...), describe('P', ""), execute(""), syncMessage), 1},
		{"copy of 1000", nil, copied, 1000},
	}
}

// TestAllocations: a single-row INSERT that comes again allocates nothing.
func TestAllocations(t *testing.T) {
	for _, w := range workloads(t) {
		store := nullStore{newMemStore(true)}
		srv := New(Options{Store: store})
		feed := &loop{bytes: w.repeat}
		s := newSession(srv, feed)
		if w.prepare != nil {
			prepare := &loop{bytes: w.prepare, left: 1}
			s.in.r = prepare
			if err := s.serve(); err != io.EOF {
				t.Fatal(err)
			}
		}
		s.in.r = feed
		run := func() {
			feed.left = 1
			if err := s.serve(); err != io.EOF {
				t.Fatal(err)
			}
		}
		run()
		if codes := srv.Stats().Errors; len(codes) > 0 {
			t.Fatalf("%s: errors %v", w.name, codes)
		}
		n := testing.AllocsPerRun(200, run) / float64(w.rows)
		t.Logf("%s: %g allocations per row", w.name, n)
		if n > 0.2 {
			t.Errorf("%s: %g allocations per row, want none", w.name, n)
		}
		s.cancel()
	}
}

// BenchmarkSession measures the wire without a socket and without a store.
func BenchmarkSession(b *testing.B) {
	for _, w := range workloads(b) {
		b.Run(strings.ReplaceAll(w.name, " ", "_"), func(b *testing.B) {
			srv := New(Options{Store: nullStore{newMemStore(true)}})
			s := newSession(srv, &loop{})
			defer s.cancel()
			s.in.r = io.MultiReader(bytes.NewReader(w.prepare), &loop{bytes: w.repeat, left: max(1, b.N/w.rows)})
			b.ReportAllocs()
			if err := s.serve(); err != io.EOF {
				b.Fatal(err)
			}
			if codes := srv.Stats().Errors; len(codes) > 0 {
				b.Fatalf("errors %v", codes)
			}
		})
	}
}

// BenchmarkSocket measures the wire with sockets and clients that wait for
// each answer.
func BenchmarkSocket(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			_, addr := startServer(b, nullStore{newMemStore(true)})
			message := frame('Q', insertText+"\x00")
			answer := make([]byte, len("Cxxxx")+len("INSERT 0 1\x00")+len("ZxxxxI"))
			done := make(chan error, clients)
			var cs []*client
			for range clients {
				cs = append(cs, connect(b, addr))
			}
			b.ResetTimer()
			for i := range clients {
				go func() {
					var err error
					for j := i; j < b.N && err == nil; j += clients {
						if _, err = cs[i].conn.Write(message); err == nil {
							_, err = io.ReadFull(cs[i].conn, answer)
						}
					}
					done <- err
				}()
			}
			for range clients {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

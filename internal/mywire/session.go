package mywire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/fault"
	"holdfast/internal/gate"
	"holdfast/internal/peer"
	"holdfast/row"
)

// session is one connection. Its own goroutine owns it, but for the fields
// under "shared".
type session struct {
	srv   *Server
	conn  net.Conn // the connection itself, which others may set deadlines of and close
	in    *packets
	guest *gate.Guest
	from  netip.Addr
	id    uint32
	since time.Time // it was accepted

	capabilities uint32
	secured      bool   // by TLS
	certificate  string // common name of the client's, which was verified
	user         string
	database     string
	who          auth.Who
	by           *auth.Policy // what the last check found, so that each row costs little
	to           *row.Schema

	zone       *time.Location
	zoneName   string
	autocommit bool
	block      bool // START TRANSACTION
	readOnly   bool // of the block
	tx         Tx   // nil until the first row
	points     []point

	statements map[uint32]*prepared
	lastStmt   uint32
	held       int // bytes of their texts and of long data

	now    time.Time // of the statement
	rowBuf rowBuffer

	// shared
	waiting   atomic.Bool           // for the next command
	seen      atomic.Pointer[shown] // nil during the login
	committed atomic.Uint64         // rows
}

func newSession(srv *Server, conn net.Conn) *session {
	s := &session{srv: srv, conn: conn, since: time.Now(), from: peer.Of(conn), in: newPackets(conn, srv.memory)}
	s.reset()
	s.waiting.Store(true) // the login is a wait, which a stop may end
	return s
}

// reset makes the session as it was after the login.
func (s *session) reset() {
	s.zone, s.zoneName, s.autocommit = s.srv.o.Zone, "SYSTEM", true
	s.block, s.readOnly, s.points = false, false, nil
	s.statements, s.held = make(map[uint32]*prepared), 0
}

// errClosed ends the session without a word.
var errClosed = errors.New("client has closed the connection")

var errStopping = fault.New(fault.AdminShutdown, "server shutdown in progress").
	WithHint("connect again; what was not committed is not stored")

// serve runs the session and returns what to say as a last word.
func (s *session) serve() error {
	defer s.rollback()
	if err := s.conn.SetDeadline(time.Now().Add(s.srv.o.StartupTimeout)); err != nil {
		return errClosed
	}
	if err := s.login(); err != nil {
		return err
	}
	if err := s.conn.SetDeadline(time.Time{}); err != nil {
		return errClosed
	}
	s.in.limit = maxPacket
	s.expose()
	for {
		s.tidy()
		s.in.seq = 0
		body, err := s.command()
		switch {
		case errors.Is(err, errNoMemory):
			s.fail(err)
		case err != nil:
			return err
		default:
			if err := s.handle(body); err != nil {
				return err
			}
		}
		if err := s.flush(); err != nil {
			return errClosed
		}
	}
}

// command waits for the next packet. The wait ends when the server stops.
func (s *session) command() ([]byte, error) {
	s.waiting.Store(true)
	if s.srv.stopping.Load() {
		return nil, errStopping
	}
	_, err := s.in.r.Peek(1)
	s.waiting.Store(false)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && s.srv.stopping.Load() {
			return nil, errStopping
		}
		return nil, errClosed
	}
	if s.in.r.Buffered() < packetHeader {
		if err := s.conn.SetReadDeadline(time.Now().Add(s.timeFor(0))); err != nil {
			return nil, errClosed
		}
	}
	n, err := s.in.header()
	if err != nil {
		return nil, s.ended(err, 0)
	}
	if s.in.r.Buffered() < n {
		if err := s.conn.SetReadDeadline(time.Now().Add(s.timeFor(n))); err != nil {
			return nil, errClosed
		}
	}
	body, err := s.in.body(n)
	if err == nil || errors.Is(err, errNoMemory) {
		if e := s.conn.SetReadDeadline(time.Time{}); e != nil {
			return nil, errClosed
		}
	}
	return body, s.ended(err, n)
}

// ended turns an error of reading into what the client is told.
func (s *session) ended(err error, n int) error {
	switch {
	case err == nil, fault.Code(err) != "":
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.ConnectionFailure, "a packet of %d bytes did not come within %v", n, s.timeFor(n)).
			WithHint("limits.stalled says how long it may take")
	}
	return errClosed
}

// slowest is how many bytes a second a client must send and take of a packet,
// once the time for a small one is used up.
const slowest = 64 << 10

func (s *session) timeFor(n int) time.Duration {
	return s.srv.o.Stalled + time.Duration(n)*time.Second/slowest
}

func (s *session) flush() error {
	if len(s.in.out) == 0 {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeFor(len(s.in.out)))); err != nil {
		return err
	}
	return s.in.flush()
}

// tidy gives back what one large packet made the session hold.
func (s *session) tidy() {
	s.in.shrink()
	s.rowBuf.shrink()
}

const lingering = 500 * time.Millisecond

// lastWord tells the client why the connection ends, where that is for it to
// know.
func (s *session) lastWord(err error) {
	var f *fault.Error
	var r *refusal
	if !errors.As(err, &f) && !errors.As(err, &r) {
		return
	}
	// The time to say it is short, and a client that still sends must not lose
	// the packet to a reset.
	if s.conn.SetDeadline(time.Now().Add(lingering)) != nil {
		return
	}
	s.fail(err)
	if s.in.flush() != nil {
		return
	}
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, s.conn, 1<<20) // until the client closes, or the time is up
	}
}

// insert adds a row to the transaction.
func (s *session) insert(schema *row.Schema, values []row.Value, yields bool) error {
	p := s.srv.o.Access.Policy()
	if s.by != p || s.to != schema { // a grant that has gone ends a prepared statement as well
		if err := p.Allow(s.who, schema.Table); err != nil {
			return err
		}
		s.by, s.to = p, schema
	}
	if s.tx == nil {
		s.tx = s.srv.o.Store.Begin()
	}
	s.tx.Treat(s.zone, yields)
	return s.tx.Insert(schema, values)
}

// rows returns how many rows the transaction has.
func (s *session) rows() int {
	if s.tx == nil {
		return 0
	}
	return s.tx.Rows()
}

// commit makes the transaction's rows durable, or returns why it is not known
// to have done so. Either way the transaction is over.
func (s *session) commit() error {
	s.block, s.readOnly, s.points = false, false, nil
	rows := s.rows()
	if rows == 0 {
		return nil
	}
	err := s.tx.Commit(s.srv.base, true)
	if err == nil {
		s.srv.stats.rows.Add(uint64(rows))
		s.committed.Add(uint64(rows))
		return nil
	}
	s.rollback()
	if errors.Is(err, context.Canceled) {
		return fault.New(fault.AdminShutdown, "the server stopped while it waited for the disk").
			WithHint("whether the %d rows are stored is not known: they may become durable all the same", rows)
	}
	return err
}

// rollback drops the transaction's rows and ends it.
func (s *session) rollback() {
	s.block, s.readOnly, s.points = false, false, nil
	if s.tx != nil {
		_ = s.tx.RollbackTo(0) // it does not fail
	}
}

// inTransaction tells whether a COMMIT is due.
func (s *session) inTransaction() bool { return s.block || !s.autocommit && s.rows() > 0 }

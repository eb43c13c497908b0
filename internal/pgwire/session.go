package pgwire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/gate"
	"holdfast/internal/peer"
	"holdfast/row"
)

// txState is the transaction's state, as ReadyForQuery sends it.
type txState byte

const (
	idle    txState = 'I'
	inBlock txState = 'T'
	failed  txState = 'E'
)

// session is one connection after its start-up. Its own goroutine owns it, but
// for the fields under "shared".
type session struct {
	srv  *Server
	conn net.Conn      // the connection itself, which others may set deadlines of and close
	line io.ReadWriter // what is spoken on: conn, or TLS over it
	in   *frames
	identity

	out       []byte
	unsettled int       // where in out the answers of the implicit transaction begin; -1: none
	broken    error     // what ended writing
	rearm     time.Time // when the deadline for writing is set again

	state    txState
	readOnly bool
	tx       Tx // nil until the first row
	began    time.Time
	points   []point // savepoints of the block, the oldest first

	settings  settings
	database  string
	user      string
	onConsole bool // see enterConsole

	targets targets
	parser  valueParser
	values  []row.Value
	yields  bool // the rows of this statement do
	text    []byte

	prepared map[string]*prepared // named ones
	held     int                  // bytes that they take
	unnamed  *prepared
	portals  map[string]*portal // named ones
	portal   portal             // the unnamed one
	skipping bool               // an error was sent; everything up to Sync is skipped
	piped    bool               // extended messages came since the last Sync

	// shared
	seen      visible
	pid, key  uint32
	since     time.Time  // when it was accepted
	from      netip.Addr // the client's; the zero one where it has none
	guest     *gate.Guest
	waiting   atomic.Bool // for the next statement; nothing is open but perhaps a block
	cancelled atomic.Bool
	mu        sync.Mutex
	copying   bool            // guarded by mu
	ctx       context.Context // of the current wait; replaced after a cancel
	cancel    context.CancelFunc
}

func newSession(srv *Server, conn net.Conn) *session {
	s := &session{srv: srv, conn: conn, line: conn, in: newFrames(conn, srv.memory), state: idle, unsettled: -1, since: time.Now(), from: peer.Of(conn)}
	s.settings.init()
	s.waiting.Store(true) // the start-up is a wait, which a stop may end
	s.ctx, s.cancel = context.WithCancel(srv.base)
	return s
}

// errClosed ends the session without a word.
var errClosed = errors.New("client has closed the connection")

// serve reads messages until the client leaves, the server stops, or the
// protocol is broken. It returns what to say as a last word.
func (s *session) serve() error {
	defer s.rollback()
	for {
		s.tidy()
		kind, n, err := s.nextMessage()
		if err != nil {
			return err
		}
		if kind == 'd' {
			// Left over from a COPY that has failed already.
			if err := s.in.discard(n); err != nil {
				return err
			}
			continue
		}
		body, err := s.whole(n)
		if err == nil {
			err = s.handle(kind, body)
		} else if errors.Is(err, errTooLarge) {
			err = s.reject(kind, err)
		}
		if err != nil {
			return err
		}
		if len(s.out) >= flushAt {
			if err := s.flush(); err != nil {
				return errClosed
			}
		}
	}
}

// nextMessage waits for a message. Between statements the wait ends when the
// server stops.
func (s *session) nextMessage() (byte, int, error) {
	if !s.piped && !s.skipping {
		s.waiting.Store(true)
		if s.srv.stopping.Load() {
			return 0, 0, errStopping
		}
		defer s.waiting.Store(false)
	}
	kind, n, err := s.in.next()
	if errors.Is(err, os.ErrDeadlineExceeded) && s.srv.stopping.Load() {
		err = errStopping
	}
	return kind, n, err
}

var errStopping = fault.New(fault.AdminShutdown, "terminating connection because the server is stopping").
	WithHint("connect again; what was not committed is not stored")

// tidy gives back what one large message made the session hold, and makes a
// new wait where the last one was cancelled.
func (s *session) tidy() {
	if s.in.shrink() { // and nothing may point into the buffer given back
		s.values, s.parser = nil, valueParser{}
	}
	if cap(s.text) > bufferKept {
		s.text = nil
	}
	if cap(s.settings.text.text) > bufferKept {
		s.settings.text.text, s.parser.src = nil, nil
	}
	if cap(s.parser.scratch) > bufferKept {
		s.parser.scratch = nil
	}
	if s.cancelled.Load() {
		s.mu.Lock()
		s.cancelled.Store(false)
		s.cancel()
		s.ctx, s.cancel = context.WithCancel(s.srv.base)
		s.mu.Unlock()
	}
}

// cancelWait ends what the session waits for: a commit, or COPY's next data.
// It is called from another connection's goroutine.
func (s *session) cancelWait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting.Load() {
		return
	}
	s.cancelled.Store(true)
	s.cancel()
	if s.copying {
		s.conn.SetReadDeadline(time.Unix(1, 0)) // an error means that the connection is gone anyway
	}
}

// handle runs one message. What it returns ends the session.
func (s *session) handle(kind byte, body []byte) error {
	if s.skipping && kind != 'S' && kind != 'X' {
		return nil
	}
	switch kind {
	case 'Q':
		return s.query(body)
	case 'S':
		return s.sync()
	case 'X':
		return errClosed
	case 'H':
		if s.flush() != nil {
			return errClosed
		}
		return nil
	case 'c', 'f':
		return nil // left over from a COPY that has failed already
	case 'p':
		return fault.New(fault.ProtocolViolation, "password message is not expected")
	case 'F':
		return s.reject(kind, fault.New(fault.FeatureNotSupported, "function calls are not taken").WithHint("%s", insertOnly))
	}
	s.piped = true
	if err := s.extended(kind, body); err != nil {
		s.skipping = true
		s.fail(err)
	}
	return nil
}

// reject answers a message that is not run.
func (s *session) reject(kind byte, err error) error {
	if s.skipping {
		return nil
	}
	s.fail(err)
	if kind == 'Q' || kind == 'F' {
		return s.readyNow()
	}
	s.piped, s.skipping = true, true
	return nil
}

// readyNow ends what came since the last ReadyForQuery with another one.
func (s *session) readyNow() error {
	s.skipping, s.piped = false, false
	s.ready()
	if s.flush() != nil {
		return errClosed
	}
	return nil
}

// fail reports err and takes back the transaction's rows: an implicit
// transaction ends, a block waits for its ROLLBACK.
func (s *session) fail(err error) {
	s.report("ERROR", err)
	if s.state == idle {
		s.endTx(false)
	} else {
		_ = s.backToPoint() // its error comes again with ROLLBACK TO
		s.state = failed
	}
}

// sync ends a pipeline, and commits its implicit transaction.
func (s *session) sync() error {
	if s.state == idle {
		if s.skipping {
			s.endTx(false)
		} else {
			s.settle()
		}
	}
	return s.readyNow()
}

// settle commits the implicit transaction.
func (s *session) settle() {
	err := s.commit()
	if err != nil {
		s.report("ERROR", err)
	}
	s.endTx(err == nil)
}

// insert adds a row to the transaction.
func (s *session) insert(schema *row.Schema, values []row.Value) error {
	if err := s.allowed(schema); err != nil {
		return err
	}
	if s.tx == nil {
		s.tx = s.srv.store.Begin()
	}
	s.tx.Treat(s.settings.zone, s.yields)
	return s.tx.Insert(schema, values)
}

// commit makes the transaction's rows durable, or returns why it is not known
// to have done so. Then answers of an implicit transaction which were not sent
// yet are withdrawn.
func (s *session) commit() error {
	if s.tx == nil {
		return nil
	}
	rows := s.tx.Rows()
	if rows == 0 {
		return nil
	}
	err := s.tx.Commit(s.ctx, !s.settings.async)
	if err == nil {
		s.srv.stats.rows.Add(uint64(rows))
		s.seen.rows.Add(uint64(rows))
		return nil
	}
	s.rollback()
	if s.unsettled >= 0 {
		s.out = s.out[:s.unsettled]
	}
	if !errors.Is(err, context.Canceled) {
		return err
	}
	if s.cancelled.Load() {
		return fault.New(fault.QueryCanceled, "canceling the wait for the disk due to user request").
			WithHint("whether the %d rows are stored is not known: they may become durable all the same", rows)
	}
	return fault.New(fault.AdminShutdown, "the server stopped while it waited for the disk").
		WithHint("whether the %d rows are stored is not known: they may become durable all the same", rows)
}

func (s *session) rollback() {
	if s.tx != nil {
		_ = s.tx.RollbackTo(0) // it does not fail
	}
}

// endTx forgets everything that ends with a transaction.
func (s *session) endTx(committed bool) {
	if !committed {
		s.rollback()
	}
	s.state, s.readOnly, s.began, s.unsettled = idle, false, time.Time{}, -1
	for _, name := range s.settings.endTx(committed) {
		s.parameter(name)
	}
	clear(s.portals)
	s.portal.open = false
	if s.points != nil {
		s.forgetPoints()
	}
}

// moment returns the time that the clock shows to SQL: the transaction's first
// reading, or a fresh one.
func (s *session) moment(fresh bool) time.Time {
	now := s.srv.now()
	if fresh {
		return now.In(s.settings.zone)
	}
	if s.began.IsZero() {
		s.began = now
	}
	return s.began.In(s.settings.zone)
}

package pgwire

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/fault"
	"holdfast/internal/gate"
)

// Options configure a Server. The zero value of everything but Store works.
type Options struct {
	// Store takes the rows. It must be set.
	Store Store
	// Logger gets what no client can be told; nil: nothing is logged.
	Logger *slog.Logger
	// Gate bounds the connections, those of other doors included; nil: one of
	// its own. Connections beyond its bounds are refused with 53300.
	Gate *gate.Gate
	// Memory is how many bytes all sessions together may hold in messages and
	// COPY lines above 64 KiB; 0: 128 MiB. What does not fit is refused with
	// 53200.
	Memory int64
	// StartupTimeout is the time from accepting a connection to its first
	// statement; 0: 10 seconds.
	StartupTimeout time.Duration
	// Access says who may connect and write to what; nil: everybody, everything.
	Access *auth.Guard
	// TLS returns how a connection is encrypted, and its channel binding
	// tls-server-end-point, nil where there is none. It is asked for each
	// connection. nil: none is encrypted.
	TLS func() (config *tls.Config, binding []byte)
	// Stalled is how long a client may take for a message that it has begun, or
	// to take an answer; both have a second more for each 64 KiB. 0: one minute.
	Stalled time.Duration
	// Now is the clock that now() shows; nil: time.Now.
	Now func() time.Time
	// Zone is the TimeZone that sessions begin with; "": UTC. It must be a name
	// that SET TimeZone takes.
	Zone string
	// TableVersion answers "select table_version from version where
	// table_name='...'", which Kamailio asks; nil: no table has one.
	TableVersion func(table string) (version int, ok bool)
	// Console answers on the database ConsoleDatabase; nil: that is a database
	// like any other.
	Console Console
}

// Server speaks to any number of clients. Its methods are safe for concurrent
// use.
type Server struct {
	store     Store
	log       *slog.Logger
	gate      *gate.Gate
	startup   time.Duration
	stalled   time.Duration
	now       func() time.Time
	zone      string
	versionOf func(table string) (int, bool)
	access    *auth.Guard
	tls       func() (*tls.Config, []byte)
	console   Console
	memory    *gate.Memory
	stats     counters

	base     context.Context // of every wait
	abort    context.CancelFunc
	stopping atomic.Bool
	wg       sync.WaitGroup // sessions

	mu        sync.Mutex
	listeners map[net.Listener]bool
	conns     map[*session]bool
	byPID     map[uint32]*session // those that have started
	lastPID   uint32
}

// New returns a Server that appends to o.Store.
func New(o Options) *Server {
	s := &Server{
		store: o.Store, log: o.Logger, gate: o.Gate, startup: o.StartupTimeout, now: o.Now, zone: o.Zone, versionOf: o.TableVersion,
		access: o.Access, tls: o.TLS, stalled: o.Stalled, console: o.Console,
		listeners: make(map[net.Listener]bool), conns: make(map[*session]bool), byPID: make(map[uint32]*session),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.access == nil {
		s.access = new(auth.Guard)
	}
	if s.gate == nil {
		s.gate = gate.New(gate.Limits{})
	}
	if s.stalled <= 0 {
		s.stalled = time.Minute
	}
	if s.startup <= 0 {
		s.startup = 10 * time.Second
	}
	if s.now == nil {
		s.now = time.Now
	}
	if o.Memory <= 0 {
		o.Memory = 128 << 20
	}
	s.memory = gate.NewMemory(o.Memory)
	s.base, s.abort = context.WithCancel(context.Background())
	return s
}

// Serve accepts connections from ln until Shutdown is called, which makes it
// return nil, or until ctx ends, which closes every connection at once. It
// closes ln, and returns when the sessions have ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.mu.Lock()
	s.listeners[ln] = true
	s.mu.Unlock()
	defer context.AfterFunc(ctx, s.closeAll)()
	err := gate.Accept(ln, s.stopping.Load, s.log, s.open)
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	err = errors.Join(err, closed(ln.Close()))
	if s.stopping.Load() { // no session is added any more
		s.wg.Wait()
	}
	return err
}

// closed drops the error of closing twice.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// open starts a session, if there is room for one more.
func (s *Server) open(conn net.Conn) {
	s.stats.accepted.Add(1)
	sn := newSession(s, conn)
	sn.guest = s.gate.Enter(sn.from, func() {
		s.stats.refused.Add(1)
		conn.Close()
	})
	s.mu.Lock()
	stopping := s.stopping.Load()
	if !stopping && sn.guest != nil {
		s.conns[sn] = true
		s.wg.Add(1)
	}
	s.mu.Unlock()
	switch {
	case sn.guest == nil:
		s.stats.refused.Add(1)
		conn.Close() // nothing was promised to it
	case stopping:
		sn.guest.Leave()
		conn.Close()
	default:
		go s.run(sn)
	}
}

// run is a session's goroutine.
func (s *Server) run(sn *session) {
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, sn)
		if s.byPID[sn.pid] == sn {
			delete(s.byPID, sn.pid)
		}
		s.mu.Unlock()
		sn.guest.Leave()
		sn.in.release()
		sn.cancel()
		sn.conn.Close() // all that was to be said has been said
	}()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("session panicked", "pid", sn.pid, "panic", p, "stack", string(debug.Stack()))
			sn.lastWord(fault.New(fault.InternalError, "internal error").WithHint("see the server's log; the connection is closed"))
		}
	}()
	err := sn.conn.SetDeadline(time.Now().Add(s.startup))
	if err == nil {
		if err = sn.start(); err == nil {
			err = sn.serve()
		}
	}
	sn.lastWord(err)
}

// lastWord tells the client why the connection ends, where that is for it to
// know.
func (s *session) lastWord(err error) {
	var f *fault.Error
	if !errors.As(err, &f) && !errors.Is(err, errAnswered) {
		return
	}
	// The time to say it is short, and a client that still sends must not lose
	// the message to a reset.
	if s.conn.SetDeadline(time.Now().Add(lingering)) != nil {
		return
	}
	if f != nil {
		s.out = s.out[:max(0, min(len(s.out), s.unsettledOr(len(s.out))))]
		s.report("FATAL", err)
	}
	if s.flush() != nil {
		return
	}
	if s.closeWrite() {
		_, _ = io.CopyN(io.Discard, s.conn, 1<<20) // until the client closes, or the time is up
	}
}

const lingering = 500 * time.Millisecond

// unsettledOr returns where answers that were not committed begin, n where
// there are none.
func (s *session) unsettledOr(n int) int {
	if s.unsettled >= 0 {
		return s.unsettled
	}
	return n
}

// admit gives a session that has started its number and its secret.
func (s *Server) admit(sn *session) error {
	var key [4]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return fault.New(fault.CannotConnectNow, "the server is stopping")
	}
	if err := sn.guest.Admit(sn.who.Name()); err != nil {
		s.stats.refused.Add(1)
		return err
	}
	sn.pid, sn.key = s.freePID(), binary.BigEndian.Uint32(key[:])
	s.byPID[sn.pid] = sn
	return nil
}

// freePID returns a number that no session has. Clients read it as a signed one,
// and it begins anew before it would be negative. s.mu is held.
func (s *Server) freePID() uint32 {
	for {
		if s.lastPID++; s.lastPID > math.MaxInt32 {
			s.lastPID = 1
		}
		if s.byPID[s.lastPID] == nil {
			return s.lastPID
		}
	}
}

// cancel ends what the session pid waits for, if the key is right.
func (s *Server) cancel(pid, key uint32) {
	s.mu.Lock()
	sn := s.byPID[pid]
	s.mu.Unlock()
	if sn != nil && subtle.ConstantTimeEq(int32(sn.key), int32(key)) == 1 {
		sn.cancelWait()
	}
}

// Shutdown stops accepting, ends idle connections with 57P01, and lets running
// statements end. When ctx ends first, it closes the rest. It returns once
// every session has ended, with ctx's error if some had to be closed.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping.Store(true)
	for ln := range s.listeners {
		ln.Close() // Serve closes it again, and returns the error
	}
	for sn := range s.conns {
		if sn.waiting.Load() {
			sn.conn.SetReadDeadline(time.Unix(1, 0)) // an error means that it is closed
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.abort()
		return nil
	case <-ctx.Done():
		s.closeAll()
		<-done
		return ctx.Err()
	}
}

// closeAll ends everything at once.
func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	s.abort()
	for ln := range s.listeners {
		ln.Close()
	}
	for sn := range s.conns {
		sn.conn.Close()
	}
}

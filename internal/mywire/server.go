package mywire

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
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
	// its own. Connections beyond its bounds are refused with 1040.
	Gate *gate.Gate
	// Memory is how many bytes all sessions together may hold in statements
	// above 64 KiB; 0: 128 MiB. What does not fit is refused with 1041.
	Memory int64
	// StartupTimeout is the time for the login; 0: 10 seconds.
	StartupTimeout time.Duration
	// Stalled is how long a client may take for a packet that it has begun, or
	// to take an answer; both have a second more for each 64 KiB. 0: one minute.
	Stalled time.Duration
	// Access says who may connect and write to what; nil: everybody, everything.
	Access *auth.Guard
	// TLS returns how a connection is encrypted; nil: none is.
	TLS func() *tls.Config
	// Now is the clock that NOW() shows; nil: time.Now.
	Now func() time.Time
	// Zone is what time_zone SYSTEM means; nil: UTC.
	Zone *time.Location
	// TableVersion answers "select table_version from version where
	// table_name='...'", which Kamailio asks; nil: no table has one.
	TableVersion func(table string) (version int, ok bool)
}

// Server speaks to any number of clients. Its methods are safe for concurrent
// use.
type Server struct {
	o      Options
	memory *gate.Memory
	stats  counters

	base     context.Context // of every wait for the disk
	abort    context.CancelFunc
	stopping atomic.Bool
	wg       sync.WaitGroup // sessions

	mu        sync.Mutex
	listeners map[net.Listener]bool
	conns     map[*session]bool
	lastID    uint32
}

type counters struct{ accepted, refused, statements, rows, failed atomic.Uint64 }

// Stats is what a Server has done since it was made.
type Stats struct {
	Connections int    // open now, those in their login included
	Accepted    uint64 // connections taken
	Refused     uint64 // connections turned away because too many were open
	Statements  uint64 // statements begun
	Rows        uint64 // rows committed
	Errors      uint64 // errors sent
}

// Stats returns the server's counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Stats{
		Connections: open, Accepted: s.stats.accepted.Load(), Refused: s.stats.refused.Load(),
		Statements: s.stats.statements.Load(), Rows: s.stats.rows.Load(), Errors: s.stats.failed.Load(),
	}
}

// New returns a Server that appends to o.Store.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Access == nil {
		o.Access = new(auth.Guard)
	}
	if o.Gate == nil {
		o.Gate = gate.New(gate.Limits{})
	}
	if o.Memory <= 0 {
		o.Memory = 128 << 20
	}
	if o.StartupTimeout <= 0 {
		o.StartupTimeout = 10 * time.Second
	}
	if o.Stalled <= 0 {
		o.Stalled = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	s := &Server{o: o, listeners: make(map[net.Listener]bool), conns: make(map[*session]bool)}
	s.memory = gate.NewMemory(o.Memory)
	s.base, s.abort = context.WithCancel(context.Background())
	return s
}

// Serve accepts connections from ln until Shutdown is called, which makes it
// return nil once the sessions have ended. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	s.listeners[ln] = true
	s.mu.Unlock()
	err := gate.Accept(ln, s.stopping.Load, s.o.Logger, s.open)
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	if e := ln.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	if s.stopping.Load() { // no session is added any more
		s.wg.Wait()
	}
	return err
}

// open starts a session, if there is room for one more.
func (s *Server) open(conn net.Conn) {
	s.stats.accepted.Add(1)
	sn := newSession(s, conn)
	sn.guest = s.o.Gate.Enter(sn.from, func() {
		s.stats.refused.Add(1)
		conn.Close()
	})
	s.mu.Lock()
	stopping := s.stopping.Load()
	if !stopping && sn.guest != nil {
		s.conns[sn] = true
		s.lastID++
		sn.id = s.lastID
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
		s.mu.Unlock()
		sn.guest.Leave()
		sn.in.shrink()
		sn.conn.Close() // all that was to be said has been said
	}()
	defer func() {
		if p := recover(); p != nil {
			s.o.Logger.Error("session panicked", "id", sn.id, "panic", p, "stack", string(debug.Stack()))
			sn.rollback()
			sn.lastWord(fault.New(fault.InternalError, "internal error").WithHint("see the server's log; the connection is closed"))
		}
	}()
	sn.lastWord(sn.serve())
}

// Shutdown stops accepting, ends idle connections with 1053, and lets running
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
	}
	s.mu.Lock()
	s.abort()
	for sn := range s.conns {
		sn.conn.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

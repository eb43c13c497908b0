package syslog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/gate"
	"holdfast/row"
)

// Store is where rows go.
type Store interface {
	// Schema returns what rows of a table with such columns are like.
	Schema(table string, columns []row.Column) (*row.Schema, error)
	// Begin returns an empty transaction.
	Begin() Tx
}

// Tx is a transaction that is used by one goroutine, over and over.
type Tx interface {
	// Insert adds a row, or refuses it for what it is.
	Insert(s *row.Schema, values []row.Value) error
	// Malformed adds a line that is no row, with the reason.
	Malformed(table string, raw []byte, why, peer string) error
	// Commit returns once the rows are on disk. An error leaves none of them.
	Commit(ctx context.Context) error
	// Rollback empties it.
	Rollback()
}

// Options are how a server works. Store and Table must be set.
type Options struct {
	Store Store
	Table string
	// MaxLine is the longest message in bytes; 0: 64 KiB.
	MaxLine int
	// Gate bounds the connections, in all and of each address, and those whose
	// TLS handshake is not over; nil: 256 in all. One more is closed at once.
	Gate *gate.Gate
	// Allow are the networks that may send; empty: all.
	Allow []netip.Prefix
	// Zone is that of times without one; nil: UTC.
	Zone *time.Location
	Log  *slog.Logger // nil: nothing is logged
}

// Stats are what a server has done so far.
type Stats struct {
	Rows      int64 // stored, malformed ones included
	Bytes     int64 // of their messages
	Malformed int64 // of Rows
	Refused   int64 // connections that were closed for what they sent, or datagrams of networks that may not
	Lost      int64 // messages that were received and not stored: datagrams that came while rows could not be stored, and what was waiting at a stop
	Conns     int64 // connections now
	Waiting   int64 // messages received and not stored yet

	WaitingBytes int64     // of them
	Oldest       time.Time // when the first of them was received; zero: there is none
	Trouble      string    // why rows cannot be stored; "" while they can
}

const (
	maxBatchLines = 1000
	maxBatchBytes = 32 << 10 // one longer message is a batch alone
	// frameTime is how long a sender may take for one message, from its first
	// byte to its last; between messages it may be silent for ever.
	frameTime = time.Minute
	// handshakeTime bounds the beginning of a TLS connection.
	handshakeTime = 10 * time.Second
	// lastWords is how long sockets are still read at a stop: what has arrived by
	// then is in the system's buffers, and nobody would send it again.
	lastWords = 250 * time.Millisecond
	// tellEvery is how often the log has a line about a connection that was closed.
	tellEvery = time.Second
	// Pauses before rows that could not be stored are tried again.
	firstPause, lastPause = 50 * time.Millisecond, 5 * time.Second
)

// Server takes messages from any number of sockets. Its methods are safe for
// concurrent use.
type Server struct {
	o      Options
	ctx    context.Context // ends when rows are not waited for any more
	giveUp context.CancelFunc

	mu      sync.Mutex
	closing bool
	open    map[io.Closer]func() // sockets and connections, with what makes each stop reading
	storing map[*writer]waiting  // what is being stored
	queues  map[*pending]bool    // datagrams that wait for it
	told    time.Time            // the last line about a closed connection
	untold  int                  // closed since without one
	wg      sync.WaitGroup       // connections and the readers of datagrams

	rows, bytes, malformed, refused, lost atomic.Int64
	trouble                               atomic.Pointer[string]
}

// New returns a server that listens to nothing yet.
func New(o Options) *Server {
	if o.MaxLine <= 0 {
		o.MaxLine = 64 << 10
	}
	if o.Gate == nil {
		o.Gate = gate.New(gate.Limits{Open: 256})
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, open: map[io.Closer]func(){}, storing: map[*writer]waiting{}, queues: map[*pending]bool{}}
	s.ctx, s.giveUp = context.WithCancel(context.Background())
	return s
}

// Stats returns what was done so far.
func (s *Server) Stats() Stats {
	conns, _ := s.o.Gate.Count()
	st := Stats{
		Rows: s.rows.Load(), Bytes: s.bytes.Load(), Malformed: s.malformed.Load(), Refused: s.refused.Load(),
		Lost: s.lost.Load(), Conns: int64(conns),
	}
	s.mu.Lock()
	for _, w := range s.storing {
		st.add(w)
	}
	for p := range s.queues {
		st.add(p.waiting())
	}
	s.mu.Unlock()
	if why := s.trouble.Load(); why != nil {
		st.Trouble = *why
	}
	return st
}

// errClosed is what serving a socket ends with after Shutdown.
var errClosed = errors.New("syslog: the server is closed")

// enter notes something that is read from; stop must make its reader return.
func (s *Server) enter(c io.Closer, stop func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return errClosed
	}
	s.open[c] = stop
	s.wg.Add(1)
	return nil
}

func (s *Server) leave(c io.Closer) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	s.wg.Done()
}

// waiting is messages that one writer is storing.
type waiting struct {
	messages, bytes int64
	since           time.Time // when the first of them was received
}

// add counts what waits somewhere.
func (st *Stats) add(w waiting) {
	st.Waiting += w.messages
	st.WaitingBytes += w.bytes
	if w.messages > 0 && (st.Oldest.IsZero() || w.since.Before(st.Oldest)) {
		st.Oldest = w.since
	}
}

// queue makes what waits in p count, or not any more.
func (s *Server) queue(p *pending, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.queues[p] = true
	} else {
		delete(s.queues, p)
	}
}

// note says what w is storing; nothing where lines is empty.
func (s *Server) note(w *writer, lines []line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(lines) == 0 {
		delete(s.storing, w)
		return
	}
	s.storing[w] = waiting{int64(len(lines)), size(lines), lines[0].received}
}

// Shutdown stops reading, and waits until what was read is stored. Where ctx
// ends before, that is given up, and counted as lost.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	for _, stop := range s.open {
		stop()
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.giveUp)
	defer stop()
	s.wg.Wait()
	s.giveUp()
}

// allowed reports whether an address may send.
func (s *Server) allowed(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range s.o.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return len(s.o.Allow) == 0
}

package pgwire

import (
	"errors"
	"os"
	"time"

	"holdfast/internal/fault"
)

// slowest is how many bytes a second a client must send and take of a message,
// once the time for a small one is used up.
const slowest = 64 << 10

// grain is how much later than it should be a deadline for writing may be,
// which saves setting one for each answer.
const grain = time.Second

// timeFor is the time for n bytes.
func (s *Server) timeFor(n int) time.Duration {
	return s.stalled + time.Duration(n)*time.Second/slowest
}

// whole reads a message's body. A client may be silent between messages for as
// long as it likes, but not within one: it holds memory that others need.
func (s *session) whole(n int) ([]byte, error) {
	if s.in.buffered() >= n {
		return s.in.body(n)
	}
	// Nobody else sets a deadline now: the session does not wait for a statement,
	// and is not within a COPY.
	if err := s.conn.SetReadDeadline(time.Now().Add(s.srv.timeFor(n))); err != nil {
		return nil, errClosed
	}
	body, err := s.in.body(n)
	if e := s.conn.SetReadDeadline(time.Time{}); e != nil {
		return nil, errClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fault.New(fault.ConnectionFailure, "a message of %d bytes did not come within %v", n, s.srv.timeFor(n)).
			WithHint("limits.stalled says how long it may take")
	}
	return body, err
}

// takeBy sets by when the client must have taken n bytes of answers. During the
// start-up there is a deadline for all of it.
func (s *session) takeBy(n int) {
	if s.pid == 0 {
		return
	}
	now := time.Now()
	if n < slowest && now.Before(s.rearm) {
		return
	}
	s.rearm = now.Add(grain)
	// An error means that the connection is closed, which the write will tell.
	_ = s.conn.SetWriteDeadline(now.Add(s.srv.timeFor(n) + grain))
}

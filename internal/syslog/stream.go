package syslog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"holdfast/internal/gate"
	"holdfast/internal/peer"
)

// ServeStream takes messages from the connections of l, which may be of TLS,
// until Shutdown. It closes l.
func (s *Server) ServeStream(l net.Listener) error {
	if err := s.enter(l, func() { _ = l.Close() }); err != nil {
		return errors.Join(err, l.Close())
	}
	defer s.leave(l)
	return gate.Accept(l, s.isClosing, s.o.Log, s.welcome)
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// welcome serves a connection in a goroutine of its own, or closes it.
func (s *Server) welcome(c net.Conn) {
	peer := peer.Of(c)
	if !s.allowed(peer) {
		s.refuse(c, "its network may not send")
		return
	}
	guest := s.o.Gate.Enter(peer, func() { _ = c.Close() })
	if guest == nil {
		s.refuse(c, "too many connections wait for their TLS handshake")
		return
	}
	if s.enter(c, func() { _ = c.SetReadDeadline(time.Now().Add(lastWords)) }) != nil {
		guest.Leave()
		s.refuse(c, "the server stops")
		return
	}
	go func() {
		defer s.leave(c)
		defer guest.Leave()
		if err := s.converse(c, peer.String(), guest); err != nil {
			s.refuse(c, reason(err))
			return
		}
		_ = c.Close()
	}()
}

// refuse closes a connection. Syslog has no words for why, so the log has them.
func (s *Server) refuse(c net.Conn, why string) {
	s.refused.Add(1)
	if untold, tell := s.mayTell(time.Now()); tell {
		s.o.Log.Warn("syslog: connection closed", "peer", c.RemoteAddr().String(), "reason", why, "untold_before", untold)
	}
	_ = c.Close()
}

// mayTell reports whether the log may have a line about a closed connection, and
// how many have none since the last one. Anybody can connect as often as they
// like, and must not fill the disk so.
func (s *Server) mayTell(now time.Time) (untold int, tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.told) < tellEvery {
		s.untold++
		return 0, false
	}
	untold, s.told, s.untold = s.untold, now, 0
	return untold, true
}

// greet lets a connection in, once its TLS handshake is over where it has one.
func (s *Server) greet(c net.Conn, guest *gate.Guest) error {
	if t, ok := c.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(s.ctx, handshakeTime)
		defer cancel()
		if err := t.HandshakeContext(ctx); err != nil {
			return err
		}
	}
	return guest.Admit("")
}

// converse stores what a connection sends until its end.
func (s *Server) converse(c net.Conn, peer string, guest *gate.Guest) error {
	if err := s.greet(c, guest); err != nil {
		return err
	}
	f, w := newFrames(c, s.o.MaxLine), s.newWriter()
	var batch []line
	size := 0
	flush := func() {
		w.store(batch)
		clear(batch)
		batch, size = batch[:0], 0
	}
	for {
		if !f.ready() {
			flush() // what is whole does not wait for what follows
			if !s.await(c, f) {
				return nil
			}
		}
		text, torn, err := f.next()
		if err != nil {
			flush()
			return s.verdict(err)
		}
		if text = trimmed(text); len(text) == 0 {
			continue // what some senders keep a connection alive with
		}
		batch = append(batch, line{bytes.Clone(text), time.Now(), peer, torn})
		if size += len(text); size >= maxBatchBytes || len(batch) >= maxBatchLines {
			flush()
		}
	}
}

// await waits for the first byte of a message without a limit, and gives the
// sender frameTime for what follows. It returns false where nothing follows.
func (s *Server) await(c net.Conn, f *frames) bool {
	s.limit(c, time.Time{})
	if _, err := f.in.Peek(1); err != nil {
		return false
	}
	s.limit(c, time.Now().Add(frameTime))
	return true
}

// limit sets until when c is read, unless Shutdown has said that already.
func (s *Server) limit(c net.Conn, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		_ = c.SetReadDeadline(until)
	}
}

// verdict returns what a sender did wrong, nil where it only ended.
func (s *Server) verdict(err error) error {
	switch {
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF), s.isClosing():
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("a message was not complete after " + frameTime.String())
	}
	return err
}

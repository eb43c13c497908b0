package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// writer stores messages for one reader. Not safe for concurrent use.
type writer struct {
	s      *Server
	parser *parser
	tx     Tx
	schema *row.Schema
}

func (s *Server) newWriter() *writer { return &writer{s: s, parser: newParser(s.o.Zone)} }

// store returns once all lines are on disk, however long that takes. Where the
// server is closed meanwhile they are lost, and counted so.
func (w *writer) store(lines []line) {
	if len(lines) == 0 {
		return
	}
	s := w.s
	s.note(w, lines)
	defer s.note(w, nil)
	pause := firstPause
	for {
		malformed, err := w.try(lines)
		if err == nil {
			s.count(lines, malformed)
			return
		}
		s.troubled(err)
		select {
		case <-s.ctx.Done():
			s.lost.Add(int64(len(lines)))
			s.o.Log.Error("syslog: messages were received and could not be stored before the stop", "messages", len(lines), "error", err)
			return
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// try commits lines in one transaction.
func (w *writer) try(lines []line) (malformed int64, err error) {
	if w.schema == nil {
		if w.schema, err = w.s.o.Store.Schema(w.s.o.Table, Columns); err != nil {
			w.schema = nil
			return 0, err
		}
	}
	if w.tx == nil {
		w.tx = w.s.o.Store.Begin()
	}
	defer func() {
		if err != nil {
			w.tx.Rollback()
			w.schema = nil // the table may be another one when this is tried again
		}
	}()
	for _, l := range lines {
		bad, err := w.add(l)
		if err != nil {
			return 0, err
		}
		if bad {
			malformed++
		}
	}
	// Not the server's context: a commit that is under way is worth waiting for.
	return malformed, w.tx.Commit(context.Background())
}

// add adds one message, as a malformed row where it cannot be another.
func (w *writer) add(l line) (malformed bool, err error) {
	why := l.torn
	if why == "" {
		err = w.tx.Insert(w.schema, w.parser.values(l))
		if err == nil || !aboutValue(err) {
			return false, err
		}
		why = plain(err)
	}
	return true, w.tx.Malformed(w.s.o.Table, l.text, why, l.peer)
}

// aboutValue reports whether a row was refused for what is in it, so that it
// will always be.
func aboutValue(err error) bool {
	code := fault.Code(err)
	return len(code) == 5 && (code[:2] == "22" || code[:2] == "23")
}

// plain returns what was wrong, without what to do about it.
func plain(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message
	}
	return err.Error()
}

// count notes that lines are stored.
func (s *Server) count(lines []line, malformed int64) {
	s.bytes.Add(size(lines))
	s.malformed.Add(malformed)
	s.rows.Add(int64(len(lines)))
	if s.trouble.Swap(nil) != nil {
		s.o.Log.Info("syslog: rows can be stored again")
	}
}

// size returns the bytes of lines.
func size(lines []line) (n int64) {
	for _, l := range lines {
		n += int64(len(l.text))
	}
	return n
}

// troubled notes why rows cannot be stored, and logs it once.
func (s *Server) troubled(err error) {
	why := err.Error()
	if old := s.trouble.Swap(&why); old == nil || *old != why {
		s.o.Log.Warn("syslog: rows cannot be stored; senders have to wait", "error", why)
	}
}

// trimmed is a message without what ends it.
func trimmed(text []byte) []byte {
	text = bytes.TrimSuffix(text, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	return bytes.TrimRight(text, "\x00")
}

// reason words err for the log.
func reason(err error) string { return fmt.Sprintf("%.200s", err) }

package gate

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// listener answers Accept with what it was given, then as one that is closed.
type listener struct {
	net.Listener
	answers []error // nil: a connection
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *listener) Accept() (net.Conn, error) {
	if len(l.answers) == 0 {
		return nil, net.ErrClosed
	}
	err := l.answers[0]
	l.answers = l.answers[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	near, far := net.Pipe()
	return near, far.Close()
}

// TestAccept holds that used-up descriptors end nothing, that a listener which
// is of no use does, and that one which was closed for a stop is no error.
func TestAccept(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []error
		stops   bool // whether the server stops when the answers end
		opened  int
		end     error
	}{
		{"descriptors", []error{syscall.EMFILE, nil, syscall.ENFILE, syscall.ECONNABORTED, nil}, true, 2, nil},
		{"memory", []error{syscall.ENOBUFS, syscall.ENOMEM, nil}, true, 1, nil},
		{"of no use", []error{nil, syscall.EINVAL, nil}, false, 1, syscall.EINVAL},
		{"closed by nobody", []error{nil}, false, 1, net.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, opened := &listener{answers: c.answers}, 0
			err := Accept(l, func() bool { return c.stops && len(l.answers) == 0 }, slog.New(slog.DiscardHandler), func(conn net.Conn) {
				opened++
				conn.Close()
			})
			if opened != c.opened || !errors.Is(err, c.end) {
				t.Errorf("%d connections, then %v; want %d and %v", opened, err, c.opened, c.end)
			}
		})
	}
}

// TestAcceptTells holds that descriptors which stay used up are told of.
func TestAcceptTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := &listener{}
		for range 10 { // with pauses of 5 ms, doubled up to a second
			l.answers = append(l.answers, syscall.EMFILE)
		}
		err := Accept(l, func() bool { return len(l.answers) == 0 }, slog.New(slog.NewTextHandler(&log, nil)), nil)
		if err != nil || !strings.Contains(log.String(), "too many open files") {
			t.Errorf("%v; the log says %q", err, &log)
		}
	})
}

// TestMemory holds that no more is taken than there is, and all given back.
func TestMemory(t *testing.T) {
	m := NewMemory(100)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if m.Take(60) {
					if m.Free() > 40 {
						t.Error("60 of 100 are taken, and more than 40 are free")
					}
					m.Give(60)
				}
			}
		})
	}
	wg.Wait()
	if m.Free() != 100 || m.Take(101) || !m.Take(100) || m.Take(1) {
		t.Errorf("%d are free", m.Free())
	}
}

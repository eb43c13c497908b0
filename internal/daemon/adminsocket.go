package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

// openAdmin opens the admin socket, or, where the volume has no room for its
// name, a listener that does so later: a full disk must not keep a server from
// starting, and the inode of the socket before may be another's by now.
func openAdmin(path string, log *slog.Logger) (net.Listener, error) {
	l, err := listenAdmin(path)
	if !disk.IsFull(err) {
		return l, err
	}
	log.Error("the admin socket is opened as soon as the volume of the data directory has room for it; df and df -i say what is lacking", "error", err)
	return &lateSocket{path: path, bind: listenAdmin, log: log, closed: make(chan struct{})}, nil
}

// listenAdmin binds the admin socket. One that is there is of a run that was
// killed: the lock of the data directory is ours.
func listenAdmin(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fault.New(fault.InvalidParameterValue, "path %q of the admin socket has %d bytes, more than %d", path, len(path), maxSocketPath).
			WithHint("give --data a shorter path, for example a relative one")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect admin socket: %w", err), l.Close())
	}
	return l, nil
}

// lateSocket is an admin socket that there was no room for. Safe for concurrent
// use.
type lateSocket struct {
	path   string
	bind   func(path string) (net.Listener, error)
	log    *slog.Logger
	closed chan struct{}

	mu    sync.Mutex
	bound net.Listener // nil: there is no room yet
	ended bool
}

// bindEvery is how often room is looked for.
const bindEvery = time.Second

// Accept waits for room, and then for a connection.
func (s *lateSocket) Accept() (net.Conn, error) {
	for {
		l, err := s.listener()
		if err != nil {
			return nil, err
		}
		if l != nil {
			return l.Accept()
		}
		select {
		case <-s.closed:
		case <-time.After(bindEvery):
		}
	}
}

// listener returns what is bound, or nil while there is no room.
func (s *lateSocket) listener() (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, net.ErrClosed
	}
	if s.bound != nil {
		return s.bound, nil
	}
	l, err := s.bind(s.path)
	if disk.IsFull(err) {
		return nil, nil
	}
	if err == nil {
		s.bound = l
		s.log.Info("the admin socket is open")
	}
	return l, err
}

// Close closes what is bound, and ends Accept.
func (s *lateSocket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return net.ErrClosed
	}
	s.ended = true
	close(s.closed)
	if s.bound == nil {
		return nil
	}
	return s.bound.Close()
}

// Addr returns where the socket is, or will be.
func (s *lateSocket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

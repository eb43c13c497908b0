package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"holdfast/internal/throwaway"
)

// What keeps a server small, and as durable as one that matters.
var (
	smallPostgres = []string{
		"fsync=on", "full_page_writes=on", "synchronous_commit=on", "lc_messages=C", "timezone=UTC",
		"shared_buffers=16MB", "min_wal_size=32MB", "max_wal_size=256MB", "max_connections=60", "max_wal_senders=0",
		"wal_level=minimal", "autovacuum_naptime=1h",
		"jit=off", "dynamic_shared_memory_type=mmap", // in its directory, so that a killed one leaves nothing behind
	}
	smallMariaDB = []string{
		"skip-log-bin", "performance-schema=OFF", "innodb-flush-log-at-trx-commit=1", "innodb-buffer-pool-size=32M",
		"innodb-log-file-size=16M", "aria-pagecache-buffer-size=1M", "key-buffer-size=1M", "max-connections=60",
	}
)

// They say that a server's programs are not installed.
var (
	ErrNoPostgres = throwaway.ErrNoPostgres
	ErrNoMariaDB  = throwaway.ErrNoMariaDB
)

// Server is one server. One goroutine uses its methods at a time. They fail the
// test where something goes wrong.
type Server struct {
	tb testing.TB // nil where several tests share it: then they panic
	is *throwaway.Server
}

// Postgres starts a PostgreSQL server that ends with the test. Where none is
// installed, the test is skipped, or fails if CI=true. There is no database
// but the server's own ("postgres"); a test makes its own.
func Postgres(tb testing.TB) *Server {
	tb.Helper()
	s, err := StartPostgres()
	return s.of(tb, err)
}

// StartPostgres starts a PostgreSQL server for several tests, until Close. Its
// other methods panic where they fail. It returns ErrNoPostgres where
// none is installed. More settings stand behind those of a server that matters.
func StartPostgres(settings ...string) (*Server, error) {
	s, err := throwaway.Postgres(context.Background(), throwaway.Options{Dir: quickest(), Settings: append(slices.Clone(smallPostgres), settings...)})
	return &Server{is: s}, err
}

// MariaDB starts a MariaDB server that ends with the test. Where none is
// installed, the test is skipped, or fails if CI=true. There is no database
// but the server's own; a test makes its own.
func MariaDB(tb testing.TB) *Server {
	tb.Helper()
	s, err := StartMariaDB()
	return s.of(tb, err)
}

// StartMariaDB starts a MariaDB server for several tests, until Close. Its
// other methods panic where they fail. It returns ErrNoMariaDB where
// none is installed. More settings stand behind those of a server that matters.
func StartMariaDB(settings ...string) (*Server, error) {
	s, err := throwaway.MariaDB(context.Background(), throwaway.Options{Dir: quickest(), Settings: append(slices.Clone(smallMariaDB), settings...)})
	return &Server{is: s}, err
}

// of makes s the server of one test. Where its program is not there, the test
// is skipped, aloud; where CI=true, all of them have to be, so it fails.
func (s *Server) of(tb testing.TB, err error) *Server {
	tb.Helper()
	switch missing := errors.Is(err, ErrNoPostgres) || errors.Is(err, ErrNoMariaDB); {
	case missing && os.Getenv("CI") == "true":
		tb.Fatalf("%v (CI=true, so nothing is skipped; scripts/install-deps installs it)", err)
	case missing:
		tb.Skipf("NOT TESTED: %v (scripts/install-deps installs it)", err)
	case err != nil:
		tb.Fatalf("start test server: %v", err)
	}
	s.tb = tb
	tb.Cleanup(s.Close)
	return s
}

// URL returns how to reach database as an administrator, without password.
func (s *Server) URL(database string) string { return s.is.URL(database) }

// Addr returns host and port that the server listens on. They stay the same
// over Stop, Kill and Start.
func (s *Server) Addr() string { return s.is.Addr() }

// Start starts the server again after Stop or Kill, and returns once it answers.
func (s *Server) Start() { s.must("start", s.is.Start(context.Background())) }

// Stop stops the server as an administrator would, and returns once it is gone.
func (s *Server) Stop() { s.must("stop", s.is.Stop()) }

// Kill kills the server as the kernel would, and returns once it is gone.
func (s *Server) Kill() { s.must("kill", s.is.Kill()) }

// Close kills the server and removes its directory. Idempotent.
func (s *Server) Close() { s.must("close", s.is.Close()) }

func (s *Server) must(verb string, err error) {
	switch {
	case err == nil:
	case s.tb == nil:
		panic(fmt.Sprintf("%s test server: %v", verb, err))
	default:
		s.tb.Helper()
		s.tb.Fatalf("%s test server: %v", verb, err)
	}
}

package throwaway

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started makes a server that ends with the test. Where none is installed, the
// test is skipped, or fails if CI=true.
func started(t *testing.T, start func(context.Context, Options) (*Server, error), o Options) *Server {
	t.Helper()
	s, err := start(t.Context(), o)
	if (errors.Is(err, ErrNoPostgres) || errors.Is(err, ErrNoMariaDB)) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED: %v (scripts/install-deps installs it)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEndedEarly holds that nothing is left of a server whose start is ended.
func TestEndedEarly(t *testing.T) {
	for name, start := range map[string]func(context.Context, Options) (*Server, error){"postgres": Postgres, "mariadb": MariaDB} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := start(ctx, Options{Dir: dir})
		if errors.Is(err, ErrNoPostgres) || errors.Is(err, ErrNoMariaDB) {
			continue
		}
		if left, e := os.ReadDir(dir); err == nil || e != nil || len(left) > 0 {
			t.Errorf("%s: error %v, left %v, %v", name, err, left, e)
		}
	}
}

// TestMariaDB stops, kills and starts a server at one address.
func TestMariaDB(t *testing.T) {
	s := started(t, MariaDB, Options{Settings: []string{"innodb-log-file-size=16M"}})
	dir, addr := s.Dir(), s.Addr()
	for _, end := range []func() error{s.Stop, s.Kill} {
		if err := greeted(addr); err != nil {
			t.Fatalf("a server that runs: %v", err)
		}
		must(t, end())
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Fatal("a server that ended takes connections")
		}
		must(t, end()) // again is no error
		must(t, s.Start(t.Context()))
	}
	must(t, s.Close())
	must(t, s.Close())
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("the directory is left behind: %v", err)
	}
}

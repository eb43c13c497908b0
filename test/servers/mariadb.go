package servers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// ErrNoMariaDB says that the server's programs are not installed.
var ErrNoMariaDB = errors.New("mariadbd and mariadb-install-db are needed")

// MariaDB starts a MariaDB server that ends with the test. Where none is
// installed, the test is skipped, or fails if CI=true. There is no database
// but the server's own; a test makes its own.
func MariaDB(tb testing.TB) *Server {
	tb.Helper()
	s, err := StartMariaDB()
	if errors.Is(err, ErrNoMariaDB) {
		missing(tb, err)
	}
	if err != nil {
		tb.Fatalf("start MariaDB: %v", err)
	}
	s.tb = tb
	tb.Cleanup(s.Close)
	return s
}

// StartMariaDB starts a MariaDB server for several tests, until Close. Its
// other methods panic where they fail. It returns ErrNoMariaDB where none is
// installed.
func StartMariaDB() (*Server, error) {
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return nil, ErrNoMariaDB
	}
	daemon, err := find("mariadbd", "/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd")
	if err != nil {
		return nil, ErrNoMariaDB
	}
	who, err := account("mysql")
	if err != nil {
		return nil, err
	}
	dir, err := folder(who)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, quit: syscall.SIGTERM}
	fail := func(err error) (*Server, error) { return nil, errors.Join(err, os.RemoveAll(dir)) }
	if s.port, err = freePort(); err != nil {
		return fail(err)
	}
	as := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: who}
		return cmd
	}
	data := filepath.Join(dir, "data")
	// Nothing that it writes needs to last, until it serves.
	cmd := as(exec.Command(install, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
		"--datadir="+data, "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--innodb-flush-method=nosync"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("mariadb-install-db: %w\n%s", err, tail(out)))
	}
	s.command = func() *exec.Cmd {
		return as(exec.Command(daemon, "--no-defaults", "--datadir="+data, "--tmpdir="+dir,
			"--bind-address=127.0.0.1", "--port="+strconv.Itoa(s.port), "--socket="+filepath.Join(dir, "sock"),
			"--pid-file="+filepath.Join(dir, "pid"), "--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF",
			"--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M",
			"--aria-pagecache-buffer-size=1M", "--key-buffer-size=1M", "--max-connections=60"))
	}
	s.url = func(database string) string { return "mysql://root@" + s.Addr() + "/" + database }
	s.ready = func() error { return greeted(s.Addr()) }
	if err := s.start(); err != nil {
		return fail(err)
	}
	return s, nil
}

// find returns the first of name, as the shell would find it, and places.
func find(name string, places ...string) (string, error) {
	path, err := exec.LookPath(name)
	for _, place := range places {
		if err != nil {
			path, err = exec.LookPath(place) // not in everybody's PATH
		}
	}
	return path, err
}

// greeted reports whether a MySQL server says hello at addr: it does so as
// soon as it takes statements.
func greeted(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	var head [5]byte // length, number, and the version of the protocol
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	if head[4] != 10 {
		return fmt.Errorf("it greets with %d", head[4])
	}
	return nil
}

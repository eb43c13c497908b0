package throwaway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ErrNoMariaDB says that the server's programs are not installed.
var ErrNoMariaDB = errors.New("mariadbd and mariadb-install-db are needed")

// HaveMariaDB returns ErrNoMariaDB where there is no MariaDB to start.
func HaveMariaDB() error {
	_, _, err := mariadbPrograms()
	return err
}

// MariaDB makes a MariaDB server and starts it. There is no database but the
// server's own. It returns ErrNoMariaDB where none is installed.
func MariaDB(ctx context.Context, o Options) (*Server, error) {
	install, daemon, err := mariadbPrograms()
	if err != nil {
		return nil, err
	}
	who, err := account("mysql")
	if err != nil {
		return nil, err
	}
	dir, err := folder(o.Dir, who)
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
	cmd := as(exec.CommandContext(ctx, install, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
		"--datadir="+data, "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--innodb-flush-method=nosync"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("mariadb-install-db: %w\n%s", err, tail(out)))
	}
	s.command = func() *exec.Cmd {
		args := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + dir, "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.port),
			"--socket=sock", // in data: its path would be too long for a socket's in many places
			"--pid-file=" + filepath.Join(dir, "pid"), "--skip-name-resolve"}
		for _, setting := range o.Settings {
			args = append(args, "--"+setting)
		}
		return as(exec.Command(daemon, args...))
	}
	s.url = func(database string) string { return "mysql://root@" + s.Addr() + "/" + database }
	s.ready = func() error { return greeted(s.Addr()) }
	if err := s.Start(ctx); err != nil {
		return fail(err)
	}
	return s, nil
}

// mariadbPrograms returns what makes a server's directory, and the server.
func mariadbPrograms() (install, daemon string, err error) {
	if install, err = exec.LookPath("mariadb-install-db"); err != nil {
		return "", "", ErrNoMariaDB
	}
	if daemon, err = find("mariadbd", "/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd"); err != nil {
		return "", "", ErrNoMariaDB
	}
	return install, daemon, nil
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

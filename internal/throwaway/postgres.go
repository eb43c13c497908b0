package throwaway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoPostgres says that the server's programs are not installed.
var ErrNoPostgres = errors.New("PostgreSQL's postgres and initdb are needed")

// HavePostgres returns ErrNoPostgres where there is no PostgreSQL to start.
func HavePostgres() error {
	_, err := postgresDir()
	return err
}

// Postgres makes a PostgreSQL server and starts it. There is no database but
// the server's own ("postgres"). It returns ErrNoPostgres where none is
// installed.
func Postgres(ctx context.Context, o Options) (*Server, error) {
	bin, err := postgresDir()
	if err != nil {
		return nil, err
	}
	who, err := account("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := folder(o.Dir, who)
	if err != nil {
		return nil, err
	}
	// SIGINT is its fast shutdown: sessions are ended, what they did is undone.
	s := &Server{dir: dir, bin: bin, quit: syscall.SIGINT, children: true}
	fail := func(err error) (*Server, error) { return nil, errors.Join(err, os.RemoveAll(dir)) }
	if s.port, err = freePort(); err != nil {
		return fail(err)
	}
	as := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"} // no PGDATA or PGPORT of this user's
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: who}
		return cmd
	}
	data := filepath.Join(dir, "data")
	// Nothing that it writes needs to last, until it serves.
	cmd := as(exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--no-sync", "--auth=trust", "--username=postgres",
		"--encoding=UTF8", "--locale=C", "--pgdata="+data))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("initdb: %w\n%s", err, tail(out)))
	}
	s.command = func() *exec.Cmd {
		args := []string{"-D", data}
		for _, setting := range slices.Concat([]string{
			"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port), "unix_socket_directories=", "logging_collector=off",
		}, o.Settings) {
			args = append(args, "-c", setting)
		}
		return as(exec.Command(filepath.Join(bin, "postgres"), args...))
	}
	s.url = func(database string) string {
		return "postgres://postgres@" + s.Addr() + "/" + database + "?sslmode=disable"
	}
	isready := filepath.Join(bin, "pg_isready")
	s.ready = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		out, err := as(exec.CommandContext(ctx, isready, "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port))).CombinedOutput()
		if err != nil {
			return fmt.Errorf("pg_isready: %w %s", err, out)
		}
		return nil
	}
	if err := s.Start(ctx); err != nil {
		return fail(err)
	}
	return s, nil
}

// postgresDir returns where the server's programs are: Debian keeps them out
// of everybody's PATH, one directory for each version. The newest is taken.
func postgresDir() (string, error) {
	places, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(places, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil { // its neighbours are beside the program itself
			places = append([]string{filepath.Dir(path)}, places...)
		}
	}
	for _, dir := range places {
		if runnable(dir, "postgres", "initdb", "pg_isready") {
			return dir, nil
		}
	}
	return "", ErrNoPostgres
}

// version returns the number in /usr/lib/postgresql/15/bin.
func version(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

func runnable(dir string, programs ...string) bool {
	for _, p := range programs {
		if _, err := exec.LookPath(filepath.Join(dir, p)); err != nil {
			return false
		}
	}
	return true
}

// killFamily kills a process and its children, and returns once the children
// are gone. Those that PostgreSQL starts for its sessions are in process
// groups of their own, and work on for a while when their parent is dead. Where
// there is no /proc they are left to notice that by themselves.
func killFamily(pid int) error {
	_ = syscall.Kill(pid, syscall.SIGSTOP) // so that it starts no more of them
	kin := childrenOf(pid)
	err := syscall.Kill(pid, syscall.SIGKILL)
	for _, k := range kin {
		_ = syscall.Kill(k, syscall.SIGKILL) // it may be gone already
	}
	for began := time.Now(); slices.ContainsFunc(kin, alive); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			return fmt.Errorf("its processes %d did not end within %v", kin, patience)
		}
	}
	return err
}

// stat returns the state and the parent of a process; "" where it is gone.
func stat(pid string) (state string, parent int) {
	text, _ := os.ReadFile("/proc/" + pid + "/stat")
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // behind the name, which may hold anything
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

func alive(pid int) bool {
	state, _ := stat(strconv.Itoa(pid))
	return state != "" && state != "Z" && state != "X"
}

func childrenOf(pid int) (all []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent := stat(e.Name()); parent == pid {
			all = append(all, n)
		}
	}
	return all
}

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// postgresComparisons set the product, over its wire, beside a PostgreSQL as
// it comes, with fsync and synchronous_commit on, whose programs are in bin.
// Both get the same bytes from the same clients and wait for the same disk.
func postgresComparisons(bin string) []comparison {
	const against = "PostgreSQL as it comes, synchronous_commit on, same clients, same disk"
	var cases []comparison
	add := func(name string, goal float64, step int, clients func(p *pair, addr string) (side, error)) {
		cases = append(cases, comparison{
			name: "postgres/" + name, unit: "rows/s", goal: goal, step: step, against: against,
			open: func(ctx context.Context, at place) (*pair, error) { return postgresPair(ctx, at, bin, clients) },
		})
	}
	for _, in := range inserts {
		for _, count := range wireCounts {
			add(fmt.Sprintf("%s/%d", in.name, count), 1, 16*count, func(p *pair, addr string) (side, error) {
				return insertSide(p, addr, count, in.make)
			})
		}
	}
	add("copy", 3, 10_000, copySide)
	return cases
}

// findPostgres returns the directory of the newest server that is installed.
func findPostgres() (string, error) {
	// Debian keeps the server's programs off the path, one directory per version.
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("find a PostgreSQL server: %w", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("find a PostgreSQL server: %w", err)
	}
	return filepath.Dir(path), nil
}

func postgresPair(ctx context.Context, at place, bin string, clients func(p *pair, addr string) (side, error)) (*pair, error) {
	p := &pair{}
	db, err := openDatabase(ctx, p, at)
	if err == nil {
		p.product, err = serveTo(p, wireStore{db}, clients)
	}
	var addr string
	if err == nil {
		addr, err = startPostgres(ctx, p, at.dir, bin)
	}
	if err == nil {
		p.baseline, err = clients(p, addr)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// startPostgres makes a cluster below dir and runs a server for it on a
// loopback port, until p is closed.
func startPostgres(ctx context.Context, p *pair, dir, bin string) (addr string, err error) {
	as, err := lowly(dir)
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "cluster", "data")
	if err := os.Mkdir(filepath.Dir(data), 0o755); err != nil {
		return "", err
	}
	if as != nil {
		if err := os.Chown(filepath.Dir(data), int(as.Uid), int(as.Gid)); err != nil {
			return "", err
		}
	}
	program := func(name string, args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		c.Dir = filepath.Dir(data)
		c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // a fast shutdown, also when the bench is ended
		c.WaitDelay = patience
		if as != nil {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		}
		return c
	}
	if out, err := program("initdb", "-D", "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N").CombinedOutput(); err != nil {
		return "", fmt.Errorf("make PostgreSQL cluster: %w: %s", err, bytes.TrimSpace(out))
	}
	if addr, err = freePort(); err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(addr)
	log, err := os.Create(filepath.Join(filepath.Dir(data), "log"))
	if err != nil {
		return "", err
	}
	p.onClose(log.Close)
	said := func() []byte {
		text, _ := os.ReadFile(log.Name()) // it only adds to another error
		return bytes.TrimSpace(text[max(0, len(text)-maxSaid):])
	}
	server := program("postgres", "-D", "data", "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	server.Stderr = log
	if err := server.Start(); err != nil {
		return "", fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.onClose(func() error {
		_ = server.Process.Signal(os.Interrupt) // it may be gone already, which Wait tells
		if err := server.Wait(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("stop PostgreSQL: %w: %s", err, said())
		}
		return nil
	})
	if err := createTable(ctx, addr); err != nil {
		return "", fmt.Errorf("%w: PostgreSQL said: %s", err, said())
	}
	return addr, nil
}

// maxSaid is how much of PostgreSQL's log an error repeats, in bytes.
const maxSaid = 2000

// createTable waits until the server answers, and makes the table.
func createTable(ctx context.Context, addr string) error {
	var c *client
	var err error
	for give := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if c, err = dial(addr); err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(give) {
			return fmt.Errorf("wait for PostgreSQL: %w", err)
		}
	}
	sql := "CREATE TABLE " + benchTable + " (" + string(bytes.ReplaceAll([]byte(columnNames()), []byte(","), []byte(" text, "))) + " text)"
	err = c.send(&pgproto3.Query{String: sql})
	if err == nil {
		_, err = c.until('Z')
	}
	if err = errors.Join(err, c.close()); err != nil {
		return fmt.Errorf("create table in PostgreSQL: %w", err)
	}
	return nil
}

// lowly returns whom PostgreSQL runs as, which refuses to be root: user
// postgres where this process is root, else nil, for the same user. It opens
// the way down to dir for that user.
func lowly(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	// The bench's own directory was made for this user alone.
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chmod(filepath.Dir(dir), 0o755)
}

// freePort returns a loopback address that nobody listens on just now.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

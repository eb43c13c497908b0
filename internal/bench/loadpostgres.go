package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/sink"
	"holdfast/sink/postgres"
)

// copiedTable is the baseline's table, equal to benchTable.
const copiedTable = "copied"

// openLoadPostgres starts a server as it comes. Before each turn the table of
// the last one is emptied and the server brought to rest, so that neither side
// pays for the other's pages.
func openLoadPostgres(ctx context.Context, p *pair, at place) (sink.Sink, error) {
	server, err := startPostgres(ctx, p, at)
	if err != nil {
		return nil, err
	}
	p.cpu = cpuWith(server.Pid())
	c := psql{ctx: ctx, dir: at.dir, url: server.URL("postgres")}
	if c.path, err = server.Program("psql"); err != nil {
		return nil, fmt.Errorf("find psql: %w", err)
	}
	for _, table := range []string{benchTable, copiedTable} {
		if err := createTable(server.Addr(), table); err != nil {
			return nil, err
		}
	}
	p.prepare = func(n int) error {
		return errors.Join(c.rest(copiedTable), c.fill(n))
	}
	p.between = func(n int) error {
		if err := c.holds(benchTable, n); err != nil {
			return err
		}
		return c.rest(benchTable)
	}
	p.baseline = func(n int, took *histogram) (float64, error) {
		return float64(n), alone(1, took, func() error { return c.copy(n) })
	}
	to, err := postgres.Open(postgres.Options{URL: c.url})
	if err != nil {
		return nil, err
	}
	return to, nil
}

// psql is the baseline's program, its server, and where its file is.
type psql struct {
	ctx            context.Context
	path, dir, url string
}

// rowsFile is the file that psql copies.
const rowsFile = "rows.copy"

// fill writes a file with n rows.
func (c psql) fill(n int) (err error) {
	f, err := os.Create(filepath.Join(c.dir, rowsFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, bufferSize)
	line := joined("", "\t", "") + "\n"
	for range n {
		if _, err := w.WriteString(line); err != nil {
			return err
		}
	}
	return w.Flush()
}

// copy lets psql copy the file's n rows.
func (c psql) copy(n int) error {
	cmd := exec.CommandContext(c.ctx, c.path, "-X", "-v", "ON_ERROR_STOP=1", "-d", c.url, "-c", `\copy `+copiedTable+` from '`+rowsFile+`'`)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "PGCLIENTENCODING=UTF8"} // nothing of this user's
	out, err := cmd.CombinedOutput()
	if said := strings.TrimSpace(string(out)); err != nil || said != fmt.Sprint("COPY ", n) {
		return fmt.Errorf("copy %d rows by psql: it said %q: %w", n, said, errors.Join(err, c.ctx.Err()))
	}
	return nil
}

// rest empties a table and has the server write down what it holds back.
func (c psql) rest(table string) error {
	_, err := c.ask("TRUNCATE " + table + "; CHECKPOINT")
	return err
}

// holds fails where a table does not have n rows.
func (c psql) holds(table string, n int) error {
	got, err := c.ask("SELECT count(*) FROM " + table)
	if err == nil && got != fmt.Sprint(n) {
		err = fmt.Errorf("%s rows of %d were delivered", got, n)
	}
	return err
}

// ask runs sql on a connection of its own, and returns the first value.
func (c psql) ask(sql string) (value string, err error) {
	conn, err := pgconn.Connect(c.ctx, c.url)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, conn.Close(c.ctx))
		<-conn.CleanupDone()
	}()
	results, err := conn.Exec(c.ctx, sql).ReadAll()
	if err == nil && len(results) > 0 && len(results[0].Rows) > 0 {
		value = string(results[0].Rows[0][0])
	}
	return value, err
}

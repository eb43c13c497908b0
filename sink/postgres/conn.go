package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/sink"
)

// grace is how long a ROLLBACK, a good-bye, or a COMMIT whose context has
// ended, may take.
const grace = 5 * time.Second

// conn is one connection. One goroutine uses it at a time.
type conn struct {
	pg         *pgconn.PgConn
	schema     string // where rows go
	own        string // where Holdfast's own tables are
	tables     tables
	spare      []*chunk // to be used again
	statements int      // that were sent; tests count them
}

// statement is one SQL statement and its parameters, as text.
type statement struct {
	sql  string
	args []string
}

// connect opens a connection and makes its session one that rows can be
// trusted to.
func (s *Sink) connect(ctx context.Context) (*conn, error) {
	config := s.config.Copy()
	if s.opts.Password != nil {
		password, err := s.opts.Password()
		if err != nil {
			return nil, fmt.Errorf("get password: %w", err)
		}
		config.Password = password
	}
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &conn{pg: pg, tables: newTables()}
	if err := c.prepare(ctx, s.opts); err != nil {
		c.close()
		s.bury(c)
		return nil, err
	}
	return c, nil
}

// prepare sets the session up. remote_apply is left as it is, being stronger.
func (c *conn) prepare(ctx context.Context, opts Options) error {
	millis := fmt.Sprint(opts.Timeout.Milliseconds())
	set := func(name, value string) statement {
		return statement{"SELECT set_config($1, $2, false)", []string{name, value}}
	}
	results, err := c.run(ctx,
		statement{sql: "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') <> 'remote_apply'"},
		set("datestyle", "ISO, YMD"), set("timezone", "UTC"), set("intervalstyle", "postgres"),
		set("standard_conforming_strings", "on"), set("default_transaction_deferrable", "off"),
		set("statement_timeout", millis), set("idle_in_transaction_session_timeout", millis),
		statement{sql: "SELECT current_schema(), current_setting('lc_messages')"})
	if err != nil {
		return fmt.Errorf("set up session: %w", err)
	}
	got := results[len(results)-1].Rows[0]
	if got[0] == nil {
		return errors.New("set up session: the search_path names no schema that exists: create one, or name it in the URL (?search_path=...)")
	}
	c.schema, c.own = string(got[0]), opts.Schema
	if c.own == "" {
		c.own = c.schema
	}
	if lc := string(got[1]); lc != "C" && lc != "POSIX" && !strings.HasPrefix(lc, "en") {
		// The line of a refused row stands in a text that is translated. It needs
		// a privilege; without it most languages are understood all the same.
		if _, err := c.run(ctx, set("lc_messages", "C")); err != nil && !isCode(err, "42501") {
			return fmt.Errorf("set up session: %w", err)
		}
	}
	return nil
}

// run sends statements in one go, and returns what each gave. One that fails
// ends them.
func (c *conn) run(ctx context.Context, all ...statement) ([]*pgconn.Result, error) {
	var b pgconn.Batch
	for _, s := range all {
		args := make([][]byte, len(s.args))
		for i, a := range s.args {
			args[i] = []byte(a)
		}
		b.ExecParams(s.sql, args, nil, nil, nil)
	}
	c.statements += len(all)
	results, err := c.pg.ExecBatch(ctx, &b).ReadAll()
	if err == nil && len(results) != len(all) {
		err = fmt.Errorf("the server answered %d of %d statements", len(results), len(all))
	}
	return results, err
}

// copy sends text behind what before says and a COPY statement, in one go.
func (c *conn) copy(ctx context.Context, text io.Reader, sql ...string) error {
	c.statements += len(sql)
	_, err := c.pg.CopyFrom(ctx, text, strings.Join(sql, "; "))
	return err
}

// commit ends the transaction. Where the server did not say that it refused,
// nobody knows whether it happened. A context that ends does not cut it off at
// once: the answer is worth more than the time.
func (c *conn) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		c.rollback(ctx)
		return err
	}
	patient, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	timer := time.AfterFunc(time.Hour, cancel)
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { timer.Reset(grace) })()
	results, err := c.run(patient, statement{sql: "COMMIT"})
	var refused *pgconn.PgError
	switch {
	case err == nil && results[0].CommandTag.String() == "COMMIT":
		return nil
	case err == nil:
		return fmt.Errorf("commit transaction: the server answered %q", results[0].CommandTag)
	case errors.As(err, &refused) && refused.SeverityUnlocalized == "ERROR":
		return refusal(err, "")
	}
	c.cut()
	return fmt.Errorf("%w: %w", sink.ErrDoubtful, err)
}

// rollback ends the transaction without a trace. Where it cannot say so, the
// connection goes, and the server does it by itself.
func (c *conn) rollback(ctx context.Context) {
	c.tables = newTables() // what it created is gone again
	if c.pg.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if _, err := c.run(ctx, statement{sql: "ROLLBACK"}); err != nil {
		c.cut()
	}
}

// cut drops the connection without asking.
func (c *conn) cut() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.pg.Close(ctx) // it ends either way
}

func (c *conn) close() {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = c.pg.Close(ctx) // what matters was committed or not before
}

// table returns the full name of one of Holdfast's own tables.
func (c *conn) table(name string) string { return quote(c.own) + "." + name }

// quote makes name an identifier, whatever is in it.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"holdfast/sink"
	"holdfast/sink/prepared"
)

// maxStatements bounds the prepared statements of a connection. The server
// has room for 16,382 over all connections.
const maxStatements = 32

// mode is the sql_mode of every connection. Each part refuses something that
// the server would change silently otherwise: what does not fit a column, a
// date that is none, 0 for the next number of an AUTO_INCREMENT, InnoDB
// replaced by another engine. What is missing here is missing on purpose:
// ANSI_QUOTES and NO_BACKSLASH_ESCAPES would change how statements are read.
const mode = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"

// idle is how many seconds the server keeps a connection that says nothing,
// and the locks of a transaction whose client went without a word.
const idle = 300

// conn is one connection, used straight through the driver: database/sql
// would copy every argument once more, and might use another connection for
// the next statement. One goroutine uses it at a time.
type conn struct {
	driver.Conn
	statements *prepared.Statements
	count      int // of statements that insert rows, for the tests

	packet  int             // max_allowed_packet, bytes
	folds   bool            // names of tables have no case
	engines map[string]bool // that have transactions
}

// connect opens a connection with our settings.
func (s *Sink) connect(ctx context.Context) (*conn, error) {
	if s.isClosed() {
		return nil, errClosed
	}
	connector, err := mysql.NewConnector(s.config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &conn{engines: map[string]bool{}}
	if c.Conn, err = connector.Connect(ctx); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c.statements = prepared.New(c.Conn, maxStatements)
	flush, err := c.prepareSession(ctx, max(1, int(s.opts.Lock.Seconds())))
	if err != nil {
		c.close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	s.warnFlush(flush)
	return c, nil
}

// prepareSession makes the session's settings, and reads what matters of the
// server's. It returns innodb_flush_log_at_trx_commit.
func (c *conn) prepareSession(ctx context.Context, lock int) (flush string, err error) {
	for _, sql := range []string{
		fmt.Sprintf("SET SESSION sql_mode = '%s', time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, autocommit = 1, sql_safe_updates = 0,"+
			" innodb_lock_wait_timeout = %d, lock_wait_timeout = %d, wait_timeout = %d", mode, lock, lock, idle),
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	} {
		if err := c.exec(ctx, sql); err != nil {
			return "", err
		}
	}
	rows, err := c.query(ctx, "SELECT @@max_allowed_packet, @@lower_case_table_names, @@innodb_flush_log_at_trx_commit")
	if err != nil {
		return "", err
	}
	if c.packet, err = strconv.Atoi(rows[0][0].text); err != nil {
		return "", fmt.Errorf("max_allowed_packet: %w", err)
	}
	c.folds = rows[0][1].text != "0"
	engines, err := c.query(ctx, "SELECT engine FROM information_schema.engines WHERE transactions = 'YES'")
	for _, e := range engines {
		c.engines[strings.ToLower(e[0].text)] = true
	}
	return rows[0][2].text, err
}

// alive reports whether the server still has the connection, as far as can be
// told without asking it.
func (c *conn) alive(ctx context.Context) bool {
	r, ok := c.Conn.(driver.SessionResetter)
	return !ok || r.ResetSession(ctx) == nil
}

// close gives up the connection; the server rolls back what was open.
func (c *conn) close() {
	_ = c.Conn.Close() // it is given up either way
}

func (c *conn) begin(ctx context.Context) error {
	if err := c.exec(ctx, "START TRANSACTION"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	return nil
}

// commit ends the transaction. Its error leaves open what happened, unless the
// server says that it rolled back. No context interrupts it, because that
// would turn each shutdown into a doubt; the connection's timeout does.
func (c *conn) commit() error {
	err := c.exec(context.Background(), "COMMIT")
	switch {
	case err == nil:
		return nil
	case number(err) == 1213:
		return fmt.Errorf("commit transaction: %w", err)
	}
	return fmt.Errorf("%w: %w", sink.ErrDoubtful, err)
}

// exec runs one statement, in one round trip.
func (c *conn) exec(ctx context.Context, sql string, args ...any) error {
	_, err := c.change(ctx, sql, args...)
	return err
}

// change is exec, and returns how many rows the statement changed.
func (c *conn) change(ctx context.Context, sql string, args ...any) (int64, error) {
	r, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, sql, prepared.Named(args))
	if errors.Is(err, driver.ErrSkip) {
		return 0, fmt.Errorf("statement is larger than max_allowed_packet, which is %d bytes", c.packet)
	}
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// field is one value of a result.
type field struct {
	text string
	null bool
}

// query returns all rows of a statement that yields few.
func (c *conn) query(ctx context.Context, sql string, args ...any) (all [][]field, err error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, sql, prepared.Named(args))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		values := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(values); err {
		case nil:
			one := make([]field, len(values))
			for i, v := range values {
				one[i] = fieldOf(v)
			}
			all = append(all, one)
		case io.EOF:
			return all, nil
		default:
			return nil, err
		}
	}
}

func fieldOf(v driver.Value) field {
	switch v := v.(type) {
	case nil:
		return field{null: true}
	case []byte:
		return field{text: string(v)}
	}
	return field{text: fmt.Sprint(v)}
}

// insert runs a statement that inserts rows: prepared and kept where keep is
// set, otherwise in one round trip with its values in it.
func (c *conn) insert(ctx context.Context, sql string, args []driver.NamedValue, keep bool) error {
	c.count++
	if !keep {
		_, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, sql, args)
		if !errors.Is(err, driver.ErrSkip) {
			return err
		}
		// Quoted, its values are larger than a packet; as they are, they may fit.
		p, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, sql)
		if err != nil {
			return err
		}
		_, err = p.(driver.StmtExecContext).ExecContext(ctx, args)
		return errors.Join(err, p.Close())
	}
	_, err := c.statements.Exec(ctx, sql, args)
	return err
}

// quote makes name an identifier, whatever is in it. The driver reads a
// question mark between backticks as part of the name.
func quote(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

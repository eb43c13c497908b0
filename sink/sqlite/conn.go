package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"modernc.org/sqlite"

	"holdfast/sink/prepared"
)

// maxStatements bounds the prepared statements of a connection. One for 64
// rows of 10 columns takes some 100 KiB.
const maxStatements = 48

// conn is one connection, used straight through the driver: database/sql
// checks and copies every argument once more, which costs a tenth of a load.
// One goroutine uses it at a time.
type conn struct {
	driver.Conn
	file       os.FileInfo // the file it has open, to notice that another took its place
	statements *prepared.Statements
}

// open opens path, and creates it so that nobody else can read it, whatever
// the umask is.
func open(ctx context.Context, path string, busyMillis int64) (*conn, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		// It is closed before SQLite opens it: closing any descriptor of a
		// file drops the process's locks on it.
		if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
			return nil, fmt.Errorf("create database %q: %w", path, err)
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("create database %q: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open database %q: %w", path, err)
	}
	connector, err := sqlite.NewConnector(uri(path))
	if err != nil {
		return nil, fmt.Errorf("open database %q: %w", path, err)
	}
	c := &conn{file: info}
	if c.Conn, err = connector.Connect(ctx); err != nil {
		return nil, fmt.Errorf("open database %q: %w", path, err)
	}
	c.statements = prepared.New(c.Conn, maxStatements)
	for _, pragma := range []string{
		fmt.Sprintf("busy_timeout = %d", busyMillis), // first: the others may have to wait
		"foreign_keys = ON",                          // what users' tables declare; SQLite leaves it to each connection
		"journal_mode = WAL",
		"synchronous = FULL",        // a commit returns when it is on disk
		"fullfsync = ON",            // on macOS, where fsync alone does not reach the platter
		"cache_size = -2048",        // 2 MiB; a larger transaction spills into the WAL
		"temp_store = MEMORY",       // no rows in files elsewhere
		"wal_autocheckpoint = 2000", // pages; see Size for what a WAL takes
		"journal_size_limit = 67108864",
	} {
		if _, err := c.exec(ctx, "PRAGMA "+pragma); err != nil {
			c.close()
			return nil, fmt.Errorf("open database %q: %w", path, err)
		}
	}
	return c, nil
}

// uri returns path as SQLite takes it with settings behind it.
func uri(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

// current reports whether path still leads to the file that c has open. A
// file that was removed or replaced takes commits that nobody will ever see.
func (c *conn) current(path string) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, c.file)
}

// close gives up the connection and all of its statements; an open
// transaction is rolled back.
func (c *conn) close() error {
	return errors.Join(c.statements.Forget(), c.Close())
}

// exec runs one statement, prepared for this call alone.
func (c *conn) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	r, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, sql, prepared.Named(args))
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// query returns all rows of a statement that yields few.
func (c *conn) query(ctx context.Context, sql string, args ...any) (all [][]driver.Value, err error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, sql, prepared.Named(args))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		values := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(values); err {
		case nil:
			all = append(all, values)
		case io.EOF:
			return all, nil
		default:
			return nil, err
		}
	}
}

// run executes sql through the statement cache.
func (c *conn) run(sql string, args []driver.NamedValue) (driver.Result, error) {
	// A statement is short and its transaction is rolled back as a whole, so
	// it is not interrupted: watching a context costs a goroutine each time.
	return c.statements.Exec(context.Background(), sql, args)
}

// do executes sql, which has no parameters, through the statement cache.
func (c *conn) do(sql string) error {
	_, err := c.run(sql, nil)
	return err
}

// quote makes name an identifier, whatever is in it.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// FoldName returns a name as SQLite compares it: only the letters A to Z have a
// case. Two tables whose names fold alike are one table to it.
func FoldName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

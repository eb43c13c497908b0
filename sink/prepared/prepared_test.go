package prepared

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// conn notes what is asked of it.
type conn struct {
	driver.Conn
	log []string
	bad string // fails where a statement holds it
}

func (c *conn) PrepareContext(_ context.Context, sql string) (driver.Stmt, error) {
	if c.bad != "" && strings.Contains(sql, c.bad) {
		return nil, errors.New("refused")
	}
	c.log = append(c.log, "prepare "+sql)
	return &stmt{conn: c, sql: sql}, nil
}

type stmt struct {
	driver.Stmt
	conn *conn
	sql  string
}

func (s *stmt) ExecContext(_ context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.conn.log = append(s.conn.log, fmt.Sprint("execute ", s.sql, " ", args[0].Value))
	return driver.RowsAffected(1), nil
}

func (s *stmt) Close() error {
	s.conn.log = append(s.conn.log, "close "+s.sql)
	return nil
}

// TestStatements holds that a statement is prepared once while it is in use,
// that the one longest out of use makes room, and that a refused one is not kept.
func TestStatements(t *testing.T) {
	c := &conn{bad: "X"}
	s := New(c, 2)
	for i, sql := range []string{"A", "B", "A", "C", "X", "A", "B"} {
		_, err := s.Exec(t.Context(), sql, Named([]any{int64(i)}))
		if (err != nil) != (sql == "X") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if err := s.Forget(); err != nil {
		t.Error(err)
	}
	slices.Sort(c.log[len(c.log)-1:])
	want := []string{
		"prepare A", "execute A 0", "prepare B", "execute B 1", "execute A 2", // both are kept
		"close B", "prepare C", "execute C 3", // A was used later than B
		"close A",                  // room for X, which is refused
		"prepare A", "execute A 5", // so that A is prepared again
		"close C", "prepare B", "execute B 6",
	}
	if got := c.log[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	rest := c.log[len(want):]
	slices.Sort(rest)
	if !slices.Equal(rest, []string{"close A", "close B"}) {
		t.Errorf("at the end: %q", rest)
	}
}

package sqlite

import (
	"context"
	"fmt"

	"holdfast/sink/closed"
)

// enter takes which periods are closed. The write lock is held, so nobody can
// close another before the commit.
func (n *session) enter(ctx context.Context, c *conn) error {
	there, err := c.query(ctx, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '"+closed.Table+"'")
	if err != nil || len(there) == 0 {
		return n.begin(nil, err)
	}
	rows, err := c.query(ctx, closed.Query+closed.Table+" ORDER BY 1")
	if err != nil {
		return fmt.Errorf("read which periods are closed: %w", err)
	}
	var all [][2]string
	for _, r := range rows {
		family, ok := r[0].(string)
		text, fine := r[1].(string)
		if !ok || !fine {
			return fmt.Errorf("%s: family %v is not what Holdfast wrote", closed.Table, r[0])
		}
		all = append(all, [2]string{family, text})
	}
	return n.begin(all, nil)
}

func (n *session) begin(rows [][2]string, err error) error {
	if err != nil {
		return err
	}
	return n.gate.Begin(rows)
}

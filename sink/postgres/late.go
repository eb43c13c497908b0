package postgres

import (
	"context"
	"fmt"

	"holdfast/sink/closed"
)

// periods reads which periods are closed. Having read it keeps a closing from
// changing it until the transaction ends.
func (n *session) periods(ctx context.Context, c *conn) ([][2]string, error) {
	name := quote(c.schema) + "." + closed.Table
	results, err := c.run(ctx, statement{"SELECT to_regclass($1) IS NOT NULL", []string{name}})
	if err != nil || string(results[0].Rows[0][0]) != "t" {
		return nil, err
	}
	if results, err = c.run(ctx, statement{sql: closed.Query + name + " ORDER BY 1"}); err != nil {
		return nil, fmt.Errorf("read which periods are closed: %w", err)
	}
	var all [][2]string
	for _, r := range results[0].Rows {
		all = append(all, [2]string{string(r[0]), string(r[1])})
	}
	return all, nil
}

// gated has l refuse rows of closed periods, and returns what settles it, right
// before the commit: rows that became late on their way are found first.
func (n *session) gated(ctx context.Context, c *conn, l *load) (settle func() error, err error) {
	rows, err := n.periods(ctx, c)
	if err == nil {
		err = n.gate.Begin(rows)
	}
	l.gate = &n.gate
	return func() error {
		rows, err := n.periods(ctx, c)
		if err == nil {
			err = n.gate.Again(rows)
		}
		if err != nil {
			return err
		}
		return l.settle()
	}, err
}

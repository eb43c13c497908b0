package mysql

import (
	"context"
	"fmt"

	"holdfast/sink/closed"
)

// Errors that say that there is no table of closed periods for us: none, or
// none that we may read, which the server does not tell apart.
const (
	errNoTable = 1146
	errDenied  = 1142
)

// periods reads which periods are closed, with a lock that keeps a closing from
// changing it until the transaction ends.
func (n *session) periods(ctx context.Context, c *conn) (all [][2]string, err error) {
	rows, err := c.query(ctx, closed.Query+quote(n.sink.config.DBName)+"."+closed.Table+" ORDER BY 1 LOCK IN SHARE MODE")
	if e := number(err); e == errNoTable || e == errDenied {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which periods are closed: %w", err)
	}
	for _, r := range rows {
		all = append(all, [2]string{r[0].text, r[1].text})
	}
	return all, nil
}

// enter takes what is closed before the first row.
func (l *load) enter(n *session) error {
	rows, err := n.periods(l.ctx, l.conn)
	if err == nil {
		err = n.gate.Begin(rows)
	}
	l.gate, l.again = &n.gate, func() error {
		rows, err := n.periods(l.ctx, l.conn)
		if err != nil {
			return err
		}
		return n.gate.Again(rows)
	}
	return err
}

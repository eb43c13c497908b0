package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// maxParameters is what the protocol can number, and PostgreSQL takes.
	maxParameters = 1<<16 - 1
	// yieldRows is how many rows one INSERT has at most.
	yieldRows = 1000
)

// yielding returns how rows of p are written that yield: by INSERT, because COPY
// has no ON CONFLICT.
func (p *plan) yielding() *plan {
	if p.refused != nil || len(p.schema.Columns) == 0 { // a row of nothing but defaults has no key to yield to
		return p
	}
	if p.yields == nil {
		twin := *p
		into := strings.TrimSuffix(strings.TrimPrefix(p.copy, "COPY "), " FROM STDIN")
		twin.insert = "INSERT INTO " + into + " VALUES "
		p.yields = &twin
	}
	return p.yields
}

// insertion is one INSERT with its values, nil for NULL.
type insertion struct {
	sql    string
	values [][]byte
}

// insert sends INSERTs, behind statements without values, in one go.
func (c *conn) insert(ctx context.Context, before []string, all []insertion) error {
	var b pgconn.Batch
	for _, sql := range before {
		b.ExecParams(sql, nil, nil, nil, nil)
	}
	for _, one := range all {
		b.ExecParams(one.sql, one.values, nil, nil, nil)
	}
	c.statements += len(before) + len(all)
	results, err := c.pg.ExecBatch(ctx, &b).ReadAll()
	if n := len(before) + len(all); err == nil && len(results) != n {
		err = fmt.Errorf("the server answered %d of %d statements", len(results), n)
	}
	return err
}

// inserts returns the statements that write some lines of k, whose rows yield.
func (k *chunk) inserts(at []int) (all []insertion) {
	width := len(k.plan.schema.Columns)
	for most := min(yieldRows, maxParameters/width); len(at) > 0; {
		n := min(most, len(at))
		sql, values := []byte(k.plan.insert), make([][]byte, 0, n*width)
		for i := range n {
			if i > 0 {
				sql = append(sql, ',')
			}
			sql = append(sql, '(')
			for j, field := range bytes.Split(k.of(at[i]), []byte{'\t'}) {
				if j > 0 {
					sql = append(sql, ',')
				}
				var text []byte // nil: NULL
				if v := unescape(field); !v.Null {
					text = v.Text
				}
				values = append(values, text)
				sql = strconv.AppendInt(append(sql, '$'), int64(len(values)), 10)
			}
			sql = append(sql, ')')
		}
		all = append(all, insertion{sql: string(append(sql, " ON CONFLICT DO NOTHING"...)), values: values})
		at = at[n:]
	}
	return all
}

package mysql

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"holdfast/row"
	"holdfast/sink"
)

// atRow is how many of the server's messages end. It counts the rows of the
// statement, but a trigger's own statements end so too, so it is a guess.
var atRow = regexp.MustCompile(`at row (\d+)$`)

// narrow writes the rows of g from low to end, exclusive, which were refused
// together as refused says, and sets aside those that are refused by
// themselves. What is in order is written, and the rest halved, until the first
// bad row stands alone: as many statements as the logarithm of the number of
// rows, and less where the server names the row.
func (l *load) narrow(g *group, low, end int, refused error) error {
	if err := l.unchanged(g); err != nil {
		return err
	}
	for low < end {
		bad, why, err := l.firstBad(g, low, end, refused)
		if err != nil {
			return err
		}
		low = bad
		if why != nil {
			if err := l.setAside(g, bad, why); err != nil {
				return err
			}
			low++
		}
		if low == end {
			return nil
		}
		switch err := l.insert(g, low, end-low); {
		case err == nil:
			return nil
		case !aboutRow(err):
			return fmt.Errorf("insert into table %q: %w", g.plan.schema.Table, err)
		default:
			refused = err
		}
	}
	return nil
}

// firstBad writes the rows from low up to the first that is refused by itself,
// and returns its index and why. Where all went in after all, in smaller
// pieces, why is nil and the index that of the first row that was not tried.
func (l *load) firstBad(g *group, low, high int, refused error) (bad int, why error, err error) {
	named := suspect(low, high, refused)
	for tried := true; high-low > 1 || !tried; { // the first bad row is from low to high; tried: as one statement
		next := low + (high-low+1)/2
		switch {
		case named > low:
			next = named // those in front of it are said to be in order
		case named == low:
			next = low + 1
		}
		err := l.insert(g, low, next-low)
		switch {
		case err == nil:
			if low = next; low == high {
				return low, nil, nil
			}
			tried = false
		case aboutRow(err):
			tried, refused = true, err
			if high = next; named >= high {
				named = suspect(low, high, err)
			}
		default:
			return low, nil, fmt.Errorf("insert into table %q: %w", g.plan.schema.Table, err)
		}
	}
	return low, refused, nil
}

// suspect returns the index of the row that refused names, -1 where it names
// none. The rows from low to high were its statement's.
func suspect(low, high int, refused error) int {
	if m := atRow.FindStringSubmatch(refused.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && low+n <= high {
			return low + n - 1
		}
	}
	return -1
}

// setAside hands a row to rejects, as it came.
func (l *load) setAside(g *group, at int, refused error) error {
	k, width := g.rows[at], len(g.plan.kinds)
	r := row.Row{Seq: k.seq, Received: k.received, Flags: k.flags, Schema: k.schema, Values: make([]row.Value, width)}
	text := []byte(k.text)
	for i, size := range g.sizes[at*width : (at+1)*width] {
		if size < 0 {
			r.Values[i] = row.Null
			continue
		}
		r.Values[i].Text, text = text[:size:size], text[size:]
	}
	return l.refuse(&r, &sink.RowError{Code: fmt.Sprint(number(refused)), Err: refused})
}

// unchanged sees that a table is still as it was when values were converted
// for it: a row must not be refused for what somebody changed since. The
// database is asked once for each table and transaction.
func (l *load) unchanged(g *group) error {
	t := g.plan.table
	if t.fresh {
		return nil
	}
	now, err := l.conn.describe(l.ctx, g.plan.schema.Table)
	if err != nil {
		return fmt.Errorf("look at table %q: %w", g.plan.schema.Table, err)
	}
	if !t.same(now) {
		l.tables.forget()
		return errors.New("table " + strconv.Quote(g.plan.schema.Table) + " was changed; the same rows come again")
	}
	t.fresh = true
	return nil
}

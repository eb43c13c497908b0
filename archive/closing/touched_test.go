package closing_test

import (
	"context"
	"strconv"
	"strings"

	"holdfast/archive/dialect"
)

// reading is what a session has read under a lock.
type reading struct {
	locked       bool // by the transaction that is open
	before, most int64
}

// touched is called before each statement of a session, COMMIT included. Where
// the transaction that ends holds all tables of the family, it notes how many
// rows of tables it has read.
func (b *anyBase) touched(s *dialect.Session, statement string, read *reading) error {
	locks := strings.Contains(statement, "LOCK TABLE")
	if statement != "COMMIT" && !locks {
		return nil
	}
	ctx := context.Background()
	rows, err := dialect.Rows(ctx, s.Conn, `SELECT (SELECT count(*) FROM pg_catalog.pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND locktype = 'relation'),
		(SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_catalog.pg_stat_xact_user_tables)`)
	if err != nil {
		return err
	}
	held, err := strconv.Atoi(rows[0][0])
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(rows[0][1], 10, 64)
	switch {
	case locks:
		read.before, read.locked = n, true // what earlier transactions read and have not told yet
	case read.locked && held >= len(b.f.Tables):
		read.most = max(read.most, n-read.before)
		fallthrough
	default:
		read.locked = false
	}
	return err
}

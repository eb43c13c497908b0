package daemon

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"holdfast"
	"holdfast/internal/httpapi"
	"holdfast/row"
)

// intake is what came in by one door, and what of it is being stored. The zero
// intake is empty. Safe for concurrent use.
type intake struct {
	rows, refused atomic.Uint64
	bytes         atomic.Int64

	mu            sync.Mutex
	oldest, young *taken // what is being stored, in the order in which it began
	pending       int64  // its bytes
}

// intakes are those of the doors.
type intakes struct{ pg, http, mysql intake }

// begin returns tx, counted.
func (in *intake) begin(tx *holdfast.Tx) *taken { return &taken{Tx: tx, in: in} }

// taken is a transaction whose rows came in by a door.
type taken struct {
	*holdfast.Tx
	in *intake

	before, behind *taken // while it is being stored
	since          time.Time
	bytes          int64
}

// Insert counts the rows that are refused.
func (t *taken) Insert(s *row.Schema, values []row.Value) error {
	err := t.Tx.Insert(s, values)
	if err != nil {
		t.in.refused.Add(1)
	}
	return err
}

// Commit counts what is stored, and for how long that takes.
func (t *taken) Commit(ctx context.Context, durable bool) error {
	rows, bytes := t.Rows(), t.Bytes()
	t.in.enter(t, bytes)
	err := t.Tx.Commit(ctx, durable)
	t.in.leave(t)
	if err == nil {
		t.in.rows.Add(uint64(rows))
		t.in.bytes.Add(bytes)
	}
	return err
}

func (in *intake) enter(t *taken, bytes int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	t.since, t.bytes = time.Now(), bytes
	in.pending += bytes
	if t.before = in.young; t.before != nil {
		t.before.behind = t
	} else {
		in.oldest = t
	}
	in.young = t
}

func (in *intake) leave(t *taken) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pending -= t.bytes
	if t.before != nil {
		t.before.behind = t.behind
	} else {
		in.oldest = t.behind
	}
	if t.behind != nil {
		t.behind.before = t.before
	} else {
		in.young = t.before
	}
	t.before, t.behind = nil, nil
}

func (in *intake) status(name, address string) httpapi.DoorStatus {
	st := httpapi.DoorStatus{Name: name, Address: address, Rows: in.rows.Load(), Bytes: in.bytes.Load(), Refused: in.refused.Load()}
	in.mu.Lock()
	defer in.mu.Unlock()
	st.PendingBytes = in.pending
	if in.oldest != nil {
		st.PendingSeconds = max(0, time.Since(in.oldest.since).Seconds())
	}
	return st
}

// doorStatus tells of the doors that are open.
func (s *server) doorStatus() []httpapi.DoorStatus {
	a, in := s.doors.addresses, &s.intakes
	all := []httpapi.DoorStatus{in.pg.status("pg", a.PG), in.http.status("http", a.HTTP)}
	if a.MySQL != "" {
		all = append(all, in.mysql.status("mysql", a.MySQL))
	}
	return all
}

package holdfast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/internal/dedupe"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// Dedupe says which rows of a table are repeats: those that agree in all key
// columns, NULL being a value, with one that was received within Window before.
// A repeat is acked as stored, once the first one is, and dropped.
type Dedupe struct {
	Table  string
	Key    []string
	Window time.Duration
	Keys   int // that are remembered at most; 0: 1,000,000
}

// defaultKeys is how many keys a table remembers, for about 40 bytes each.
const defaultKeys = 1_000_000

// logRepeats is how often, at most, the log tells of a stream's repeats.
const logRepeats = time.Minute

// DedupeStatus is how one table's repeats are looked for.
type DedupeStatus struct {
	Dedupe
	Stream  string
	Repeats uint64    // rows dropped since Open
	Known   int       // keys that are remembered
	Early   uint64    // keys forgotten before their window ended, because there were too many
	Since   time.Time // receipt of the oldest row remembered; zero: none is
	Unknown string    // what of the window before the start is not known; "": nothing
}

// guard looks for the repeats of one stream.
type guard struct {
	*dedupe.Guard
	plans sync.Map // of *row.Schema to *plan, nil where its rows are not looked at

	mu     sync.Mutex
	logged time.Time
}

// plan says where the key of a schema's rows is.
type plan struct {
	table *dedupe.Table
	at    []int
}

// judgeDedupe refuses rules that cannot be.
func judgeDedupe(rules []Dedupe) error {
	seen := map[string]bool{}
	for _, d := range rules {
		bad := ""
		switch {
		case d.Table == "" || seen[d.Table]:
			bad = "name each table once"
		case len(d.Key) == 0 || slices.Contains(d.Key, ""):
			bad = "name the columns in which repeats agree"
		case d.Window <= 0 || d.Keys < 0:
			bad = "give a window, like an hour"
		}
		if bad != "" {
			return fault.New(fault.InvalidParameterValue, "repeats of table %q cannot be looked for", d.Table).WithHint("%s", bad)
		}
		seen[d.Table] = true
	}
	return nil
}

// openGuards makes the guards, and begins to read back what was stored within
// their windows. Rows of their tables wait for that; nothing else does.
func (db *DB) openGuards() {
	rules := map[*stream][]dedupe.Rule{}
	if db.o.Requests.Window > 0 {
		for _, s := range db.streams {
			if s.Name != RejectsStream {
				rules[s] = nil
			}
		}
	}
	for _, d := range db.o.Dedupe {
		if d.Keys == 0 {
			d.Keys = defaultKeys
		}
		s := db.route(d.Table)
		rules[s] = append(rules[s], dedupe.Rule{Table: d.Table, Columns: d.Key, Window: d.Window, Keys: d.Keys})
	}
	ctx, cancel := context.WithCancel(context.Background())
	db.endRecovery = cancel
	for s, r := range rules {
		s.guard = &guard{Guard: dedupe.New(r, dedupe.Requests(db.o.Requests), time.Now)}
		end := s.journal.End().Seq // later rows are claimed
		db.recovering.Go(func() { s.recoverKeys(ctx, end, db) })
	}
}

// recoverKeys reads back the keys of rows up to end.
func (s *stream) recoverKeys(ctx context.Context, end uint64, db *DB) {
	began := time.Now()
	ranges, whole := s.journal.Ranges(began.Add(-s.guard.Window()).UnixMicro(), func(table string) bool {
		return table == requestsTable || s.guard.Table(table) != nil
	})
	why := ""
	if !whole {
		why = "rows that were received within the window are not kept any more: give the stream more history"
	}
	rows, err := uint64(0), error(nil)
	for _, r := range ranges {
		if r.First <= end && ctx.Err() == nil {
			n, rerr := s.readKeys(ctx, r.First, min(r.Last, end))
			rows, err = rows+n, errors.Join(err, rerr)
		}
	}
	if err != nil && ctx.Err() == nil {
		why = "rows that were received within the window cannot be read: " + err.Error()
		db.o.Log.Error("read back the keys of rows, to tell repeats", "stream", s.Name, "error", err)
	} else if why != "" && len(s.guard.States()) == 0 {
		db.o.Log.Info("keys of requests may be unknown that are older than the oldest row kept", "stream", s.Name)
	} else if why != "" {
		db.o.Log.Warn("repeats of rows that were received before the start may be stored twice", "stream", s.Name, "why", why)
	}
	s.guard.Recovered(why)
	db.o.Log.Debug("read back the keys of rows, to tell repeats", "stream", s.Name, "rows", rows, "took", time.Since(began).String())
}

// readKeys remembers the keys of the rows from a seq to another.
func (s *stream) readKeys(ctx context.Context, from, end uint64) (rows uint64, err error) {
	r, err := s.reader(from)
	if errors.Is(err, journal.ErrGone) {
		r, err = s.reader(0)
	}
	if err != nil {
		return 0, err
	}
	defer r.Close()
	r.States = true
	var lost error
	var room []byte
	for ctx.Err() == nil {
		b, err := r.TryNext()
		if err != nil {
			return rows, err
		}
		if b == nil {
			break
		}
		for i := range b.Rows {
			one := &b.Rows[i]
			if one.Flags&row.State != 0 {
				s.guard.rememberRequest(one)
				continue
			}
			if p := s.guard.plan(one.Schema); p != nil && one.Flags&row.Malformed == 0 && one.Seq <= end {
				var k dedupe.Key
				k, room = p.table.Key(one.Values, p.at, room)
				s.guard.Remember(p.table, k, one.Received)
			}
		}
		rows += uint64(len(b.Rows))
		for _, d := range b.Damage {
			lost = fmt.Errorf("rows %d to %d: %s", d.First, d.Last, d.What)
		}
		if b.End.Seq >= end {
			break
		}
	}
	return rows, lost
}

// plan returns where the key of a schema's rows is; nil where repeats of its
// table are not looked for.
func (g *guard) plan(s *row.Schema) *plan {
	if g == nil {
		return nil
	}
	found, ok := g.plans.Load(s)
	if !ok {
		var p *plan
		if t := g.Table(s.Table); t != nil {
			p = &plan{t, t.Places(s.Columns)}
		}
		found, _ = g.plans.LoadOrStore(s, p)
	}
	return found.(*plan)
}

// mark notes the key of a row that is about to be added. Where the rows before
// it are on disk already, its key is claimed at once; repeat says that it is
// not to be added.
func (t *Tx) mark(s *stream, p *plan, values []row.Value) (repeat bool, err error) {
	var k dedupe.Key
	k, t.room = p.table.Key(values, p.at, t.room)
	if t.claim == nil {
		t.claim, t.guard = new(dedupe.Claim), s.guard
	}
	if err := t.claim.Add(p.table, k, t.rows); err != nil || !t.taking {
		return false, err
	}
	drop, after, err := t.guard.Take(context.Background(), t.claim)
	if len(drop) > 0 {
		t.repeats, t.after = t.repeats+1, max(t.after, after)
		t.guard.tell(t.db, s, 1)
	}
	return len(drop) > 0, err
}

// take claims the keys of the rows at hand, and drops those of them that are
// repeats.
func (t *Tx) take(ctx context.Context) error {
	if t.claim == nil || t.taking {
		return nil
	}
	drop, after, err := t.guard.Take(ctx, t.claim)
	if err != nil || len(drop) == 0 {
		return err
	}
	before := t.batch.Len()
	t.batch.Drop(drop)
	if t.move != nil {
		t.batch.MarkFirst(row.Moves)
	}
	t.rows, t.repeats, t.after = t.rows-len(drop), t.repeats+len(drop), after
	t.bytes -= int64(before - t.batch.Len())
	t.guard.tell(t.db, t.stream, len(drop))
	return nil
}

// sent hands the claimed keys over with the rows.
func (t *Tx) sent(o dedupe.Outcome, durable bool) {
	if t.claim != nil {
		t.guard.Sent(t.claim, o, durable)
		t.claim = nil
	}
}

// awaitFirsts waits until the rows of which all of these are repeats are as
// safe as is asked for.
func (t *Tx) awaitFirsts(ctx context.Context, durable bool) error {
	if !durable || t.after == 0 {
		return nil
	}
	if err := t.stream.journal.Await(ctx, t.after); err != nil {
		return fault.New(fault.OutcomeUnknown, "the rows are stored already, and it is not known whether they are flushed").Because(err).WithHint("send them again")
	}
	return nil
}

// tell writes to the log, now and then, that there were repeats.
func (g *guard) tell(db *DB, s *stream, n int) {
	g.mu.Lock()
	now := time.Now()
	quiet := now.Sub(g.logged) < logRepeats
	if !quiet {
		g.logged = now
	}
	g.mu.Unlock()
	if quiet {
		return
	}
	total := uint64(0)
	for _, t := range g.States() {
		total += t.Repeats
	}
	db.o.Log.Info("rows that were sent again are dropped", "stream", s.Name, "rows", n, "since_start", total)
}

// dedupes returns how each table's repeats are looked for.
func (db *DB) dedupes() (all []DedupeStatus) {
	for _, s := range db.streams {
		if s.guard == nil {
			continue
		}
		for _, t := range s.guard.States() {
			all = append(all, DedupeStatus{
				Dedupe: Dedupe{Table: t.Table, Key: t.Columns, Window: t.Window, Keys: t.Keys}, Stream: s.Name,
				Repeats: t.Repeats, Known: t.Known, Early: t.Early, Since: t.Since, Unknown: t.Broken,
			})
		}
	}
	return all
}

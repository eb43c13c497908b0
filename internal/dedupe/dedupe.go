// Package dedupe tells rows that a client sends again, because no answer
// reached it, from new ones.
//
// A key is claimed before its row is written, and known once the row is stored.
// Who brings a key that another has claimed waits for what becomes of it:
//
//	first                      repeat
//	Take: the key is free
//	Sent: its row is on        Take: the key is claimed; wait
//	the way to the disk        .
//	flushed                    Take: the key is known; its row is dropped, and
//	                           acked, since the first one is on disk
//	or failed: it is free      Take: the key is free; its row is written
//
// All keys of a transaction are claimed in one step, or none, so that nobody
// holds one while he waits for another; a transaction that is too large for
// memory must, and gives up after a while.
package dedupe

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// patience is how long one waits for a key of a transaction that is not being
// committed yet.
const patience = 5 * time.Second

// Key stands for the values of a row's key columns: 128 bits of a SHA-256, so
// that nobody can make two rows that share one.
type Key [16]byte

// Rule says which rows of a table are repeats.
type Rule struct {
	Table   string
	Columns []string      // that repeats agree in; NULL is a value
	Window  time.Duration // by time of receipt
	Keys    int           // that are remembered at most
}

// Table is a table whose repeats are dropped.
type Table struct {
	Rule
	mem     memory[struct{}]
	repeats uint64
}

// Outcome is what becomes of rows that were handed over.
type Outcome interface {
	// Done is closed when Result can tell.
	Done() <-chan struct{}
	// Result returns the seq of the last row, or why they are not stored.
	Result() (uint64, error)
}

// Guard remembers the keys of one stream. It is safe for concurrent use.
type Guard struct {
	now func() time.Time

	mu        sync.Mutex
	tables    map[string]*Table
	claimed   map[Key]*Claim
	sent      []*Claim // in the order of Sent; those in front may have an outcome
	unflushed uint64   // the last seq that was acked before its flush
	ready     chan struct{}
	requests  memory[Answer]
	broken    string // why not all that was stored before is known; "": it is
}

// New returns a Guard that knows nothing yet. Until Recovered is called, Take
// waits.
func New(rules []Rule, requests Requests, now func() time.Time) *Guard {
	g := &Guard{now: now, requests: memory[Answer]{window: requests.Window, max: requests.Keys}, tables: map[string]*Table{}, claimed: map[Key]*Claim{}, ready: make(chan struct{})}
	for _, r := range rules {
		g.tables[r.Table] = &Table{Rule: r, mem: memory[struct{}]{window: r.Window, max: r.Keys}}
	}
	return g
}

// Table returns the table where its repeats are dropped, else nil.
func (g *Guard) Table(name string) *Table { return g.tables[name] }

// Window returns the longest window.
func (g *Guard) Window() time.Duration {
	w := g.requests.window
	for _, t := range g.tables {
		w = max(w, t.Window)
	}
	return w
}

// Places returns where the key columns stand among columns; -1 for one that
// does not.
func (t *Table) Places(columns []row.Column) []int {
	at := make([]int, len(t.Columns))
	for i, name := range t.Columns {
		at[i] = slices.IndexFunc(columns, func(c row.Column) bool { return c.Name == name })
	}
	return at
}

// Key returns the key of a row whose key columns stand at places. A column that
// is not there is NULL. room is used for what is hashed, and returned.
func (t *Table) Key(values []row.Value, places []int, room []byte) (Key, []byte) {
	b := appendText(room[:0], t.Table)
	for i, at := range places {
		b = appendText(b, t.Columns[i])
		if at < 0 || values[at].Null {
			b = append(b, 0)
			continue
		}
		b = append(b, 1)
		b = binary.AppendUvarint(b, uint64(len(values[at].Text)))
		b = append(b, values[at].Text...)
	}
	sum := sha256.Sum256(b)
	return Key(sum[:16]), b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// Remember notes a row that was found stored, with its time of receipt.
func (g *Guard) Remember(t *Table, k Key, at int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now().UnixMicro()
	if at = min(at, now); at > now-t.Window.Microseconds() {
		t.mem.put(k, at, now, struct{}{})
	}
}

// Recovered lets claims begin. why says what of the window is not known; "":
// nothing.
func (g *Guard) Recovered(why string) {
	g.mu.Lock()
	g.broken = why
	g.mu.Unlock()
	close(g.ready)
}

// awaitReady waits until what was stored before is known.
func (g *Guard) awaitReady(ctx context.Context) error {
	select {
	case <-g.ready:
		return nil
	default:
	}
	late := time.NewTimer(6 * patience)
	defer late.Stop()
	select {
	case <-g.ready:
		return nil
	case <-ctx.Done():
		return fault.New(fault.QueryCanceled, "cancelled while the rows of before the start were read back; nothing was stored")
	case <-late.C:
		return fault.New(fault.CannotConnectNow, "the rows of the last %v are still being read back, to tell repeats from new rows", g.Window()).
			WithHint("nothing was stored; try again")
	}
}

// State is how one table is doing.
type State struct {
	Rule
	Repeats uint64    // rows dropped since the start
	Known   int       // keys that are remembered
	Early   uint64    // keys that were forgotten before their window ended, for lack of room
	Since   time.Time // of the oldest key
	Broken  string    // what is not known of before the start
}

// States returns how each table is doing, sorted by name.
func (g *Guard) States() []State {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sweepLocked()
	var all []State
	for _, t := range g.tables {
		t.mem.forget(g.now().UnixMicro())
		s := State{Rule: t.Rule, Repeats: t.repeats, Known: t.mem.size, Early: t.mem.early, Broken: g.broken}
		if at := t.mem.reach(); at > 0 {
			s.Since = time.UnixMicro(at)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b State) int {
		if a.Table < b.Table {
			return -1
		}
		return 1
	})
	return all
}

package rejects

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

var crashSeed = flag.Uint64("seed", 0, "seed of TestCrash; 0: a new one")

// fact is what the oracle knows of a reject that waits.
type fact struct {
	id       uint64 // 0: not asked yet
	values   string
	attempts uint32
	edits    uint32
	code     string
}

// oracle knows what was promised: what waits, and what the call that is under
// way makes of the keys that it touches (nil: it closes them).
type oracle struct {
	mu    sync.Mutex
	waits map[Key]fact
	now   map[Key]*fact
}

// snapshot is a crashed disk and what was promised at that moment.
type snapshot struct {
	d   *disk.Mem
	o   *oracle
	rnd *rand.Rand
}

func (o *oracle) copy() *oracle {
	return &oracle{waits: maps.Clone(o.waits), now: maps.Clone(o.now)}
}

// call runs one call that makes now of the store.
func (o *oracle) call(now map[Key]*fact, do func() error) error {
	o.mu.Lock()
	o.now = now
	o.mu.Unlock()
	err := do()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = nil
	if err != nil {
		return err
	}
	for k, f := range now {
		if f == nil {
			delete(o.waits, k)
		} else {
			o.waits[k] = *f
		}
	}
	return nil
}

// hold compares what waits in s with what was promised.
func (o *oracle) hold(s *Store) error {
	seen, ids := map[Key]bool{}, map[uint64]bool{}
	for e, err := range s.Export(ctx, Filter{}) {
		if err != nil {
			return err
		}
		if seen[e.Key] || ids[e.ID] {
			return fmt.Errorf("reject %d, %+v, waits twice", e.ID, e.Key)
		}
		seen[e.Key], ids[e.ID] = true, true
		if e.Row == nil {
			return fmt.Errorf("reject %d has no values: %s", e.ID, e.Lost)
		}
		got := fact{e.ID, text(e.Row.Values), e.Attempts, e.Edits, e.Code}
		was, before := o.waits[e.Key]
		to, touched := o.now[e.Key]
		fits := func(want fact) bool {
			if want.id == 0 {
				want.id = got.id
			}
			return want == got
		}
		if !(before && fits(was) || touched && to != nil && fits(*to)) {
			return fmt.Errorf("%+v waits as %+v; promised was %+v, under way %+v", e.Key, got, was, to)
		}
	}
	for k := range o.waits {
		if to, touched := o.now[k]; !seen[k] && !(touched && to == nil) {
			return fmt.Errorf("%+v waits no more", k)
		}
	}
	for _, c := range s.Counts() {
		for k := range seen {
			if k.Sink == c.Sink {
				c.Open--
			}
		}
		if c.Open > 0 {
			return fmt.Errorf("counts %+v, more than are listed", s.Counts())
		}
	}
	if d := s.Damage(); len(d) != 0 {
		return fmt.Errorf("damage %+v on a disk without any", d)
	}
	return nil
}

func text(values []row.Value) (s string) {
	for _, v := range values {
		s += fmt.Sprintf("%q,", v)
	}
	return s
}

// world is one history.
type world struct {
	o    *oracle
	s    *Store
	rnd  *rand.Rand
	next uint64
}

// step makes one call of the store.
func (w *world) step() error {
	var open []Key
	for k := range w.o.waits {
		open = append(open, k)
	}
	slices.SortFunc(open, func(a, b Key) int { return int(a.Seq) - int(b.Seq) })
	what := w.rnd.IntN(10)
	if len(open) == 0 || what < 4 && len(open) < 40 {
		return w.keep()
	}
	k := open[w.rnd.IntN(len(open))]
	f := w.o.waits[k]
	switch {
	case what < 6:
		v := row.Text(fmt.Sprint("edited ", w.rnd.IntN(1000)))
		to := f
		to.edits++
		to.values = text([]row.Value{row.Text(fmt.Sprint(k.Seq)), v, row.Text("")})
		return w.o.call(map[Key]*fact{k: &to}, func() error {
			_, err := w.s.Edit(ctx, f.id, map[string]row.Value{"who": v})
			return err
		})
	case what < 7:
		to := f
		to.attempts++
		to.code = fmt.Sprint("c", w.rnd.IntN(5))
		return w.o.call(map[Key]*fact{k: &to}, func() error {
			return w.s.Retried(ctx, []Outcome{{ID: f.id, Edits: f.edits, Code: to.code}})
		})
	case what < 8:
		return w.o.call(map[Key]*fact{k: nil}, func() error {
			return w.s.Retried(ctx, []Outcome{{ID: f.id, Edits: f.edits, Delivered: true}})
		})
	}
	now := map[Key]*fact{}
	for _, k := range open {
		if len(now) < 3 && w.rnd.IntN(3) == 0 {
			now[k] = nil
		}
	}
	var ids []uint64
	for k := range now {
		ids = append(ids, w.o.waits[k].id)
	}
	if len(ids) == 0 {
		return nil
	}
	return w.o.call(now, func() error {
		n, err := w.s.Discard(ctx, Filter{IDs: ids}, "test")
		if err == nil && n != len(ids) {
			err = fmt.Errorf("discarded %d of %d", n, len(ids))
		}
		return err
	})
}

// keep sets new rows aside, and some that wait.
func (w *world) keep() error {
	sink := []string{"a", "b"}[w.rnd.IntN(2)]
	now := map[Key]*fact{}
	var rs []Reject
	for range 1 + w.rnd.IntN(4) {
		w.next++
		r := bad(sink, w.next)
		if w.rnd.IntN(4) == 0 {
			r.Row.Values = []row.Value{row.Text(fmt.Sprint(w.next)), row.Text(string(make([]byte, w.rnd.IntN(20_000)))), row.Text("")}
		}
		rs = append(rs, r)
		now[key(r)] = &fact{values: text(r.Row.Values), attempts: 1, code: r.Code}
	}
	for k := range w.o.waits {
		rs = append(rs, Reject{StreamID: k.StreamID, Stream: "main", Sink: k.Sink, Row: row.Row{Seq: k.Seq, Schema: schema, Values: []row.Value{row.Null, row.Null, row.Null}}})
		break
	}
	if err := w.o.call(now, func() error { return w.s.Keep(ctx, rs) }); err != nil {
		return err
	}
	for e, err := range w.s.List(ctx, Filter{}) {
		if err != nil {
			return err
		}
		w.o.mu.Lock()
		f, known := w.o.waits[e.Key]
		if !known || f.id != 0 && f.id != e.ID {
			w.o.mu.Unlock()
			return fmt.Errorf("%+v has id %d now, it had %d", e.Key, e.ID, f.id)
		}
		f.id = e.ID
		w.o.waits[e.Key] = f
		w.o.mu.Unlock()
	}
	return nil
}

// history runs a history and returns crashed disks from it.
func history(seed uint64, steps int) (states []snapshot, err error) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	mem := disk.NewMem()
	w := &world{o: &oracle{waits: map[Key]fact{}}, rnd: rnd}
	for range 2 { // a second life on the same disk
		f := disk.NewFaulty(mem)
		cr := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		f.OnCall(func(disk.Call) {
			w.o.mu.Lock()
			defer w.o.mu.Unlock()
			if len(states) < 60 && cr.IntN(12) == 0 {
				states = append(states, snapshot{mem.Crash(cr.Uint64()), w.o.copy(), rand.New(rand.NewPCG(cr.Uint64(), 3))})
			}
		})
		j, err := journal.Open(f, small())
		if err != nil {
			return nil, err
		}
		if w.s, err = Open(j, few(rnd)); err != nil {
			return nil, errors.Join(err, j.Close())
		}
		for range steps {
			if err = w.step(); err != nil {
				break
			}
		}
		if err = errors.Join(err, w.o.hold(w.s), j.Close()); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// small is a stream in which segments go, and rejects are carried, all the time.
func small() journal.Options {
	return journal.Options{Name: "rejects", SegmentSize: 24 << 10, Limits: journal.Limits{Budget: 2 << 20, KeepDelivered: true}}
}

// few are options with which little is read at start, or remembered, half of the
// time.
func few(rnd *rand.Rand) (o Options) {
	if rnd.IntN(2) == 0 {
		o.small = 1
	}
	if rnd.IntN(2) == 0 {
		o.closed = 2
	}
	return o
}

// check opens a crashed disk, compares, and does again what was under way.
func (s snapshot) check() (err error) {
	j, err := journal.Open(s.d, small())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	st, err := Open(j, few(s.rnd))
	if err != nil {
		return err
	}
	if err := s.o.hold(st); err != nil {
		return err
	}
	// The batch that was under way comes again: nothing may be there twice.
	var rs []Reject
	for k, f := range s.o.now {
		if _, waited := s.o.waits[k]; !waited && f != nil {
			r := bad(k.Sink, k.Seq)
			r.Row.Values = []row.Value{row.Text("again"), row.Null, row.Null}
			r.Code = f.code
			s.o.now[k] = &fact{values: text(r.Row.Values), attempts: 1, code: f.code}
			for e := range st.Export(ctx, Filter{Sink: k.Sink, From: k.Seq, To: k.Seq}) {
				s.o.now[k].values = text(e.Row.Values)
			}
			rs = append(rs, r)
		}
	}
	if err := st.Keep(ctx, rs); err != nil {
		return err
	}
	for _, r := range rs {
		s.o.waits[key(r)] = *s.o.now[key(r)]
		delete(s.o.now, key(r))
	}
	return s.o.hold(st)
}

// TestPrefixes folds the log anew after every call: it tells the same, from
// wherever the fold begins.
func TestPrefixes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	p := begin(t, disk.NewMem(), Options{})
	w := &world{o: &oracle{waits: map[Key]fact{}}, s: p.s, rnd: rand.New(rand.NewPCG(seed, 1))}
	for range 80 {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{}, {small: 1}, {closed: 1}} {
			s, err := Open(p.j, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.o.hold(s); err != nil {
				t.Fatalf("with %+v: %v", o, err)
			}
		}
	}
}

// TestCrash cuts the power at random disk calls: what Keep returned for waits, as
// it was left, once; and what is closed waits no more.
func TestCrash(t *testing.T) {
	first := *crashSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -run 'TestCrash$' -seed %d", first)
	worlds, steps := 4, 60
	if testing.Short() {
		worlds = 2
	}
	tried := 0
	for i := range worlds {
		states, err := history(first+uint64(i), steps)
		if err != nil {
			t.Fatalf("seed %d, without a crash: %v (%s)", first+uint64(i), err, fault.Code(err))
		}
		for n, s := range states {
			if err := s.check(); err != nil {
				t.Fatalf("seed %d, state %d: %v", first+uint64(i), n, err)
			}
			tried++
		}
	}
	if tried < worlds*20 {
		t.Errorf("only %d crashes came about", tried)
	}
}

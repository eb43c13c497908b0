package roller

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/index"
	"holdfast/internal/journal"
	"holdfast/internal/mutant"
	"holdfast/internal/roll"
	"holdfast/internal/segment"
)

// Stream is one stream that rolls.
type Stream struct {
	Name    string
	Journal *journal.Journal
	Link    journal.Link
	Parent  string
	Cold    Cold
	Warm    bool // segments move to a warm tier before they leave
	Limits  func() journal.Limits
	Index   *index.Index // nil: it has none
	IndexFS disk.FS      // where its slices are

	IndexWarm disk.FS // where they move; nil: the index has no warm tier
}

// Options configure a Roller. Zero fields work.
type Options struct {
	Undo time.Duration // how long an asynchronous roll can be undone; 0: not at all
	Now  func() time.Time
	Log  *slog.Logger
	Done func(Event) // told of each roll that was committed

	silence time.Duration // after which a copy counts as one that the cold tier does not take; 0: what is so outside of tests
}

// Event is a roll that was committed, or undone.
type Event struct {
	Serial uint64
	Rule   string
	By     string
	At     time.Time
	Undo   uint64
}

// Roller rolls the streams of one data directory. Its methods are safe for
// concurrent use.
type Roller struct {
	d disk.FS
	o Options

	aging func() time.Time // by which something is old

	moving sync.Mutex // held while segments move; before mu

	mu      sync.Mutex // one roll at a time, and none while holds change; before every lock of a journal
	last    *record
	streams []Stream
	holds   []journal.Hold
	noHolds bool  // there was no HOLDS at the start
	broken  error // why nothing is rolled any more
	mover   *mover

	wants    map[string]want     // room that only the mover can make, by stream
	stuck    map[string][]uint64 // segments that the cold tier cannot take, by stream
	flights  map[route]*flight   // copies to another tier that are under way
	accounts accountsOf[Account]

	coldAccounts accountsOf[ColdAccount]
	movers       accountsOf[Stuck]
	pinned       pinned
}

// Open reads what the last roll committed, and the holds.
func Open(d disk.FS, o Options) (*Roller, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	aging := o.Now
	if o.Now == nil {
		o.Now, aging = time.Now, newSteady(o.Log).now
	}
	if o.Done == nil {
		o.Done = func(Event) {}
	}
	o.silence = cmp.Or(o.silence, silence)
	r := &Roller{d: d, o: o, aging: aging}
	var err error
	if r.last, err = readRecord(d); err != nil {
		return nil, err
	}
	if r.last != nil {
		r.before(r.last)
	}
	if err := r.openHolds(); err != nil {
		return nil, err
	}
	if err := makeFile(d); disk.IsFull(err) {
		o.Log.Warn("the disk is full; linked streams are not rolled before a start with more room", "error", err)
		r.broken = err
	} else if err != nil {
		return nil, err
	}
	return r, nil
}

// Aging returns the time by which something is old: that of the machine, unless its
// clock has gone far forward at once.
func (r *Roller) Aging() time.Time { return r.aging() }

// Cut returns what the last roll has changed in a stream; nil: nothing.
func (r *Roller) Cut(stream string) *journal.Cut {
	if r.last == nil {
		return nil
	}
	s, ok := r.last.Streams[stream]
	if !ok {
		return nil
	}
	return &s.Cut
}

// Attach gives the roller its streams, when all are open.
func (r *Roller) Attach(streams []Stream) {
	r.stopMover()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams = slices.Clone(streams)
	for _, s := range streams { // that HOLDS is missing may have shown when some were open
		s.Journal.SetHolds(r.holds)
	}
	r.remember()
	r.startMover(streams)
}

// State returns what a plan rests on, from memory alone.
func (r *Roller) State() (*roll.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state()
}

func (r *Roller) state() (*roll.State, error) {
	st := &roll.State{}
	for _, s := range r.streams {
		one := r.store(s)
		for _, d := range s.Journal.Directories() {
			if d.Err != nil && !d.Warm {
				return nil, d.Err
			}
			if d.Err != nil { // what goes wrong there is told when something moves, and is no other stream's trouble
				d.Space = disk.Space{Volume: "that of the directory " + d.ID}
			}
			v := roll.Volume{Name: cmp.Or(d.Space.Volume, "the only one"), Total: d.Space.Total, Free: d.Space.Free}
			if !slices.ContainsFunc(st.Volumes, func(o roll.Volume) bool { return o.Name == v.Name }) {
				st.Volumes = append(st.Volumes, v)
			}
			lies(&one, d, v.Name)
		}
		st.Stores = append(st.Stores, one)
	}
	return st, r.addIndexes(st)
}

// lies notes that a directory of a stream is on a volume.
func lies(s *roll.Store, d journal.DirectoryStatus, volume string) {
	switch {
	case d.Warm && s.WarmVolume == "":
		s.WarmVolume = volume
	case d.Warm:
	case d.ID == "":
		s.HotVolume = volume
	case volume != s.HotVolume && !slices.Contains(s.MoreHot, volume):
		s.MoreHot = append(s.MoreHot, volume)
	}
	for i := range s.Files {
		if s.Files[i].Volume == d.ID { // store has put the directory there
			s.Files[i].Volume = volume
		}
	}
}

// store describes one stream. Where a file is on is its directory, until lies is
// told of that.
func (r *Roller) store(s Stream) roll.Store {
	l := s.Limits()
	one := roll.Store{
		Stream: s.Name, Parent: s.Parent, Link: roll.Link(s.Link), DropOldest: l.DropOldest, Cold: s.Cold.Store != nil,
		Keep: roll.Keep{Files: l.Keep.Files, Bytes: l.Keep.Bytes},
	}
	if l.Keep.Age > 0 {
		one.Keep.Since = r.aging().Add(-l.Keep.Age).UnixMicro()
	}
	if w := s.Journal.Watermark(); w.Roll != 0 && w.Link == string(s.Link) {
		one.Watermark, one.HasMark = w.Below, true
	}
	// Marks before files: a sink that has got further meanwhile does no harm.
	for sink, mark := range s.Journal.Sinks() {
		one.Needs = append(one.Needs, roll.Need{Sink: sink, Seq: mark + 1})
	}
	slices.SortFunc(one.Needs, func(a, b roll.Need) int { return compare(a.Sink, b.Sink) })
	for _, f := range s.Journal.Files() {
		one.Files = append(one.Files, roll.Manifest{
			Number: f.Number, Bytes: f.Bytes, Tier: tierOf(f), FirstSeq: f.FirstSeq, LastSeq: f.LastSeq, FirstTime: f.FirstTime, LastTime: f.LastTime,
			FileTime: f.FileTime, FirstLink: f.Link.First, LastLink: f.Link.Last, Linked: f.Link.Rows > 0, Sealed: f.Sealed, Held: f.Held || r.stays(s.Name, f), Volume: f.Directory,
		})
	}
	return one
}

// tierOf returns where a segment is.
func tierOf(f journal.File) roll.Tier {
	if f.Warm {
		return roll.Warm
	}
	return roll.Hot
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Result is what became of a message.
type Result struct {
	Plan   *roll.Plan
	Serial uint64    // of the roll; 0: nothing was done
	Until  time.Time // until when it can be undone; zero: it cannot
}

// Roll plans what a message asks, and, with apply set, carries that out.
func (r *Roller) Roll(m roll.Message, by string, apply bool) (Result, error) {
	r.mu.Lock()
	if apply && (moves(r.streams) || warmIndexed(r.streams)) {
		r.mu.Unlock()
		return r.rollTiers(m, by)
	}
	defer r.mu.Unlock()
	plan, err := r.plan(m)
	if err == nil && apply && len(plan.Steps) == 0 {
		r.tried(plan, 0, by, m.Types())
	}
	if err != nil || !apply || len(plan.Steps) == 0 {
		return Result{Plan: plan}, err
	}
	return r.carry(plan, nil, by, r.o.Undo)
}

// plan plans what a message asks.
func (r *Roller) plan(m roll.Message) (*roll.Plan, error) {
	st, err := r.state()
	if err != nil {
		return nil, err
	}
	rule, err := m.Rule(st, r.aging())
	if err != nil {
		return nil, err
	}
	if err := r.refuseWarm(m); err != nil {
		return nil, err
	}
	return roll.Make(st, rule)
}

// limitsBy is who is behind a roll inside a write.
const limitsBy = "the stream's limits"

// MakeRoom lets the oldest of a stream go, with all that is tied to it, so
// that lack bytes become free. drop says that rows may go that sinks need,
// where that was chosen. It returns false where nothing may go.
func (r *Roller) MakeRoom(stream string, lack int64, drop bool) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.IndexFunc(r.streams, func(s Stream) bool { return s.Name == stream })
	if at < 0 || r.broken != nil {
		return false, nil // the streams are just being opened
	}
	if r.streams[at].Warm { // a move takes too long for a writer to wait for: it tries again
		r.wakeMover()
		return false, nil
	}
	st, err := r.state()
	if err != nil {
		return false, err
	}
	if !drop {
		for i := range st.Stores {
			st.Stores[i].DropOldest = false
		}
	}
	plan, err := roll.Make(st, roll.Room(st, at, lack))
	if err != nil {
		return false, err
	}
	own := slices.ContainsFunc(plan.Steps, func(s roll.Step) bool { return s.Stream == stream && !s.Index })
	if !own {
		r.tried(plan, 0, limitsBy, []string{stream})
		return false, nil
	}
	if len(r.uncopied(plan, nil)) > 0 { // as with a move, the writer tries again
		r.wanted(stream, want{lack, drop})
		return false, nil
	}
	_, err = r.carry(plan, nil, limitsBy, 0)
	return err == nil, err
}

// carry carries a plan out. waived are those segments, by stream, that leave for a
// cold tier without a copy there.
func (r *Roller) carry(plan *roll.Plan, waived map[string][]uint64, by string, undo time.Duration) (Result, error) {
	rec := r.begin(plan.Rule, by)
	if undo > 0 {
		rec.Until = r.aging().Add(undo).UnixMicro()
	}
	cuts := map[string]*journal.Cut{}
	cut := func(stream string) *journal.Cut {
		if cuts[stream] == nil {
			cuts[stream] = &journal.Cut{Serial: rec.Serial, Until: rec.Until}
		}
		return cuts[stream]
	}
	for _, s := range plan.Steps {
		if s.Index {
			continue
		}
		if !leaves(s) {
			continue // it moves, and stays readable
		}
		c := cut(s.Stream)
		c.Doomed = append(c.Doomed, s.Number)
	}
	for _, w := range plan.Watermarks {
		if w.Link != "" && !w.Index {
			cut(w.Stream).Mark = &segment.Watermark{Link: string(w.Link), Below: w.Below}
		}
	}
	for _, g := range plan.Gaps {
		cut(g.Stream).Drop = true
	}
	for stream, c := range cuts {
		c.Waived = waived[stream]
		slices.Sort(c.Doomed)
	}
	if len(cuts) == 0 { // slices alone are made anew sooner than brought back
		rec.Until = 0
	}
	if err := r.run(rec, cuts); err != nil {
		return Result{Plan: plan}, err
	}
	r.tried(plan, rec.Serial, by, nil)
	r.rollIndexes(plan, cuts)
	res := Result{Plan: plan, Serial: rec.Serial}
	if rec.Until > 0 {
		res.Until = time.UnixMicro(rec.Until)
	}
	return res, nil
}

// begin makes the next record.
func (r *Roller) begin(rule, by string) *record {
	rec := &record{Version: version, Serial: 1, Rule: rule, By: by, At: r.o.Now().UnixMicro(), Streams: map[string]share{}}
	if r.last != nil {
		rec.Serial = r.last.Serial + 1
	}
	for _, s := range r.streams { // a lost ROLL must not give a serial twice
		serial, _ := s.Journal.Rolled()
		rec.Serial = max(rec.Serial, serial+1)
	}
	return rec
}

// run commits and carries out cuts: prepare all, commit once, carry all out.
func (r *Roller) run(rec *record, cuts map[string]*journal.Cut) error {
	if r.broken != nil {
		return fault.New(fault.IOError, "nothing is rolled until the next start").Because(r.broken)
	}
	var ready []*journal.Prepared
	abandon := func(err error) error {
		for _, p := range slices.Backward(ready) {
			p.Abandon()
		}
		return err
	}
	for _, s := range r.streams { // the record before is overwritten next time, so all must know of it
		if err := s.Journal.Settle(); err != nil {
			return fmt.Errorf("roll stream %q: %w", s.Name, err)
		}
	}
	for _, s := range r.streams { // always in the same order
		c := cuts[s.Name]
		if c == nil {
			continue
		}
		c.ID = s.Journal.ID()
		p, err := s.Journal.Prepare(*c)
		if err != nil {
			return abandon(err)
		}
		ready = append(ready, p)
		one := share{Ranges: ranges(p.Cut.Doomed), Cut: p.Cut}
		one.Doomed = nil
		rec.Streams[s.Name] = one
	}
	if mutant.On(31) {
		return errors.Join(carryAll(ready), commit(r.d, rec))
	}
	if err := commit(r.d, rec); err != nil {
		// Nobody knows whether it stands there: no other may be written over it.
		r.broken = err
		r.o.Log.Error("a roll could not be committed; nothing is rolled until the next start", "roll", rec.Serial, "error", err)
		return abandon(fault.New(fault.IOError, "the roll could not be committed").Because(err).WithHint("nothing was removed; look at the disk"))
	}
	r.last = rec
	r.o.Done(Event{Serial: rec.Serial, Rule: rec.Rule, By: rec.By, At: time.UnixMicro(rec.At), Undo: rec.Undo})
	if err := carryAll(ready); err != nil {
		r.o.Log.Error("a roll is committed and not carried out yet; it is tried again", "roll", rec.Serial, "error", err)
	}
	return nil
}

func carryAll(ready []*journal.Prepared) error {
	var errs []error
	for _, p := range ready {
		errs = append(errs, p.Carry())
	}
	return errors.Join(errs...)
}

// Undo takes back a roll whose files wait in the trash; 0 is the last one.
func (r *Roller) Undo(serial uint64, by string) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := map[uint64][]Stream{}
	newest := uint64(0)
	for _, s := range r.streams {
		for _, n := range s.Journal.Undoable() {
			in[n] = append(in[n], s)
			newest = max(newest, n)
		}
	}
	if serial == 0 {
		serial = newest
	}
	if len(in[serial]) == 0 {
		return 0, fault.New(fault.UndefinedObject, "there is no roll that can be undone").WithHint("a roll by message can be undone within its time (roll: {undo: ...} in the configuration), as long as its room is not needed")
	}
	rec := r.begin(fmt.Sprintf("undo roll %d", serial), by)
	rec.Undo = serial
	cuts := map[string]*journal.Cut{}
	for _, s := range r.streams {
		// A stream whose part was freed refuses, and so the whole is: no link may be half there.
		if slices.ContainsFunc(in[serial], func(h Stream) bool { return h.Name == s.Name }) || s.Journal.HadRoll(serial) {
			cuts[s.Name] = &journal.Cut{Serial: rec.Serial, Undo: serial}
		}
	}
	return serial, r.run(rec, cuts)
}

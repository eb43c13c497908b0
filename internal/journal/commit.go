package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
	"holdfast/row"
)

const (
	// silence is after how long without rows a marker block proves, and
	// flushes, what was written last.
	silence = 100 * time.Millisecond
	// unflushedTime and unflushedBytes bound what is acked before its flush.
	// The time is below the 200 ms promised by what a flush may take.
	unflushedTime  = 120 * time.Millisecond
	unflushedBytes = segment.MaxUnflushed
	// idleTurns and gatherTime bound how long the committer lets others run
	// first: turns in which nobody came, and a time below that of a flush.
	idleTurns  = 4
	gatherTime = 50 * time.Microsecond
	// again is how long the committer waits before it tries anew to get room.
	again = 50 * time.Millisecond
)

// saved is a block that was acked, on its writers' wish, before its flush. It
// is kept so that a flush that goes wrong costs nobody a row.
type saved struct {
	bytes   []byte
	schemas []*row.Schema
	links   segment.LinkRange
}

// run is the committer: it takes the group that was filled, writes it, wakes
// everybody in it, and takes the next one, which filled meanwhile.
func (j *Journal) run() {
	defer close(j.ended)
	idle := time.NewTimer(silence)
	defer idle.Stop()
	for {
		j.gather()
		if g := j.take(); g != nil {
			j.commit(g)
			idle.Reset(j.patience())
			select {
			case o := <-j.orders:
				o.done <- o.do()
			default:
			}
			continue
		}
		select {
		case <-j.wake:
		case o := <-j.orders:
			o.done <- o.do()
		case <-idle.C:
			j.prove()
			if len(j.saved) > 0 { // there is no segment to put them into; there may be one soon
				idle.Reset(again)
			}
		case <-j.stop:
			j.leave(j.take())
			return
		}
	}
}

// gather waits until the writers that were just answered have put in their next
// rows, as most do at once: then one flush serves all of them. Without that
// they fall into two groups that take turns, and each flush carries half. It
// gives up as soon as the processors have nothing else to do, or after so long
// that a flush would have been worth more; a lone writer waits for nobody.
func (j *Journal) gather() {
	waiting := j.waiting()
	want := waiting + j.woken
	j.woken = 0
	if want <= 1 {
		return
	}
	for began, idle := time.Now(), 0; waiting < want && idle < idleTurns && time.Since(began) < gatherTime; idle++ {
		runtime.Gosched()
		now := j.waiting()
		if now != waiting {
			idle = -1
		}
		waiting = now
	}
}

// waiting returns how many writers have rows in the group being filled.
func (j *Journal) waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.filling.writers
}

// patience is how long the committer waits for rows before it proves, and
// flushes, what is there.
func (j *Journal) patience() time.Duration {
	if len(j.saved) == 0 {
		return silence
	}
	return min(silence, max(unflushedTime-time.Since(j.savedAt), 0))
}

// Flush makes durable, and shows to readers, what was acked before its flush. An
// error says why it is not yet; the journal goes on trying.
func (j *Journal) Flush(ctx context.Context) error {
	return j.command(ctx, func() error {
		if len(j.saved) > 0 {
			j.prove()
		}
		if n := len(j.saved); n > 0 {
			return fmt.Errorf("flush stream %q: %d blocks of rows are acknowledged and not flushed yet", j.o.Name, n)
		}
		return nil
	})
}

// leave commits what was handed over before Close.
func (j *Journal) leave(g *group) {
	if g != nil {
		j.commit(g)
	}
	j.prove()
}

// prove writes a marker behind the last block, unless one stands there.
func (j *Journal) prove() {
	if j.active == nil && len(j.saved) > 0 {
		if err := j.activate(0); err != nil {
			return // the keeper was told, and trouble says why
		}
	}
	s := j.active
	if s == nil || s.w.End() == s.proved || s.w.Empty() {
		return
	}
	if err := s.w.Mark(j.now()); err != nil {
		j.poison(err)
		return
	}
	s.proved = s.w.End()
	j.publish(s)
}

// commit writes one group, waiting for room where there is none.
func (j *Journal) commit(g *group) {
	for stopping := false; ; {
		first, err := j.write(g)
		if err == nil {
			j.release(g, first, nil)
			return
		}
		var full *noRoom
		if !errors.As(err, &full) {
			j.release(g, 0, err)
			return
		}
		if mutant.On(18) {
			j.release(g, j.tail.LastSeq+1, nil)
			return
		}
		if stopping || time.Since(g.began) >= j.limits.Load().Wait {
			j.release(g, 0, full.refusal)
			return
		}
		select {
		case <-time.After(again):
		case <-j.stop:
			stopping = true
		}
	}
}

// noRoom says that there is no segment to write to, and what writers are told
// when that lasts. Nothing of the group was written.
type noRoom struct{ refusal *fault.Error }

func (e *noRoom) Error() string { return e.refusal.Error() }

// write puts the group into the active segment. It returns the seq of its
// first row.
func (j *Journal) write(g *group) (uint64, error) {
	s, err := j.writable(g.block.Len(), g.schemas)
	if err == nil && g.block.Len() > segment.Target && !j.announceLarge(s) {
		if err = j.retireActive(); err == nil {
			s, err = j.writable(g.block.Len(), g.schemas)
		}
	}
	if err != nil {
		return 0, err
	}
	durable := (g.durable || j.overdue(g.block.Len())) && !mutant.On(1)
	start := time.Now()
	at, err := s.w.Write(g.block, j.now(), durable)
	if err != nil {
		j.poison(err)
		return 0, unknown(err)
	}
	s.w.Linked(g.links)
	j.ring.put(ringKey{s.number, at.Offset}, at.Bytes)
	first := s.first + at.FirstRow
	if !s.w.Flushed() {
		if len(j.saved) == 0 {
			j.savedAt = start
		}
		j.saved = append(j.saved, saved{append([]byte(nil), at.Bytes...), append([]*row.Schema(nil), g.schemas...), g.links})
	}
	j.count(g.block, start, durable)
	j.publish(s)
	return first, nil
}

func (j *Journal) count(b *segment.Block, start time.Time, flushed bool) {
	took := time.Since(start)
	j.mu.Lock()
	j.stats.rows += uint64(b.Rows())
	j.stats.bytes += uint64(b.Len())
	if flushed {
		j.stats.flushes++
		j.stats.flushTime += took
	}
	j.mu.Unlock()
}

// overdue tells whether what was acked before its flush must be flushed with
// the next n bytes.
func (j *Journal) overdue(n int64) bool {
	if len(j.saved) == 0 {
		return false
	}
	return n+j.unflushed() > unflushedBytes || time.Since(j.savedAt) > unflushedTime
}

// unflushed returns how many bytes were acked before their flush.
func (j *Journal) unflushed() int64 {
	n := int64(0)
	for _, s := range j.saved {
		n += int64(len(s.bytes)) + segment.DefinedLen(s.schemas)
	}
	return n
}

// unknown is the answer to rows whose flush went wrong: they are not served,
// but a later start may find them on the disk.
func unknown(err error) error {
	return fault.New(fault.OutcomeUnknown, "the disk did not confirm the row").Because(err).
		WithHint("it is not known whether the row is stored; the disk needs attention")
}

// now is the time of receipt: the clock, but never backwards.
func (j *Journal) now() int64 {
	j.last = max(j.last, j.o.Now().UnixMicro())
	return j.last
}

// publish lets readers see what is flushed.
func (j *Journal) publish(s *seg) {
	if !s.w.Flushed() && !mutant.On(16) {
		return
	}
	clear(j.saved)
	j.saved = j.saved[:0]
	j.tail = s.w.Tail()
	sum := s.w.Summary()
	j.mu.Lock()
	*s.summary = sum // whose address is not kept by anybody while rows are still added
	s.rows, s.end, s.chain = s.w.Rows(), s.w.End(), j.tail.Chain
	s.firstTime, s.lastTime, s.link = sum.FirstTime, sum.LastTime, sum.Link
	if s.end > s.size {
		j.accountLocked(s.at, s.end-s.size)
		s.size = s.end
	}
	j.end = s.position()
	j.changedLocked()
	scarce := j.reserve == nil && s.end > s.size/4
	unhashed := s.end - s.hashedTo
	j.mu.Unlock()
	j.checkpoint(s)
	if scarce {
		j.chore()
	}
	if unhashed >= hashChunk {
		j.hashSoon()
	}
}

// writable returns the active segment with room for n bytes and with schemas
// defined, after rotating where need be.
func (j *Journal) writable(n int64, schemas []*row.Schema) (*seg, error) {
	if s := j.active; s != nil && !s.w.Fits(n+segment.DefinedLen(s.w.Missing(schemas))) {
		if err := j.retireActive(); err != nil {
			return nil, unknown(err)
		}
	}
	if j.active == nil {
		if err := j.activate(n + segment.DefinedLen(schemas) + j.unflushed()); err != nil {
			return nil, err
		}
	}
	return j.active, j.define(schemas)
}

func (j *Journal) define(schemas []*row.Schema) error {
	missing := j.active.w.Missing(schemas)
	if len(missing) == 0 {
		return nil
	}
	if err := j.active.w.Define(missing, j.now()); err != nil {
		j.poison(err)
		return unknown(err)
	}
	return nil
}

// retireActive flushes the active segment and leaves it to the keeper to be
// sealed. The next write makes another one active. Empty segments stay.
func (j *Journal) retireActive() error {
	s := j.active
	if s == nil || s.w.Empty() {
		return nil
	}
	if err := s.w.Flush(); err != nil {
		j.poison(err)
		return err
	}
	j.publish(s)
	j.active = nil
	j.mu.Lock()
	s.w = nil
	j.mu.Unlock()
	j.hashSoon()
	return nil
}

// activate makes a new segment active: the reserved one, or one made now. Its
// header is flushed, and so is its name, before it takes a row.
func (j *Journal) activate(n int64) error {
	err := j.activateOnce(n)
	var refusal *fault.Error
	if err != nil {
		refusal = roomRefusal(err)
		err = &noRoom{refusal}
	}
	j.mu.Lock()
	j.trouble = nil
	if refusal != nil {
		j.trouble = refusal
	}
	j.mu.Unlock()
	if err != nil {
		j.chore()
	}
	return err
}

func (j *Journal) activateOnce(n int64) error {
	if err := j.claimEpoch(); err != nil {
		return err
	}
	r, err := j.takeReserved(n)
	if err != nil {
		return err
	}
	number := j.number + 1
	h := segment.Header{
		Identity: segment.Identity{Epoch: j.epoch, Serial: r.serial}, Salt: j.salt, Number: number, FirstSeq: j.tail.LastSeq + 1,
		Created: j.now(), Before: j.tail, Stream: j.describe(),
	}
	if mutant.On(17) {
		h.FirstSeq = uint64(h.Created)
	}
	if mutant.On(19) {
		r.file = disk.FlushElsewhere(r.at.FS, &r.name, r.file)
	}
	w := segment.NewWriter(r.file, h, r.size)
	err = w.Begin()
	if err == nil { // before it has its name: a start that finds it finds them too
		err = j.rewrite(w)
	}
	if err == nil {
		err = r.at.FS.Rename(r.name, segmentName(number))
	}
	if err == nil {
		r.name = segmentName(number)
	}
	if err == nil && !mutant.On(4) {
		err = r.at.FS.SyncDir("")
	}
	if err != nil {
		return errors.Join(err, j.discard(r))
	}
	j.number = number
	s := &seg{
		at: r.at, number: number, first: h.FirstSeq, header: h, end: segment.DataStart, chain: j.tail.Chain, size: r.size, w: w, file: r.file,
		hashing: newDigest(),
	}
	sum := w.Summary()
	s.summary = &sum
	j.begun(w)
	j.active, j.tail = s, w.Tail()
	j.mu.Lock()
	j.segs = append(j.segs, s)
	j.changedLocked()
	j.mu.Unlock()
	if !w.Empty() {
		j.publish(s)
	}
	j.chore()
	return nil
}

// rewrite puts blocks that were acked, but lost with a poisoned segment, into
// the new one, and flushes them, so that they keep their seqs.
func (j *Journal) rewrite(w *segment.Writer) error {
	b := segment.NewBlock(j.salt)
	for i, l := range j.saved {
		if missing := w.Missing(l.schemas); len(missing) > 0 {
			if err := w.Define(missing, j.now()); err != nil {
				return err
			}
		}
		b.Restore(l.bytes)
		if _, err := w.Write(b, j.now(), i == len(j.saved)-1); err != nil {
			return err
		}
		w.Linked(l.links)
	}
	return nil
}

// poison gives up the active segment after a write or a flush that went wrong.
// It is never written again: its pages are clean for the kernel now, whatever
// the platter says, so another flush would lie. The next segment's header says
// where it really ends.
func (j *Journal) poison(err error) {
	s := j.active
	if s == nil || mutant.On(3) || mutant.On(14) {
		return
	}
	j.active = nil
	j.o.Log.Error("flush went wrong; the segment is given up, the next one takes over", "stream", j.o.Name, "segment", s.number, "error", err)
	cerr := s.file.Close()
	if cerr != nil {
		j.o.Log.Error("close segment", "stream", j.o.Name, "segment", s.number, "error", cerr)
	}
	j.mu.Lock()
	s.w, s.file, s.poisoned, s.hashing = nil, nil, true, nil
	j.damagedLocked(row.Damage{
		Stream: j.o.Name, Segment: s.number, Offset: s.end, What: fmt.Sprintf("a flush went wrong, and what was in it was refused: %v", err),
	})
	j.changedLocked()
	j.mu.Unlock()
}

// roomRefusal is what writers are told while there is no segment to write to.
func roomRefusal(err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	if disk.IsFull(err) {
		return fault.New(fault.DiskFull, "the disk is full").Because(err).WithHint("nothing was stored; make room on the volume, rows are taken again as soon as there is some")
	}
	return fault.New(fault.IOError, "the disk does not take a new segment").Because(err).WithHint("nothing was stored; see holdfast status")
}

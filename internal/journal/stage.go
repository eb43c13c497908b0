package journal

import (
	"context"
	"errors"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
	"holdfast/row"
)

// Stage is a transaction too large for memory. Its rows go into segment files
// of their own, which Commit adopts into the stream without copying a row and
// without holding other writers up. Not safe for concurrent use. It ends with
// Commit or Abort.
type Stage struct {
	j     *Journal
	files []*staged // the goroutine that writes owns them until it is joined
	full  part      // taken next
	free  part      // written before; not in use
	rows  uint64
	err   error
	over  bool

	writing chan error // of the goroutine that writes a part; nil: none does
}

// part is one block of a Stage and the schemas that its rows need.
type part struct {
	block   *segment.Block
	schemas []*row.Schema
	links   segment.LinkRange
}

// staged is one file of a Stage.
type staged struct {
	reserved
	w *segment.Writer
}

// Stage begins a large transaction.
func (j *Journal) Stage() (*Stage, error) {
	return &Stage{j: j, full: part{block: segment.NewBlock(j.salt)}, free: part{block: segment.NewBlock(j.salt)}}, nil
}

// Add appends the rows of b, which may be reused afterwards. After an error
// the Stage can only be aborted.
func (s *Stage) Add(b *row.Batch) error {
	if s.err != nil || s.over {
		return errors.Join(s.err, overErr(s.over))
	}
	if b.Rows() == 0 {
		return nil
	}
	if b.Len() > MaxBatch && b.Rows() > 1 { // no reader takes a block of any size
		return fault.New(fault.LimitExceeded, "batch of %d bytes is larger than %d", b.Len(), MaxBatch)
	}
	if !s.full.block.Empty() {
		s.full.block.SetOpen()
		if s.err = s.writeAside(); s.err != nil {
			return s.err
		}
	}
	s.full.block.Reset()
	s.full.block.AppendRows(b.Bytes(), b.Rows())
	s.full.schemas = append(s.full.schemas[:0], b.Schemas()...)
	s.full.links = s.j.links(b)
	s.rows += uint64(b.Rows())
	return nil
}

// writeAside writes the full part while the caller makes the next one. It
// returns the error of the part before.
func (s *Stage) writeAside() error {
	if err := s.join(); err != nil {
		return err
	}
	s.full, s.free = s.free, s.full
	p, done := s.free, make(chan error, 1)
	s.writing = done
	go func() { done <- s.write(p) }()
	return nil
}

// join waits for the part that is being written.
func (s *Stage) join() error {
	if s.writing == nil {
		return nil
	}
	err := <-s.writing
	s.writing = nil
	return err
}

func overErr(over bool) error {
	if over {
		return errors.New("the transaction has ended")
	}
	return nil
}

// write puts a part into the newest file, or a new one. Nothing is flushed
// before Commit.
func (s *Stage) write(p part) error {
	n := len(s.files)
	if n == 0 || !s.files[n-1].w.Fits(p.block.Len()) {
		if err := s.grow(p.block.Len()); err != nil {
			return err
		}
		n++
	}
	f := s.files[n-1]
	if missing := f.w.Missing(p.schemas); len(missing) > 0 {
		if err := f.w.Define(missing, s.j.o.Now().UnixMicro()); err != nil {
			return roomRefusal(err)
		}
	}
	if _, err := f.w.Write(p.block, s.j.o.Now().UnixMicro(), false); err != nil {
		return roomRefusal(err)
	}
	f.w.Linked(p.links)
	if over := f.w.End() - f.size; over > 0 { // a block larger than the file
		f.size += over
		s.j.account(f.at, over)
	}
	return nil
}

// grow begins the next file. Its whole size is set aside at once, so that the
// budget holds however many transactions are under way. n is the length of its
// first block.
func (s *Stage) grow(n int64) error {
	j := s.j
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return ErrClosed
	}
	size := max(min(j.segmentSize(), maxSegment), disk.Up(n)+segment.DataStart+disk.Align)
	if err := j.claimEpoch(); err != nil {
		return roomRefusal(err)
	}
	at, err := s.room(size)
	if err != nil {
		return roomRefusal(err)
	}
	name, serial := j.ownName(stagedSuffix)
	f, err := at.FS.Create(name)
	if err != nil {
		j.account(at, -size)
		return roomRefusal(err)
	}
	h := segment.Header{Identity: segment.Identity{Epoch: j.epoch, Serial: serial}, Salt: j.salt, Stream: segment.Stream{ID: j.id, Name: j.o.Name, Link: j.o.Link.column()}}
	s.files = append(s.files, &staged{
		reserved: reserved{at: at, name: name, serial: serial, file: f, size: size},
		w:        segment.NewWriter(f, h, size),
	})
	return nil
}

// room makes room for the next file. Where segments move to another tier that
// takes its time, which is waited for as writers do.
func (s *Stage) room(size int64) (*directory, error) {
	j, began := s.j, time.Now()
	for {
		at, err := j.makeRoom(size)
		if err == nil || fault.Code(err) != fault.DiskFull || !j.tiered() || time.Since(began) >= j.limits.Load().Wait {
			return at, err
		}
		select {
		case <-time.After(again):
		case <-j.stop:
			return nil, ErrClosed
		}
	}
}

// Commit makes the transaction durable and part of the stream, and returns the
// seq of its last row. It is whole, or, after an error, absent; with SQLSTATE
// 40003 or 57014 it is not known which.
func (s *Stage) Commit(ctx context.Context) (uint64, error) {
	if s.err != nil || s.over {
		return 0, errors.Join(s.err, overErr(s.over), s.Abort())
	}
	if s.rows == 0 {
		s.over = true
		return s.j.End().Seq, nil
	}
	err := s.join()
	if err == nil {
		err = s.write(s.full)
	}
	for _, f := range s.files {
		if err == nil {
			err = f.w.Flush()
		}
		if err == nil { // the header comes later and its rows are acked then, so they are proven now
			err = f.w.Mark(s.j.o.Now().UnixMicro())
		}
	}
	if err != nil {
		s.err = roomRefusal(err)
		return 0, errors.Join(s.err, s.Abort())
	}
	var last uint64
	ran := false
	err = s.j.command(ctx, func() (aerr error) {
		ran = true
		last, aerr = s.j.adopt(s.files)
		return aerr
	})
	if !ran {
		return 0, errors.Join(err, s.Abort())
	}
	s.end()
	return last, err
}

// Abort gives the transaction up and removes its files. Idempotent; after
// Commit it does nothing.
func (s *Stage) Abort() error {
	if s.over {
		return nil
	}
	_ = s.join() // what it wrote is removed, whatever became of it
	s.end()
	return s.j.discardAll(s.files)
}

// end gives the memory back: a caller may keep the Stage.
func (s *Stage) end() {
	s.over, s.full, s.free = true, part{}, part{}
}

// discardAll removes staged files.
func (j *Journal) discardAll(files []*staged) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, j.discard(&f.reserved))
	}
	return errors.Join(errs...)
}

// adopt gives staged files the next numbers and seqs: a header each, and a
// name. It runs on the committer. The transaction counts once its last part
// is there; a start that finds only some of them drops them.
func (j *Journal) adopt(files []*staged) (uint64, error) {
	if s := j.active; s != nil {
		if err := s.w.Flush(); err != nil {
			j.poison(err)
		} else {
			j.publish(s)
		}
	}
	if j.active == nil && len(j.saved) > 0 {
		if err := j.activate(0); err != nil {
			return 0, errors.Join(roomRefusal(err), j.discardAll(files))
		}
	}
	if err := j.leaveActive(); err != nil {
		return 0, errors.Join(roomRefusal(err), j.discardAll(files))
	}
	segs, err := j.place(files)
	if err != nil {
		return 0, errors.Join(unknown(err), j.withdraw(files))
	}
	last := segs[len(segs)-1]
	j.mu.Lock()
	j.segs = append(j.segs, segs...)
	j.end = last.position()
	for _, s := range segs {
		j.stats.rows += s.rows
		j.stats.bytes += uint64(s.end - segment.DataStart)
	}
	j.changedLocked()
	j.mu.Unlock()
	j.number, j.tail = last.number, last.tail()
	j.chore()
	return last.last(), nil
}

// withdraw removes the parts of a transaction that could not be placed: the
// last one first, and for good, because a start takes the last part for the
// proof that all are there.
func (j *Journal) withdraw(files []*staged) error {
	n := len(files) - 1
	err := j.discard(&files[n].reserved)
	if err == nil && !mutant.On(6) {
		err = files[n].at.FS.SyncDir("")
	}
	if err != nil { // the others stay: all of them or none must be found
		return err
	}
	return errors.Join(j.discardAll(files[:n]), syncAll(placesOf(files)...))
}

// place writes the headers and the names. The last part gets its name when
// those of all others are durable, so that it stands for the whole.
func (j *Journal) place(files []*staged) ([]*seg, error) {
	number, before := j.number, j.tail
	var segs []*seg
	for i, f := range files {
		number++
		h := segment.Header{
			Number: number, FirstSeq: before.LastSeq + 1, Created: j.now(), Before: before, Stream: j.describe(),
			Part: uint32(i + 1), Parts: uint32(len(files)),
		}
		if err := f.w.Adopt(h); err != nil {
			return nil, err
		}
		if i > 0 && i == len(files)-1 {
			if err := syncAll(placesOf(files[:i])...); err != nil {
				return nil, err
			}
		}
		if err := f.at.FS.Rename(f.name, segmentName(number)); err != nil {
			return nil, err
		}
		f.name = segmentName(number)
		sum := f.w.Summary()
		s := &seg{at: f.at, number: number, size: f.size, file: f.file}
		s.take(&sum)
		segs = append(segs, s)
		before = s.tail()
	}
	if mutant.On(5) {
		return segs, nil
	}
	return segs, syncAll(placesOf(files)...)
}

// leaveActive leaves the active segment to the keeper, or, without rows,
// removes it: staged segments follow it now.
func (j *Journal) leaveActive() error {
	s := j.active
	if s == nil {
		return nil
	}
	if !s.w.Empty() {
		return j.retireActive()
	}
	j.active, j.tail = nil, s.header.Before
	return errors.Join(s.file.Close(), j.drop(s))
}

// placesOf returns where staged files are.
func placesOf(files []*staged) []*directory {
	var all []*directory
	for _, f := range files {
		all = append(all, f.at)
	}
	return all
}

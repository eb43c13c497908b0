package blocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"holdfast/internal/journal"
	"holdfast/row"
	"holdfast/test/mounts"
)

// segmentSize is small, so that a short history rolls often.
const segmentSize = 256 << 10

// share is how many transactions each writer of a life hands over.
const share = 50

// newRecording records a journal at work on a new file system.
func newRecording(t *testing.T, m mode, hasty bool, seed uint64) *recording {
	t.Helper()
	r := &recording{mode: m, history: &history{}}
	r.record(t, m.kind.makeImage(t, mounts.WorkDir(t)), hasty, seed)
	return r
}

// after records a journal that goes on behind a power cut at a moment of r: it
// recovers first, and its power is cut while it does.
func (r *recording) after(t *testing.T, m moment, seed uint64) *recording {
	t.Helper()
	p := newPlayer(t, r)
	left, err := p.left(m)
	ok(t, err)
	next := &recording{mode: r.mode, history: r.history.upTo(left, r.time(m.n))}
	next.record(t, p.file.Name(), false, seed)
	return next
}

// record records a journal at work on an image.
func (r *recording) record(t *testing.T, image string, hasty bool, seed uint64) {
	t.Helper()
	var err error
	r.base, err = readImage(image)
	ok(t, err)
	t.Run("record", func(t *testing.T) { // its end is the recorder's, too
		recorded, log := startRecorder(t, image)
		r.history.now = func() int64 {
			info, err := log.Stat()
			if err != nil {
				panic(err) // a file in memory, which is open
			}
			return info.Size()
		}
		v := newVolume(t, r.kind, filepath.Dir(image), recorded)
		defer v.loop.Close() // the last one: the device detaches
		ok(t, v.mount())
		err := r.live(v, hasty, seed)
		ok(t, errors.Join(err, v.unmount()))
	})
	if t.Failed() {
		t.FailNow()
	}
	r.raw, err = os.ReadFile(image + ".log")
	ok(t, err)
	r.log, err = parse(r.raw)
	ok(t, err)
	ok(t, r.history.settle())
}

// live lets a journal live twice on a volume: first it removes what is
// delivered beyond its history, then it uses the files of removed segments
// again.
func (r *recording) live(v *volume, hasty bool, seed uint64) error {
	d, err := v.open(r.buffered)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, limits := range []journal.Limits{{History: 600 << 10}, {Budget: 2560 << 10, Wait: time.Minute}} {
		var j *journal.Journal
		err := r.history.call(phaseStart, func() (err error) {
			j, err = journal.Open(spy{d, r.history, hasty}, journal.Options{Name: "main", SegmentSize: segmentSize, Limits: limits})
			return err
		})
		if err != nil {
			return errors.Join(err, d.Close())
		}
		err = r.history.work(j, rnd)
		if err := errors.Join(err, j.Close()); err != nil {
			return errors.Join(err, d.Close())
		}
	}
	return d.Close()
}

// work lets writers, a large transaction and a sink work on j.
func (h *history) work(j *journal.Journal, rnd *rand.Rand) error {
	h.Lives++
	life := h.Lives
	from, err := j.Register("sink")
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var writers, sink sync.WaitGroup
	errs := make([]error, 5)
	for w := range 3 {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), uint64(w)))
		writers.Go(func() {
			for i := 0; i < share && errs[w] == nil; i++ {
				errs[w] = h.append(ctx, j, attempt{
					Name: fmt.Sprintf("life %d writer %d transaction %d", life, w, i), N: 1 + rnd.IntN(4), Size: rnd.IntN(5000), Off: rnd.IntN(4) == 0,
				})
				if w == 0 && i == share/2 && errs[w] == nil {
					errs[w] = j.Seal(ctx)
				}
			}
		})
	}
	writers.Go(func() {
		errs[3] = h.stage(ctx, j, attempt{Name: fmt.Sprintf("life %d large", life), N: 200, Size: 3000})
	})
	sinking, halt := context.WithCancel(ctx)
	sink.Go(func() { errs[4] = h.follow(sinking, j, from+1) })
	writers.Wait()
	err = errors.Join(errs[:4]...)
	if err == nil { // acked before its flush, and flushed because nothing comes
		err = h.append(ctx, j, attempt{Name: fmt.Sprintf("life %d last", life), N: 1, Off: true})
	}
	if err == nil {
		err = await(ctx, j, h.Tries[len(h.Tries)-1].Last)
	}
	halt()
	sink.Wait()
	return errors.Join(err, errs[4])
}

// append commits a.
func (h *history) append(ctx context.Context, j *journal.Journal, a attempt) error {
	var b row.Batch
	if err := a.add(&b, j, 0, a.N); err != nil {
		return err
	}
	try := h.try(a)
	last, err := j.Append(ctx, &b, !a.Off)
	if err == nil {
		h.ack(try, last)
	}
	return err
}

// add adds rows from to to of a transaction to b.
func (a *attempt) add(b *row.Batch, j *journal.Journal, from, to int) error {
	s := j.Intern("t", columns)
	for i := from; i < to; i++ {
		if err := b.Add(s, 0, []row.Value{row.Text(a.value(i))}); err != nil {
			return err
		}
	}
	return nil
}

// stage commits a as a large transaction, in files of its own.
func (h *history) stage(ctx context.Context, j *journal.Journal, a attempt) error {
	try := h.try(a)
	s, err := j.Stage()
	if err != nil {
		return err
	}
	for i := 0; i < a.N; i += 20 {
		var b row.Batch
		err := a.add(&b, j, i, i+20)
		if err == nil {
			err = s.Add(&b)
		}
		if err != nil {
			return errors.Join(err, s.Abort())
		}
	}
	last, err := s.Commit(ctx)
	if err == nil {
		h.ack(try, last)
	}
	return err
}

// follow reads as a sink does, and commits what it has read.
func (h *history) follow(ctx context.Context, j *journal.Journal, from uint64) error {
	r, err := j.Reader(from)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		h.show(b.End.Seq)
		if !b.Open { // a sink commits whole transactions
			h.mark(b.End.Seq)
			j.Mark("sink", b.End.Seq)
		}
	}
}

// await waits until a row is durable.
func await(ctx context.Context, j *journal.Journal, seq uint64) error {
	r, err := j.Reader(seq)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Next(ctx)
	return err
}

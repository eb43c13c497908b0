package blocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/row"
	"holdfast/test/mounts"
	"holdfast/test/tally"
)

// moment is when the power is cut, and what chance leaves of what was not
// flushed by then.
type moment struct {
	n    int    // entries of the log that had arrived
	seed uint64 // 0: all of them stay
}

// player plays moments of a recording back, in the order of the log.
type player struct {
	r    *recording
	file *os.File
	v    *volume
	im   image // with the first done entries
	done int
}

func newPlayer(t *testing.T, r *recording) *player {
	t.Helper()
	dir := mounts.WorkDir(t)
	p := &player{r: r, file: createFile(t, filepath.Join(dir, "image")), im: slices.Clone(r.base)}
	t.Cleanup(func() { p.file.Close() })
	ok(t, p.file.Truncate(r.kind.size))
	p.v = newVolume(t, r.kind, dir, p.file)
	t.Cleanup(func() { p.v.loop.Close() })
	return p
}

// build makes the image as a power cut at m leaves it.
func (p *player) build(m moment) error {
	flushed := p.r.flushed(m.n)
	for ; p.done < flushed; p.done++ {
		p.im.write(p.r.log[p.done].off, p.r.log[p.done].data)
	}
	if err := p.im.save(p.file); err != nil {
		return err
	}
	return apply(p.file, p.r.log[flushed:m.n], p.r.kind.grain, m.seed)
}

// mounted runs do on the file system that a power cut at m leaves.
func (p *player) mounted(m moment, do func() error) error {
	if err := p.build(m); err != nil {
		return err
	}
	if err := p.v.mount(); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, p.v.unmount())
}

// errBroken tells what the journal does wrong from what the file system, or
// the harness, does.
var errBroken = errors.New("not what was promised")

// play judges the journal behind a power cut at m.
func (p *player) play(m moment) error {
	return p.mounted(m, func() error {
		if err := p.judge(p.r.time(m.n)); err != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
		return nil
	})
}

// left returns what the journal has behind a power cut at m, and leaves the
// image as it was before anybody looked.
func (p *player) left(m moment) (f found, err error) {
	err = p.mounted(m, func() error {
		d, err := p.v.open(p.r.buffered)
		if err != nil {
			return err
		}
		f, err = start(d, func(*journal.Journal, found) error { return nil })
		return errors.Join(err, d.Close())
	})
	if err == nil {
		err = p.build(m)
	}
	return f, err
}

// judge starts the journal, judges it, writes on, and starts it again: what is
// found then must be the same, and the row that was written.
func (p *player) judge(at int64) error {
	d, err := p.v.open(p.r.buffered)
	if err != nil {
		return err
	}
	defer d.Close()
	before, err := start(d, func(j *journal.Journal, f found) error {
		if err := p.r.history.judge(f, at); err != nil {
			return err
		}
		return goOn(j, f.last()+1)
	})
	if err != nil {
		return err
	}
	after, err := start(d, func(*journal.Journal, found) error { return nil })
	if err == nil && (after.first != before.first || !slices.Equal(after.values, append(before.values, goesOn.value(0)))) {
		err = fmt.Errorf("finds seqs %d to %d and a row behind them, which were %d to %d", after.first, after.last()-1, before.first, before.last())
	}
	if err != nil {
		return fmt.Errorf("second start: %w", err)
	}
	return nil
}

// start opens the journal on d, reads it, has look see it, and closes it.
func start(d disk.FS, look func(*journal.Journal, found) error) (found, error) {
	j, err := journal.Open(d, journal.Options{Name: "main", SegmentSize: segmentSize})
	if err != nil {
		return found{}, fmt.Errorf("does not start: %w", err)
	}
	f, err := read(j)
	if err == nil {
		err = look(j, f)
	}
	return f, errors.Join(err, j.Close())
}

// goesOn is the row that is written behind a recovery.
var goesOn = attempt{Name: "goes on", N: 1}

func goOn(j *journal.Journal, seq uint64) error {
	var b row.Batch
	if err := goesOn.add(&b, j, 0, 1); err != nil {
		return err
	}
	got, err := j.Append(context.Background(), &b, true)
	if err == nil && got != seq {
		err = fmt.Errorf("it is seq %d, should be %d", got, seq)
	}
	if err != nil {
		return fmt.Errorf("the row behind the recovery: %w", err)
	}
	return nil
}

// moments returns n moments in the order of the log: as many of each phase of
// the journal's work, and, where n allows it, after each write and each flush.
func (r *recording) moments(t *testing.T, n int, rnd *rand.Rand) []moment {
	t.Helper()
	byPhase := make([][]int, len(phases))
	for i, phase := range phases {
		byPhase[i] = r.during(phase)
		if len(byPhase[i]) == 0 {
			t.Fatalf("%s: no moment of the recording is a %s", r.mode, phase)
		}
	}
	var all []moment
	if n > len(r.log) {
		for i := range len(r.log) + 1 {
			all = append(all, moment{n: i})
		}
	}
	for i := 0; len(all) < n; i++ {
		of := byPhase[i%len(phases)]
		m := moment{n: of[rnd.IntN(len(of))]}
		if r.flushed(m.n) < m.n && rnd.IntN(4) != 0 {
			m.seed = rnd.Uint64() | 1
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b moment) int { return a.n - b.n })
	return all
}

// during returns each moment from before a call of a phase to one entry behind
// its end.
func (r *recording) during(phase string) []int {
	var all []int
	for _, c := range r.history.Calls {
		if c.Phase != phase {
			continue
		}
		n, _ := slices.BinarySearchFunc(r.log, c.From+1, func(e entry, at int64) int { return int(e.end - at) })
		for ; n <= len(r.log); n++ {
			all = append(all, n)
			if r.time(n) > c.To {
				break
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// workers is how many moments are played back at the same time.
const workers = 2

// playAll plays moments back until one fails. It returns how many it played,
// and the one that failed.
func (r *recording) playAll(t *testing.T, all []moment) (played int, failed moment, err error) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	part := (len(all) + workers - 1) / workers
	for some := range slices.Chunk(all, part) {
		p := newPlayer(t, r)
		wg.Go(func() {
			for _, m := range some {
				perr := p.play(m)
				mu.Lock()
				if played++; perr != nil && err == nil {
					failed, err = m, perr
				}
				over := err != nil
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	wg.Wait()
	return played, failed, err
}

// mustPlay plays moments back, all of which must be as promised.
func (r *recording) mustPlay(t *testing.T, all []moment) int {
	t.Helper()
	begun := time.Now()
	n, at, err := r.playAll(t, all)
	if err != nil {
		dir, derr := os.MkdirTemp("", "holdfast-recording-")
		ok(t, derr)
		t.Fatalf("%s: power cut after entry %d of %d: %v\n%s", r.mode, at.n, len(r.log), err, r.keep(t, dir, at))
	}
	t.Logf("%s: %d entries, %d KiB, up to seq %d; played %d moments back, %v each",
		r.mode, len(r.log), r.time(len(r.log))>>10, len(r.history.rows)-1, n, time.Since(begun)/time.Duration(max(n, 1)))
	return n
}

// perRecording is how many moments of one recording, and of what goes on
// behind one of its power cuts, are played at most: each one, and some subsets
// of what was not flushed.
const perRecording = 5000

// TestReplays records journals on several file systems and plays the
// recordings back.
func TestReplays(t *testing.T) {
	const name = "block replays"
	if dir := os.Getenv(keptVar); dir != "" {
		ok(t, playKept(t, dir))
		return
	}
	seed := mounts.Seed(t)
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	modes := []mode{{ext4, false}, {ext4, true}, {xfs, false}, {xfs, true}}
	done, want := 0, tally.Want(t, name)
	for before := -1; before < done && done < want; { // -run may leave all of them out
		before = done
		for i, m := range modes {
			share := min(perRecording, (want-done+len(modes)-i-1)/(len(modes)-i))
			t.Run(m.String(), func(t *testing.T) { // its end gives images and devices back
				r := newRecording(t, m, false, rnd.Uint64())
				all := r.moments(t, (share+1)/2, rnd)
				done += r.mustPlay(t, all)
				if len(all) < share {
					r = r.after(t, all[rnd.IntN(len(all))], rnd.Uint64())
					done += r.mustPlay(t, r.moments(t, share-len(all), rnd))
				}
			})
		}
		if t.Failed() {
			return
		}
	}
	tally.Done(t, name, done, fmt.Sprintf("HOLDFAST_SEED=%d go test -run TestReplays, in test/blocks", seed))
}

// TestHarnessBites records a journal that acks rows before their flush: the
// moments around the acks and the same judge must find that out, and find it
// again in what is kept of the recording.
func TestHarnessBites(t *testing.T) {
	for _, k := range []kind{ext4, xfs} {
		seed := mounts.Seed(t)
		r := newRecording(t, mode{k, false}, true, seed)
		rnd := rand.New(rand.NewPCG(seed, 2))
		var all []moment
		for _, n := range r.during(phaseAck) {
			all = append(all, moment{n, rnd.Uint64() | 1})
		}
		n, at, err := r.playAll(t, all)
		if err == nil {
			t.Fatalf("%s: rows that were acked before their flush outlived %d power cuts (seed %d)", r.mode, n, seed)
		}
		if !errors.Is(err, errBroken) {
			t.Fatalf("%s: entry %d: the replays find something else (seed %d): %v", r.mode, at.n, seed, err)
		}
		t.Logf("%s: found after %d replays: %v", r.mode, n, err)
		dir := mounts.WorkDir(t)
		r.keep(t, dir, at)
		if again := playKept(t, dir); again == nil || again.Error() != err.Error() {
			t.Fatalf("%s: entry %d: kept and played back again it is another failure (seed %d): %v", r.mode, at.n, seed, again)
		}
	}
}

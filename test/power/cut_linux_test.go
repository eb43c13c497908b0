package power

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/segment"
	"holdfast/test/mounts"
	"holdfast/test/tally"
)

// mounted are the options that a volume is mounted with, in turn by chance.
var mounted = map[string][]string{
	// Not data=writeback: there ext4 gives blocks of a file that was removed or
	// replaced to another before the removal is on disk, so that a cut brings the
	// old file back with somebody else's bytes in it.
	"ext4": {"commit=1", "commit=5", "commit=1000", "data=ordered,commit=1000"},
	"xfs":  {"", "logbufs=2", "logbsize=256k"},
}

// campaign is many power cuts of one volume, whose history goes on from each
// to the next.
type campaign struct {
	t      *testing.T
	rnd    *rand.Rand
	v      *volume
	o      *oracle
	cuts   int
	wrap   func(disk.FS) disk.FS // put between journal and volume
	how    string                // of the cut and the start that are under way, for a failure's message
	before string                // the same of the life before
	d      disk.FS
}

// TestPowerCutsExt4 cuts the power of ext4 under a journal.
func TestPowerCutsExt4(t *testing.T) { powerCuts(t, "ext4", "power cuts on ext4") }

// TestPowerCutsXFS cuts the power of XFS under a journal.
func TestPowerCutsXFS(t *testing.T) { powerCuts(t, "xfs", "power cuts on XFS") }

func powerCuts(t *testing.T, kind, name string) {
	rnd, seed := seeded(t)
	t.Log(replay(t, seed))
	c := newCampaign(t, kind, rnd)
	begun := time.Now()
	for want := tally.Want(t, name); c.cuts < want; {
		if err := c.life(); err != nil {
			kept := filepath.Join(os.TempDir(), fmt.Sprintf("holdfast-power-%s-%d.img", kind, seed))
			mounts.Run(t, "cp", "--sparse=always", c.v.image, kept) // as the start under judgement left it
			t.Fatalf("cut %d, %s, after a life %s: %v\nreplay: %s; the file system is in %s", c.cuts, c.how, c.before, err, replay(t, seed), kept)
		}
	}
	t.Logf("%d acks, up to seq %d; %d rows were acked or shown after a cut had begun, %d of them are not there; %v per cut", c.o.acks, c.o.flushed, c.o.lates, c.o.untrue, time.Since(begun)/time.Duration(c.cuts))
	tally.Done(t, name, c.cuts, replay(t, seed))
}

// TestHarnessBites lets the journal ack rows whose flush it leaves out: the
// same cuts and the same oracle must find that out.
func TestHarnessBites(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			rnd, seed := seeded(t)
			t.Log(replay(t, seed))
			c := newCampaign(t, kind, rnd)
			c.wrap = func(d disk.FS) disk.FS { return hasty{d} }
			for c.cuts < 200 {
				err := c.life()
				if err == nil {
					continue
				}
				if !strings.Contains(err.Error(), "lost: ") {
					t.Fatalf("cut %d finds something else: %v", c.cuts, err)
				}
				t.Logf("cut %d: %v", c.cuts, err)
				return
			}
			t.Fatalf("rows that were acked before their flush outlived %d power cuts", c.cuts)
		})
	}
}

// hasty is a disk that says of each row that it is flushed without doing so.
type hasty struct{ disk.FS }

func (h hasty) Create(name string) (disk.File, error) {
	f, err := h.FS.Create(name)
	return hastyFile{f}, err
}

func (h hasty) Open(name string, write bool) (disk.File, error) {
	f, err := h.FS.Open(name, write)
	return hastyFile{f}, err
}

type hastyFile struct{ disk.File }

func (f hastyFile) WriteSyncAt(p []byte, off int64) error {
	if off < segment.DataStart {
		return f.File.WriteSyncAt(p, off)
	}
	return f.WriteAt(p, off)
}

func newCampaign(t *testing.T, kind string, rnd *rand.Rand) *campaign {
	t.Helper()
	return &campaign{t: t, rnd: rnd, v: newVolume(t, kind, mounts.WorkDir(t)), o: newOracle(), wrap: func(d disk.FS) disk.FS { return d }}
}

// life starts the journal on what the last cut left, judges it, lets it be
// written and read, and cuts the power.
func (c *campaign) life() error {
	c.before = c.how
	c.mount()
	defer c.unmount()
	for range 3 { // cuts while it recovers from the cut before
		if c.rnd.IntN(8) != 0 {
			break
		}
		c.cutSoon(func() {
			if j, err := c.start(); err == nil {
				_ = j.Close()
			}
		})
		c.unmount()
		c.mount()
	}
	j, err := c.start()
	if err == nil {
		err = c.o.judge(j)
	}
	if err == nil && c.rnd.IntN(5) == 0 { // what a second start finds is the same
		if err = j.Close(); err == nil {
			j, err = c.start()
		}
		if err == nil {
			err = c.o.judge(j)
		}
	}
	if err != nil {
		if j != nil {
			_ = j.Close()
		}
		return err
	}
	return c.work(j)
}

// start opens the journal, with limits that make it remove what is delivered.
func (c *campaign) start() (*journal.Journal, error) {
	limits := journal.Limits{History: 1 << 20}
	if c.rnd.IntN(3) == 0 {
		limits = journal.Limits{Budget: 3 << 20, Wait: 20 * time.Millisecond}
	}
	j, err := journal.Open(c.d, journal.Options{Name: "main", SegmentSize: 256 << 10, Limits: limits})
	if err != nil {
		return nil, err
	}
	if _, err := j.Register("sink"); err != nil {
		return nil, fmt.Errorf("%w (close: %v)", err, j.Close())
	}
	return j, nil
}

// mount mounts the volume and opens it: most often through the page cache,
// because what was written around it survives the cut without a flush.
func (c *campaign) mount() {
	options := mounted[c.v.kind][c.rnd.IntN(len(mounted[c.v.kind]))]
	if c.rnd.IntN(20) == 0 { // the log was replayed before fsck looks
		c.v.mount(options)
		c.v.unmount()
		c.v.fsck()
	}
	buffered := c.rnd.IntN(3) != 0
	c.how = fmt.Sprintf("mounted with %q, buffered %v, %s", options, buffered, c.how[strings.LastIndexByte(c.how, ' ')+1:])
	c.v.mount(options)
	c.o.goDark(false)
	c.d = c.wrap(c.v.open(buffered))
}

func (c *campaign) unmount() {
	if !c.v.up {
		return
	}
	if err := c.d.Close(); err != nil {
		c.t.Error(err)
	}
	c.v.unmount()
}

// cutSoon cuts the power a moment after do has begun.
func (c *campaign) cutSoon(do func()) {
	c.cuts++
	after, how := time.Duration(c.rnd.IntN(6_000))*time.Microsecond, c.kind()
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(after)
		c.o.goDark(true)
		c.v.cut(how)
	})
	do()
	wg.Wait()
}

// kind picks how the power is cut.
func (c *campaign) kind() int {
	if c.rnd.IntN(6) == 0 {
		c.how += " log-flushed"
		return shutdownFlush
	}
	c.how += " at-once"
	return shutdownAtOnce
}

// work lets writers, a sink and sometimes others work on j, and cuts the power
// under them, or while j is closed behind them. It closes j.
func (c *campaign) work(j *journal.Journal) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var writers, others sync.WaitGroup
	var followed error
	closing := c.rnd.IntN(6) == 0
	share := 1 + c.rnd.IntN(30)
	acked := make(chan struct{}, 4*share)
	for w := range 1 + c.rnd.IntN(4) {
		rnd, name := rand.New(rand.NewPCG(c.rnd.Uint64(), 1)), fmt.Sprintf("cut %d writer %d", c.cuts, w)
		writers.Go(func() { c.write(j, rnd, name, share, acked) })
	}
	go func() {
		writers.Wait()
		close(acked)
	}()
	others.Go(func() { followed = c.follow(ctx, j) })
	if c.rnd.IntN(4) == 0 {
		others.Go(func() { _ = j.Seal(ctx) })
	}
	if c.rnd.IntN(4) == 0 {
		a := attempt{name: fmt.Sprintf("cut %d staged", c.cuts), n: 20, size: 3000}
		others.Go(func() { _ = c.o.stage(j, a) })
	}
	if closing {
		writers.Wait()
		c.cutSoon(func() { _ = j.Close() })
	} else {
		for range c.rnd.IntN(share) {
			<-acked
		}
		c.cutSoon(func() {})
		writers.Wait()
		_ = j.Close() // after the cut it cannot tell good news
	}
	stop()
	others.Wait()
	return followed
}

// write hands over share transactions, or fewer where the power goes, and says
// so after each.
func (c *campaign) write(j *journal.Journal, rnd *rand.Rand, name string, share int, acked chan<- struct{}) {
	for i := range share {
		a := attempt{name: fmt.Sprintf("%s transaction %d", name, i), n: 1 + rnd.IntN(4), size: rnd.IntN(1500)}
		err := c.o.append(j, a, rnd.IntN(4) != 0)
		acked <- struct{}{} // it has room for all
		if err != nil && fault.Code(err) != fault.DiskFull {
			break
		}
	}
}

// follow reads as a sink does, and commits what it has read.
func (c *campaign) follow(ctx context.Context, j *journal.Journal) error {
	r, err := j.Reader(c.o.marked + 1)
	if err != nil {
		return fmt.Errorf("lost: the sink cannot go on: %w", err)
	}
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if err != nil {
			return nil // the disk is gone
		}
		if err := c.o.show(b.Rows); err != nil {
			return err
		}
		if !b.Open { // a sink commits whole transactions
			c.o.mark(b.End.Seq)
			j.Mark("sink", b.End.Seq)
		}
	}
}

package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

// onDisk returns the bytes of all files of a stream.
func onDisk(t testing.TB, d disk.FS) (sum int64) {
	t.Helper()
	for _, e := range must(d.List("")) {
		sum += e.Size
	}
	return sum
}

// TestBudgetToTheByte runs random histories under a budget: what stands on the
// disk never passes it, and what is counted is what stands there.
func TestBudgetToTheByte(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -run TestBudgetToTheByte -seed %d", seed) // the first history has the seed behind it
	for range 6 {
		seed++
		mem := disk.NewMem()
		f := disk.NewFaulty(mem)
		o := Options{SegmentSize: 48 << 10, Manifests: seed%2 == 0, Limits: Limits{Budget: 640 << 10, Wait: 5 * time.Millisecond}}
		var mu sync.Mutex
		most := int64(0)
		f.OnCall(func(disk.Call) {
			mu.Lock()
			defer mu.Unlock()
			most = max(most, onDisk(t, mem))
		})
		for range 2 {
			j := open(t, f, o)
			_, _ = j.Register("sink")
			var wg sync.WaitGroup
			for w := range uint64(3) {
				wg.Go(func() { budgetHistory(t, j, rand.New(rand.NewPCG(seed, w))) })
			}
			wg.Wait()
			settled(t, j, mem)
			closeJournal(t, j)
			if got := j.Status().Bytes; got != onDisk(t, mem) {
				t.Errorf("seed %d: %d bytes are counted after Close, %d stand there", seed, got, onDisk(t, mem))
			}
		}
		if most > o.Limits.Budget {
			t.Errorf("seed %d: %d bytes stood on the disk, the budget is %d", seed, most, o.Limits.Budget)
		}
	}
}

// budgetHistory appends, stages, seals and delivers at random.
func budgetHistory(t *testing.T, j *Journal, r *rand.Rand) {
	value := func(n int) *row.Batch { return batch(t, j, strings.Repeat("v", n)) }
	for i := range 60 {
		switch r.IntN(12) {
		case 0:
			_ = j.Seal(t.Context())
		case 1:
			s := must(j.Stage())
			for range r.IntN(12) {
				_ = s.Add(value(r.IntN(20 << 10)))
			}
			if r.IntN(3) == 0 {
				must(0, s.Abort())
			} else {
				_, _ = s.Commit(context.Background())
			}
		case 2:
			s := j.Intern(fmt.Sprintf("wide%d", i), make([]row.Column, 20+r.IntN(100)))
			var b row.Batch
			must(0, b.Add(s, 0, make([]row.Value, len(s.Columns))))
			_, _ = j.Append(context.Background(), &b, true)
		case 3:
			_, _ = j.Append(context.Background(), value(r.IntN(90<<10)), true)
		case 4, 5:
			j.Mark("sink", j.End().Seq)
		default:
			_, _ = j.Append(context.Background(), value(r.IntN(6<<10)), r.IntN(3) != 0)
		}
	}
}

// settled waits until what is counted is what stands on the disk.
func settled(t *testing.T, j *Journal, d disk.FS) {
	t.Helper()
	var counted, there int64
	for range 1500 {
		if counted, there = j.Status().Bytes, onDisk(t, d); counted == there {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d bytes are counted, %d stand there %s", counted, there, dump(j))
}

// TestRemovalFails lets the removal of a delivered segment fail: its file
// stays counted, and goes when the disk allows it.
func TestRemovalFails(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 48 << 10, Limits: Limits{History: 1}})
	defer closeJournal(t, j)
	must(j.Register("sink"))
	for range 12 {
		mustAppend(t, j, strings.Repeat("v", 30<<10))
	}
	f.Fail(disk.Fault{Kind: disk.CallRemove, N: 1, Err: syscall.EIO, Forever: true}, disk.Fault{Kind: disk.CallRename, N: 1, Err: syscall.EIO, Forever: true})
	j.Mark("sink", j.End().Seq)
	time.Sleep(100 * time.Millisecond)
	f.Fail()
	settled(t, j, mem)
	for range 1500 {
		if j.Status().Segments <= 1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if names := must(mem.List("")); len(names) > 4 {
		t.Errorf("files stay: %+v", names)
	}
	settled(t, j, mem)
}

// TestNobodyWaitsLongerThanWait has more writers than one group takes wait for
// room on a full disk: whoever is refused is refused when wait is over, not
// when the groups before have waited too.
func TestNobodyWaitsLongerThanWait(t *testing.T) {
	mem := disk.NewMem()
	mem.SetQuota(512<<10, 0)
	const wait = time.Second
	j := open(t, mem, Options{SegmentSize: 1 << 20, Limits: Limits{Wait: wait}})
	big := fmt.Sprintf("%0100000d", 7)
	var wg sync.WaitGroup
	for i := range 12 {
		b := batch(t, j, big)
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 70 * time.Millisecond)
			start := time.Now()
			_, err := j.Append(t.Context(), b, true)
			if fault.Code(err) != fault.DiskFull {
				t.Errorf("answered %v", err)
			}
			if took := time.Since(start); took > 2*wait-200*time.Millisecond {
				t.Errorf("refused after %v, wait is %v", took, wait)
			}
		})
	}
	wg.Wait()
	closeJournal(t, j)
}

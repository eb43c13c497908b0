package journal

import (
	"strings"
	"sync"
	"testing"

	"holdfast/internal/disk"
)

// TestHalfFilled holds that a file whose zeros were not flushed when the power
// went, or the process, is not taken over as the next segment's: in such a file
// ext4 says yes to a flush that the power cut overtook (docs/durability.md).
func TestHalfFilled(t *testing.T) {
	mem := disk.NewMem()
	d := disk.NewFaulty(mem)
	var once sync.Once
	var left []*disk.Mem
	d.OnCall(func(c disk.Call) {
		if c.Kind == disk.CallSync && strings.HasSuffix(c.Name, freshSuffix) {
			once.Do(func() { left = append(left, mem.Kill(), mem.Crash(1), mem.Crash(2)) })
		}
	})
	j := must(Open(d, Options{Name: "main", SegmentSize: 24 << 10}))
	mustAppend(t, j, "a")
	closeJournal(t, j)
	if left == nil {
		t.Fatal("no file was filled under a name of its own")
	}
	for _, mem := range left {
		d := disk.NewFaulty(mem)
		d.OnCall(func(c disk.Call) {
			if c.Kind == disk.CallOpen && (strings.HasSuffix(c.Name, freshSuffix) || strings.HasSuffix(c.Name, spareSuffix)) {
				t.Errorf("a start opens %s", c.Name)
			}
		})
		j := must(Open(d, Options{Name: "main", SegmentSize: 24 << 10}))
		d.OnCall(nil)
		mustAppend(t, j, "b")
		closeJournal(t, j)
		for _, e := range must(mem.List("")) {
			if strings.HasSuffix(e.Name, freshSuffix) {
				t.Errorf("%s is left", e.Name)
			}
		}
	}
}

package roller

import (
	"fmt"
	"os"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
	"holdfast/row"
)

// TestManySegments rolls 2,000 segments of one stream on a real disk,
// and no row is read for it. Making 10,000 takes too long, because each seal writes the whole
// MANIFEST.
func TestManySegments(t *testing.T) {
	if os.Getenv("HOLDFAST_LONG") == "" {
		t.Skip("SKIPPED: takes minutes; HOLDFAST_LONG=1 runs it")
	}
	const segments = 2000
	d := must(disk.OpenReal(t.TempDir()))
	defer d.Close()
	must(0, d.Mkdir("main"))
	sub := must(d.Sub("main"))
	r := must(Open(d, Options{}))
	j := must(journal.Open(sub, journal.Options{Name: "main", Link: "id", SegmentSize: 16 << 10, Manifests: true}))
	defer j.Close()
	columns := []row.Column{{Name: "id", Type: "int8"}}
	for id := range segments + 1 {
		var b row.Batch
		must(0, b.Add(j.Intern("t", columns), 0, []row.Value{row.Text(fmt.Sprint(id))}))
		must(j.Append(t.Context(), &b, true))
		must(0, j.Seal(t.Context()))
	}
	r.Attach([]Stream{{Name: "main", Journal: j, Link: "id", Limits: j.Limits}})
	m := must(roll.ParseMessage("/database", "sizeRoll", "maxSize=0.01MB"))
	start := time.Now()
	plan := must(r.Roll(m, "test", false))
	planned := time.Since(start)
	start = time.Now()
	done := must(r.Roll(m, "test", true))
	took := time.Since(start)
	t.Logf("%d segments: planned in %v, rolled in %v", len(done.Plan.Steps), planned, took)
	if len(plan.Plan.Steps) < segments || len(j.Files()) > 2 {
		t.Errorf("%d segments went, %d are left", len(done.Plan.Steps), len(j.Files()))
	}
	if took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

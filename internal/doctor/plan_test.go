package doctor

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"holdfast/internal/fault"
)

// TestPlanRefuses holds that what cannot be is refused with the value and a
// hint, and never planned.
func TestPlanRefuses(t *testing.T) {
	good := Need{For: ForSpool, FS: "ext4", RowsPerSecond: 100, RowSize: 200, Outage: time.Hour, Device: "/dev/sdX", Mount: "/var/spool/holdfast"}
	if _, err := MakePlan(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Need){
		"no purpose":       func(n *Need) { n.For = "tape" },
		"no file system":   func(n *Need) { n.FS = "fat" },
		"no rate":          func(n *Need) { n.RowsPerSecond = 0 },
		"less than none":   func(n *Need) { n.RowsPerSecond = -1 },
		"not a number":     func(n *Need) { n.RowsPerSecond = math.NaN() },
		"endless":          func(n *Need) { n.RowsPerSecond = math.Inf(1) },
		"no row":           func(n *Need) { n.RowSize = 0 },
		"a huge row":       func(n *Need) { n.RowSize = math.MaxInt64 },
		"no time":          func(n *Need) { n.Outage = 0 },
		"for ever":         func(n *Need) { n.Outage = math.MaxInt64 },
		"too many files":   func(n *Need) { n.RowsPerSecond, n.Outage = 1e6, 24*time.Hour },
		"many files a row": func(n *Need) { n.FilesPerRow = math.NaN() },
		"rows per commit":  func(n *Need) { n.RowsPerCommit = 0.5 },
		"on the root":      func(n *Need) { n.Mount = "/" },
		"relative":         func(n *Need) { n.Mount = "spool" },
		"dots":             func(n *Need) { n.Mount = "/var/../etc" },
		"a command":        func(n *Need) { n.Mount = "/var/$(reboot)" },
		"another":          func(n *Need) { n.Device = "/dev/sda; reboot" },
		"beyond all":       func(n *Need) { n.For, n.RowsPerSecond, n.RowSize, n.Outage = ForStream, 1e8, 8<<20, maxOutage },
		"huge files":       func(n *Need) { n.RowSize, n.RowsPerSecond, n.Outage = 8<<20, 100, maxOutage },
	} {
		n := good
		change(&n)
		p, err := MakePlan(n)
		if err == nil {
			t.Errorf("%s: planned %d bytes by %q", name, p.Size, p.Mkfs)
			continue
		}
		if f := fault.Of(err); f.Code != fault.InvalidParameterValue || f.Hint == "" {
			t.Errorf("%s: %v has no hint", name, err)
		}
	}
}

// TestPlanAddsUp holds that more rows never need less, whatever layout is chosen,
// and that each step is told.
func TestPlanAddsUp(t *testing.T) {
	for _, what := range []string{ForSpool, ForStream} {
		for _, fs := range []string{"ext4", "xfs", "ffs"} {
			last := int64(0)
			for _, size := range []int64{1, 64, 200, 320, 321, 832, 833, 1024, 1025, 3000, 4096, 4097, 60_000} {
				p, err := MakePlan(Need{For: what, FS: fs, RowsPerSecond: 200, RowSize: size, Outage: 3 * time.Hour, Device: "/dev/sdX", Mount: "/srv/x"})
				if err != nil {
					t.Fatal(err)
				}
				if p.Size < last || p.Size < p.Rows*size {
					t.Errorf("%s on %s: rows of %d bytes need %d, smaller ones %d", what, fs, size, p.Size, last)
				}
				last = p.Size
				if len(p.Steps) < 5 || p.Steps[0].Value != 200*3*3600 || !strings.Contains(p.Mkfs, "/dev/sdX") || !strings.Contains(p.Fstab, "/srv/x") || !strings.Contains(p.Fstab, "noatime") {
					t.Errorf("%s on %s: %+v", what, fs, p)
				}
				if text, err := json.Marshal(p); err != nil || !strings.Contains(string(text), `"size":`) {
					t.Errorf("%s, %v", text, err)
				}
			}
		}
	}
}

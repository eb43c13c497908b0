package holdfast

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	for _, test := range []struct {
		name    string
		samples [][3]uint64 // second, seq, end
		now     float64
		seq     uint64
		end     uint64
		rate    float64
		left    time.Duration
	}{
		{"nothing known", nil, 5, 0, 100, 0, 0},
		{"too early to tell", [][3]uint64{{0, 10, 100}}, 0.5, 20, 100, 0, 0},
		{"drains", [][3]uint64{{0, 0, 1000}, {5, 500, 1000}}, 5, 500, 1000, 100, 5 * time.Second},
		{"drains against the stream", [][3]uint64{{0, 0, 1000}, {5, 500, 1250}}, 5, 500, 1250, 100, 15 * time.Second},
		{"falls behind", [][3]uint64{{0, 0, 1000}, {5, 500, 2000}}, 5, 500, 2000, 100, 0},
		{"has it all", [][3]uint64{{0, 0, 1000}, {5, 1000, 1000}}, 5, 1000, 1000, 200, 0},
		{"stopped", [][3]uint64{{0, 0, 1000}}, 50, 0, 1000, 0, 0},
		{"stopped long ago", [][3]uint64{{0, 0, 1000}, {10, 500, 1000}}, 1000, 500, 1000, 0, 0},
		{"gets rows again", [][3]uint64{{0, 900, 1000}, {5, 100, 1000}}, 10, 200, 1000, 20, 40 * time.Second},
		{"hardly moves", [][3]uint64{{0, 0, 1 << 62}}, 50, 1, 1 << 62, 0.02, maxLeft},
	} {
		var p pace
		for _, s := range test.samples {
			p.note(at(float64(s[0])), s[1], s[2])
		}
		rate, left := p.estimate(at(test.now), test.seq, test.end)
		if rate != test.rate || left != test.left {
			t.Errorf("%s: %v rows per second, %v left; want %v, %v", test.name, rate, left, test.rate, test.left)
		}
	}
	var p pace // a long time, as commits come
	for i := range uint64(100_000) {
		p.note(at(float64(i)/100), i*10, i*10+5000)
	}
	if rate, _ := p.estimate(at(1000), 1_000_000, 1_005_000); rate < 990 || rate > 1010 {
		t.Errorf("%v rows per second, want 1000", rate)
	}
}

package auth

import (
	"net/netip"
	"testing"
	"time"
)

// TestScenario42TenThousandTries: one address that tries ten passwords a second
// gets through with few of them, however often it is told to wait, and another
// address is not held up by it.
func TestScenario42TenThousandTries(t *testing.T) {
	var f Failures
	bad, good := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now, tried := time.Unix(1_700_000_000, 0), 0
	const tries, pause = 10_000, 100 * time.Millisecond
	for range tries {
		now = now.Add(pause)
		if f.Check(bad, now) == nil {
			tried++
			f.Failed(bad, now)
		}
		if f.Check(good, now) != nil {
			t.Fatal("another address must wait")
		}
	}
	if most := burst + int(tries*pause/refill) + 1; tried > most || tried < burst {
		t.Errorf("%d of %d passwords were looked at, want at most %d", tried, tries, most)
	}
}

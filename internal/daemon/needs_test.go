package daemon

import (
	"testing"

	"holdfast/internal/config"
)

// TestDescriptors holds both numbers against what a start makes of them: one
// less is refused, or turns clients away.
func TestDescriptors(t *testing.T) {
	c := config.Default()
	least, all := Descriptors(c)
	if _, err := shareOut(least, c); err != nil {
		t.Errorf("%d do not suffice: %v", least, err)
	}
	if _, err := shareOut(least-1, c); err == nil {
		t.Errorf("%d suffice too", least-1)
	}
	for n, want := range map[int]bool{all: true, all - 1: false} {
		if s, err := shareOut(n, c); err != nil || (s.clients >= c.MaxConnections) != want {
			t.Errorf("%d descriptors are for %d clients, %v", n, s.clients, err)
		}
	}
}

package cli

import (
	"strings"
	"testing"

	"holdfast/internal/reconcile"
)

// TestNothingReconciled wants a report over no rows not to speak of some.
func TestNothingReconciled(t *testing.T) {
	for want, p := range map[string]*reconcile.Report{
		"stream main, sink a: nothing from seq 1 on is delivered yet, and so nothing was compared\n":      {Stream: "main", Sink: "a", From: 1},
		"stream main, sink a: seq 1 to 1 compared; what lies behind is not delivered yet, or was since\n": {Stream: "main", Sink: "a", From: 1, To: 1},
	} {
		var b strings.Builder
		if err := printReconciled(&b, p, 0, false); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("got %q, %v; want %q", b.String(), err, want)
		}
	}
}

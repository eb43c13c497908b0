package daemon

import (
	"testing"

	"holdfast/internal/fault"
)

// TestShareOut holds that what the doors may have open never reaches into what
// the journal and the sinks need, whatever the limit is, and that too low a
// limit is told at the start.
func TestShareOut(t *testing.T) {
	c := settings(t, t.TempDir(), "max_connections: 256\n")
	own := ownFiles + 2*streamFiles + sinkFiles // main, and that of rejects
	for _, limit := range []int{own + 16, own + 17, 100, 256, 1024, 65536} {
		s, err := shareOut(limit, c)
		if err != nil {
			t.Fatalf("%d descriptors: %v", limit, err)
		}
		if used := own + clientFiles*s.clients + s.starting + adminFiles*s.admins; used > limit {
			t.Errorf("%d descriptors: %+v may take %d", limit, s, used)
		}
		if s.clients < 4 || s.starting < 1 || s.admins < 1 {
			t.Errorf("%d descriptors: %+v leaves a door shut", limit, s)
		}
	}
	if s, _ := shareOut(65536, c); s != (share{clients: 256, starting: 256, admins: maxAdmins}) {
		t.Errorf("with plenty of descriptors: %+v", s)
	}
	if _, err := shareOut(own+15, c); fault.Code(err) != fault.TooManyConnections || fault.Of(err).Hint == "" {
		t.Errorf("%d descriptors: %v, want a refusal that says what to do", own+15, err)
	}
	more := settings(t, t.TempDir(), "max_connections: 256\nstreams: {main: {}, other: {tables: [a]}}\n")
	if a, b := must(shareOut(256, c)), must(shareOut(256, more)); b.clients >= a.clients {
		t.Errorf("a second stream costs no client: %+v and %+v", a, b)
	}
}

func must(s share, err error) share {
	if err != nil {
		panic(err)
	}
	return s
}

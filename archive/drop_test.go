package archive

import (
	"fmt"
	"strings"
	"testing"
)

// TestLeave chooses what leaves: only the oldest, and never the newest.
func TestLeave(t *testing.T) {
	f := &Family{Name: "calls", Tables: []Table{{Type: 1, Name: "calls"}, {Type: 2, Name: "legs"}}}
	var entries []Entry
	for _, id := range []int64{3, 1, 2} { // a catalogue has no order
		for kind := 1; kind <= 3; kind++ { // type 3 is of another family
			entries = append(entries, Entry{ArchiveID: id, Type: kind, Name: fmt.Sprintf("t%d_%d", kind, id), Window: Window{Start: 100 * id, End: 100*id + 99}})
		}
	}
	for _, test := range []struct {
		id, before int64
		want       string
	}{
		{1, 0, "1"}, {2, 0, "archive 2 is not the oldest"}, {3, 0, "archive 3 is not the oldest"}, {4, 0, "no archive 4"},
		{0, 199, ""}, {0, 200, "1"}, {0, 300, "1 2"}, {0, 400, "archive 3 is the newest"}, {0, 0, ""},
	} {
		leave, refused := Leave(f, entries, test.id, test.before)
		var got []string
		for _, s := range leave {
			got = append(got, fmt.Sprint(s.ID))
			if len(s.Entries) != 2 {
				t.Errorf("archive %d has %d tables of two", s.ID, len(s.Entries))
			}
		}
		switch text := strings.Join(got, " "); {
		case len(refused) == 0 && text != test.want:
			t.Errorf("%d, %d: got %q, want %q", test.id, test.before, text, test.want)
		case len(refused) > 0 && !strings.Contains(refused[0].String(), test.want):
			t.Errorf("%d, %d: got %v, want %q", test.id, test.before, refused, test.want)
		}
	}
	if _, refused := Leave(f, entries[6:], 2, 0); len(refused) != 1 || !strings.Contains(refused[0].What, "newest") {
		t.Errorf("the only archive leaves: %v", refused)
	}
}

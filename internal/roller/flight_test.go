package roller

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
)

// hanging is a store that does not answer until it is let go.
type hanging struct {
	cold.Store
	letGo chan struct{}
}

func (h *hanging) Put(name string, replace bool, fill func(io.Writer) error) error {
	<-h.letGo
	return h.Store.Put(name, replace, fill)
}

func (h *hanging) Used() (int64, int64, error) {
	<-h.letGo
	return h.Store.Used()
}

// TestColdSilent has the cold tier not answer. Who asks for a roll is told so after
// a while, and at once from then on; streams that do not go there roll; where drop
// is chosen segments leave without a copy; and a copy that comes in the end counts.
func TestColdSilent(t *testing.T) {
	for _, choice := range []OnColdFull{ColdBlock, ColdDrop} {
		h := &hanging{letGo: make(chan struct{})}
		f := opened(t, disk.NewMem(), setup{cold: 1 << 40, onCold: choice, roller: Options{silence: 200 * time.Millisecond}, store: func(s cold.Store) cold.Store {
			return &hanging{s, h.letGo}
		}})
		f.mustFill(t, 1, 60)
		before := f.files(t)["packet"]
		for try := range 2 {
			_, err := f.r.Roll(message(t, "type=packet maxSize=0.2MB"), "test", true)
			if choice == ColdDrop && err != nil || choice == ColdBlock && (!errors.Is(err, cold.ErrAway) || !strings.Contains(err.Error(), "no answer comes")) {
				t.Fatalf("%s: roll %d of what hangs: %v", choice, try, err)
			}
		}
		if left := f.files(t)["packet"]; (left < before) != (choice == ColdDrop) {
			t.Errorf("%s: %d packets' segments of %d are left", choice, left, before)
		}
		eventually(t, func() string {
			f.r.askCold(nil)
			if a := f.r.ColdAccount("meta"); !strings.Contains(a.Failing, "no answer comes") {
				return "a tier that does not answer when it is asked is told to work: " + a.Failing
			}
			return ""
		})
		if a := f.r.ColdAccount("packet"); a.Failing == "" || (a.Dropped > 0) != (choice == ColdDrop) {
			t.Errorf("%s: %+v", choice, a)
		}
		close(h.letGo)
		eventually(t, func() string {
			if _, err := f.r.Roll(message(t, "type=packet maxSize=0.1MB"), "test", true); err != nil {
				return err.Error()
			}
			f.r.askCold(nil)
			return f.r.ColdAccount("packet").Failing + f.r.ColdAccount("meta").Failing
		})
		if a := f.r.ColdAccount("packet"); choice == ColdBlock && a.Segments == 0 {
			t.Errorf("%s: %+v", choice, a)
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
}

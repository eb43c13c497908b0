package cold_test

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/cold/coldtest"
	"holdfast/internal/disk"
)

// TestLater holds a store that is opened apart to what every cold tier promises.
func TestLater(t *testing.T) {
	coldtest.Conform(t, func(t *testing.T, size int64) cold.Store {
		l, late, err := cold.OpenLater("/cold/", time.Minute, func() (cold.Store, error) {
			return cold.OpenDirectory(disk.NewMem(), "/cold", size), nil
		})
		if late || err != nil {
			t.Fatal(late, err)
		}
		return l
	})
}

// closing counts how often it is closed.
type closing struct {
	cold.Store
	n *atomic.Int32
}

func (c closing) Close() error {
	c.n.Add(1)
	return c.Store.Close()
}

// TestLaterHangs has the opening hang: nobody waits for it, closing neither, and
// what comes in the end is in use, or is closed once.
func TestLaterHangs(t *testing.T) {
	for _, leave := range []bool{false, true} {
		letGo, n := make(chan struct{}), atomic.Int32{}
		l, late, err := cold.OpenLater("/cold/", time.Millisecond, func() (cold.Store, error) {
			<-letGo
			return closing{cold.OpenDirectory(disk.NewMem(), "/cold", 0), &n}, nil
		})
		if !late || err != nil {
			t.Fatal(late, err)
		}
		if leave {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		close(letGo)
		err = l.Put("a", false, func(w io.Writer) error { _, err := w.Write([]byte("a")); return err })
		if leave != errors.Is(err, cold.ErrAway) || !leave && err != nil {
			t.Errorf("closed: %v; it says %v", leave, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(time.Minute); n.Load() != 1; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("closed: %v; the store was closed %d times", leave, n.Load())
			}
		}
	}
}

// TestLaterFails has the opening fail: a start is told so, and whoever needs it
// later tries again.
func TestLaterFails(t *testing.T) {
	fails := atomic.Bool{}
	fails.Store(true)
	l, late, err := cold.OpenLater("/cold/", time.Minute, func() (cold.Store, error) {
		if fails.Load() {
			return nil, errors.New("not mounted")
		}
		return cold.OpenDirectory(disk.NewMem(), "/cold", 7), nil
	})
	if late || err == nil {
		t.Fatal(late, err)
	}
	if _, _, err := l.Used(); !errors.Is(err, cold.ErrAway) || !strings.Contains(err.Error(), "not mounted") {
		t.Errorf("it says %v", err)
	}
	fails.Store(false)
	if _, size, err := l.Used(); size != 7 || err != nil {
		t.Errorf("it is there, and says %d, %v", size, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

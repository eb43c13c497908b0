package httpapi

import (
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// trickle is a connection on which size bytes come each pause.
type trickle struct {
	httptest.ResponseRecorder
	until time.Time
	size  int
	pause time.Duration
}

func (c *trickle) SetReadDeadline(t time.Time) error {
	c.until = t
	return nil
}

func (c *trickle) Read(b []byte) (int, error) {
	if time.Sleep(min(c.pause, max(0, time.Until(c.until)))); !time.Now().Before(c.until) {
		return 0, os.ErrDeadlineExceeded
	}
	return min(len(b), c.size), nil
}

// TestTricklingBody: a body may take for ever, unless it holds what others wait
// for; and then, too, if it comes fast enough, or the server is what is slow.
func TestTricklingBody(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    int
		pause   time.Duration
		hurried bool
		busy    time.Duration // what the server does between two readings
		ends    bool
	}{
		{"a byte now and then", 1, 50 * time.Second, false, 0, false},
		{"a byte now and then, with a token", 1, 50 * time.Second, true, 0, true},
		{"fast enough", slowest, time.Second, true, 0, false},
		{"too slow", slowest / 2, time.Second, true, 0, true},
		{"a slow server", slowest, time.Second, true, time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := &trickle{size: c.size, pause: c.pause}
				p := newPatient(conn, conn)
				if c.hurried {
					p.hurry()
				}
				b := make([]byte, slowest)
				var err error
				for range 1000 {
					if _, err = p.Read(b); err != nil {
						break
					}
					time.Sleep(c.busy)
				}
				if ended := errors.Is(err, os.ErrDeadlineExceeded); ended != c.ends {
					t.Errorf("it ended with %v", err)
				}
			})
		})
	}
}

// TestLargeBodiesHurry: whoever gets a token is in a hurry from then on.
func TestLargeBodiesHurry(t *testing.T) {
	for _, c := range []struct {
		size int
		want bool
	}{{1 << 10, false}, {2 * largeRecord, true}} {
		a, hurried := New(Options{Store: &fake{}, Admin: &fake{}}), false
		r := httptest.NewRequest("POST", "/v1/tables/t/rows", nil)
		r.SetPathValue("table", "t")
		r.Header.Set("Content-Type", ndjson)
		if _, err := a.put(r, a.o.Store, Load{Body: strings.NewReader(`{"a":"` + strings.Repeat("x", c.size) + `"}`)}, func() { hurried = true }); err != nil || hurried != c.want {
			t.Errorf("a record of %d bytes: hurried %v, %v", c.size, hurried, err)
		}
	}
}

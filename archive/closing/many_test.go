package closing_test

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// TestManyArchives closes as many periods as HOLDFAST_MANY says, of tables with few
// rows, and tells for how long each tenth of them locked: what grows is due to
// the archives alone.
func TestManyArchives(t *testing.T) {
	many, err := strconv.ParseInt(os.Getenv("HOLDFAST_MANY"), 10, 64)
	if err != nil {
		t.Skip("NOT MEASURED: HOLDFAST_MANY says how many archives to make; it takes minutes")
	}
	each(t, func(b *anyBase) {
		began := time.Now()
		for n := range many {
			b.fill(epoch+20*n, epoch+20*n+19)
			r := b.must(epoch + 20*n + 17)
			if r.Archive != n+1 {
				b.Fatalf("got %+v", r)
			}
			if (n+1)%(max(many/12, 1)) == 0 || n == 0 {
				b.Logf("closing %d: locked for %v; the whole run since %v", n+1, r.Held.Round(time.Millisecond), time.Since(began).Round(time.Second))
			}
		}
		b.sound()
	})
}

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sizedStream has every size that a reload may change.
const sizedStream = `
data: DATA
tables: {auto: true}
roll: {shrink: SHRINK}
streams:
  main: {min_free: 0, wait: 60s, hot: "HOT", warm: "DATA-warm=WARM MB", index: {columns: [n], dir: "DATA-index=INDEX MB"}}
`

// TestReloadBudgets changes sizes under a running server: a larger one holds at
// once, one that is more than a tenth smaller is ignored, and said to be, until it
// is forced; a directory that comes or goes needs a restart.
func TestReloadBudgets(t *testing.T) {
	data := dataDir(t)
	set := func(hot string, warm, index int, shrink bool) string {
		text := strings.NewReplacer("HOT", hot, "WARM", fmt.Sprint(warm), "INDEX", fmt.Sprint(index), "SHRINK", fmt.Sprint(shrink)).Replace(sizedStream)
		return configure(t, data, text)
	}
	o := options{config: set("DATA-hot=32 MB", 64, 32, false)}
	s := start(t, data, o)
	hup := func(what string) {
		t.Helper()
		s.mu.Lock()
		from := len(s.log)
		s.mu.Unlock()
		s.signal(syscall.SIGHUP)
		eventually(t, time.Minute, "the log to say "+what, func() (bool, string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			all := strings.Join(s.log[from:], "\n")
			return strings.Contains(all, `"msg":"reloaded"`) && strings.Contains(all, what), all
		})
	}
	limits := func() string {
		t.Helper()
		var st struct {
			Streams []struct {
				Name    string
				Rolling *struct {
					Tiers []struct {
						LimitBytes int64 `json:"limit_bytes"`
					}
					IgnoredSizes []string `json:"ignored_sizes"`
				}
				Index *struct {
					LimitBytes int64 `json:"limit_bytes"`
				}
			}
		}
		if err := json.Unmarshal([]byte(holdfast(t, 0, "status", "--config", o.config, "--json").stdout), &st); err != nil {
			t.Fatal(err)
		}
		for _, one := range st.Streams {
			if one.Name == "main" {
				return fmt.Sprint(one.Rolling.Tiers[0].LimitBytes>>20, " ", one.Rolling.Tiers[1].LimitBytes>>20, " ", one.Index.LimitBytes>>20, " ", len(one.Rolling.IgnoredSizes))
			}
		}
		return "no stream"
	}
	want := func(when, sizes string) {
		t.Helper()
		if got := limits(); got != sizes {
			t.Fatalf("%s: hot, warm and index have %s MB, and so many are ignored; want %s", when, got, sizes)
		}
	}
	want("at the start", "32 64 32 0")
	set("DATA-hot=64 MB", 128, 48, false)
	hup("streams.main.hot")
	want("grown", "64 128 48 0")
	lines := strings.Repeat(`{"n": 1, "what": "`+strings.Repeat("x", 100<<10)+`"}`+"\n", 400)
	feed(t, 0, strings.NewReader(lines), "put", "--config", o.config, "--table", "calls", "--format", "ndjson")
	if n := len(packedIn(t, data+"-warm")); n != 0 || len(linksIn(t, o.config, "main", "n")) != 400 {
		t.Errorf("%d segments were moved while there was room", n)
	}
	set("DATA-hot=60 MB", 128, 48, false) // a tenth is taken as it is
	hup("streams.main.hot")
	want("a little smaller", "60 128 48 0")
	set("DATA-hot=32 MB", 64, 32, false)
	hup("more than a tenth smaller than before, and ignored")
	want("much smaller", "60 128 48 3")
	if out := holdfast(t, 0, "status", "--config", o.config).stdout; !strings.Contains(out, "32 MB of hot is ignored, 60 MB stays in use") {
		t.Errorf("status says nothing of it:\n%s", out)
	}
	s.kill() // which forgets nothing
	s = start(t, data, o)
	want("after a start", "60 128 48 3")
	set("DATA-hot=32 MB", 64, 32, true)
	hup("roll.shrink")
	want("forced", "32 64 32 0")
	eventually(t, time.Minute, "the hot tier to come down to its size", func() (bool, string) {
		n := len(packedIn(t, data+"-warm"))
		return n > 0, fmt.Sprint(n, " segments are warm")
	})
	set("DATA-hot=32 MB;DATA-more=32 MB", 64, 32, false)
	hup("these values need a restart")
	if _, err := os.Stat(data + "-more"); !os.IsNotExist(err) {
		t.Errorf("a directory was taken into use by a reload: %v", err)
	}
	want("a directory has come", "32 64 32 0")
	s.stop()
	s = start(t, data, o)
	want("after a start with it", "64 64 32 0")
	set("DATA-hot=32 MB", 64, 32, false)
	hup("these values need a restart")
	want("a directory has gone", "64 64 32 0")
	if n := len(linksIn(t, o.config, "main", "n")); n != 400 {
		t.Errorf("%d rows of 400 are left", n)
	}
	s.stop()
	set("DATA-hot=32 MB;DATA-more=32 MB", 40, 32, false)
	s = start(t, data, o)
	want("a smaller size at a start", "64 64 32 1")
	s.stop()
	o.args = append(o.args, "--force")
	s = start(t, data, o)
	want("a start with --force", "64 40 32 0")
	s.stop()
}

package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/test/mounts"
)

// TestColdHangs has one stream's cold directory hang in the kernel. Writers to that
// stream come to wait; another stream moves to its warm tier, and rolls by message,
// as if nothing were; and all goes on when the directory answers.
func TestColdHangs(t *testing.T) {
	if !long() {
		t.Skip("it takes more than a minute, and only with HOLDFAST_LONG=1; TestColdSilent of internal/roller shows the same on a store in memory")
	}
	if !mounts.Alone(t, "HOLDFAST_BIN="+program) {
		return
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "volume")
	mounts.Ext4(t, 200<<20, at)
	ice := ices(t, at, 8*time.Minute)
	o := options{config: configure(t, dir, `
data: DATA/data
tables: {auto: true}
streams:
  main: {hot: "DATA/hot=32 MB", cold: "DATA/volume/cold", min_free: 0, wait: 1s}
  other: {tables: [other], hot: "DATA/hot2=32 MB", warm: "DATA/warm=48 MB", min_free: 0, wait: 60s}
`)}
	s := start(t, filepath.Join(dir, "data"), o)
	t.Cleanup(func() { _ = ice(thaw) }) // before the server is ended
	p := &poster{t: t, s: s}
	if err := ice(freeze); err != nil {
		t.Fatal(err)
	}
	status, text := http.StatusOK, ""
	for i := 0; status/100 == 2 && i < 500; i++ {
		status, text = p.post("calls")
	}
	if status != http.StatusInsufficientStorage || !strings.Contains(text, "53100") {
		t.Fatalf("with a cold tier that hangs a writer is answered %d %s", status, text)
	}
	for range 170 { // 140 MB: through both tiers
		if status, text := p.post("other"); status/100 != 2 {
			t.Fatalf("a writer to another stream is answered %d %s", status, text)
		}
	}
	if warm := packedIn(t, filepath.Join(dir, "warm")); len(warm) == 0 {
		t.Error("nothing of the other stream is warm")
	}
	if out := holdfast(t, 0, "roll", "size", "--type", "other", "--max-size", "20MB", "--max-size-warm", "10MB", "--apply", "--config", o.config).stdout; !strings.Contains(out, "move other") {
		t.Errorf("a roll of the other stream says\n%s", out)
	}
	if status, _ := p.post("calls"); status != http.StatusInsufficientStorage || len(packedIn(t, filepath.Join(at, "cold"))) > 0 {
		t.Errorf("it does not hang: a writer is answered %d", status)
	}
	coldAlarms(t, s, o.config, true) // after two minutes of silence
	if err := ice(thaw); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "rows to be taken again", func() (bool, string) {
		status, text := p.post("calls")
		return status/100 == 2, text
	})
	coldAlarms(t, s, o.config, false)
	holdfast(t, 0, "verify", "--config", o.config)
	s.stop()
}

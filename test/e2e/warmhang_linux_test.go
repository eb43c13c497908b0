package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/test/mounts"
)

// TestWarmHangs has one stream's warm directory hang in the kernel. Its hot tier
// takes rows until it is full; another stream moves to its own warm tier, and rolls
// by message, as if nothing were; status names the directory; and all goes on when
// it answers.
func TestWarmHangs(t *testing.T) {
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
  main: {hot: "DATA/hot=32 MB", warm: "DATA/volume/warm", min_free: 0, wait: 1s}
  other: {tables: [other], hot: "DATA/hot2=32 MB", warm: "DATA/warm=48 MB", min_free: 0, wait: 60s}
`)}
	s := start(t, filepath.Join(dir, "data"), o)
	t.Cleanup(func() { _ = ice(thaw) }) // before the server is ended
	p := &poster{t: t, s: s}
	if err := ice(freeze); err != nil {
		t.Fatal(err)
	}
	taken, status, text := -1, http.StatusOK, ""
	for ; status/100 == 2 && taken < 500; taken++ {
		status, text = p.post("calls")
	}
	if status != http.StatusInsufficientStorage || !strings.Contains(text, "53100") || taken < 30 {
		t.Fatalf("with a warm tier that hangs a writer is answered %d %s after %d rows", status, text, taken)
	}
	for range 80 { // 64 MB: through both tiers
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
	if status, _ := p.post("calls"); status != http.StatusInsufficientStorage || len(packedIn(t, filepath.Join(at, "warm"))) > 0 {
		t.Errorf("it does not hang: a writer is answered %d", status)
	}
	alarm := fmt.Sprintf("ALARM: the directory %q of main does not answer since", filepath.Join(at, "warm"))
	told := func() string { return holdfast(t, 0, "status", "--config", o.config).stdout }
	eventually(t, 2*time.Minute, alarm, func() (bool, string) { return strings.Contains(told(), alarm), told() })
	if m := s.metrics(); !strings.Contains(m, `holdfast_stream_warm_silent{stream="main"} 1`) || !strings.Contains(m, `holdfast_stream_warm_silent{stream="other"} 0`) {
		t.Error("the metrics do not say which stream's warm directory does not answer")
	}
	if err := ice(thaw); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "rows to be taken again", func() (bool, string) {
		status, text := p.post("calls")
		return status/100 == 2, text
	})
	eventually(t, 2*time.Minute, "the alarm to be over", func() (bool, string) { return !strings.Contains(told(), alarm), told() })
	holdfast(t, 0, "verify", "--config", o.config)
	s.stop()
}

// TestColdMuteAtStart starts with a cold directory that answers nothing, not even
// whether it is there: the server is ready all the same, takes rows, names the
// directory, and stops.
func TestColdMuteAtStart(t *testing.T) {
	if !mounts.Alone(t, "HOLDFAST_BIN="+program) {
		return
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "volume")
	mute(t, at)
	o := options{config: configure(t, dir, `
data: DATA/data
tables: {auto: true}
streams:
  main: {hot: "DATA/hot=32 MB", cold: "DATA/volume/cold", min_free: 0, wait: 1s}
`)}
	s := start(t, filepath.Join(dir, "data"), o)
	p := &poster{t: t, s: s}
	if status, text := p.post("calls"); status/100 != 2 {
		t.Errorf("a writer is answered %d %s", status, text)
	}
	want := fmt.Sprintf("%q does not answer since it was to be opened", filepath.Join(at, "cold")+"/")
	told := func() string { return holdfast(t, 0, "status", "--config", o.config).stdout }
	eventually(t, 2*time.Minute, want, func() (bool, string) { return strings.Contains(told(), want), told() })
	s.stop()
}

// mute mounts a file system that never answers: nobody reads what its kernel side
// asks.
func mute(t *testing.T, at string) {
	t.Helper()
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		mounts.Skip(t, err.Error())
	}
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("mute", at, "fuse.mute", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse.Fd())); err != nil {
		mounts.Skip(t, "no FUSE to be had: "+err.Error())
	}
	t.Cleanup(func() { // who waits there gets an error, and goes on
		if err := fuse.Close(); err != nil {
			t.Error(err)
		}
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

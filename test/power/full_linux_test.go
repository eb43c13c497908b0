package power

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/test/mounts"
)

// wait is how long writers wait for room in these tests.
const wait = 300 * time.Millisecond

// filling is a journal on a volume that runs out of something.
type filling struct {
	t *testing.T
	o *oracle
	d disk.FS
	j *journal.Journal
	n int
}

func newFilling(t *testing.T, dir string, buffered bool) *filling {
	t.Helper()
	return &filling{t: t, o: newOracle(), d: openDisk(t, dir, buffered)}
}

func (f *filling) start(limits journal.Limits) {
	f.t.Helper()
	j, err := journal.Open(f.d, journal.Options{Name: "main", SegmentSize: 256 << 10, Limits: limits})
	if err != nil {
		f.t.Fatalf("start: %v", err)
	}
	f.j = j
	if _, err := j.Register("sink"); err != nil {
		f.t.Fatalf("register: %v", err)
	}
	if err := f.o.judge(j); err != nil {
		f.t.Fatal(err)
	}
}

func (f *filling) stop() {
	f.t.Helper()
	if err := f.j.Close(); err != nil {
		f.t.Fatalf("close: %v", err)
	}
}

// append commits one row.
func (f *filling) append() error {
	f.n++
	return f.o.append(f.j, attempt{name: fmt.Sprintf("row %d", f.n), n: 1, size: 20_000}, true)
}

// untilRefused writes until a row is refused, and returns the refusal and how
// long that row had waited.
func (f *filling) untilRefused() (time.Duration, error) {
	f.t.Helper()
	for range 10_000 {
		begun := time.Now()
		if err := f.append(); err != nil {
			return time.Since(begun), err
		}
	}
	f.t.Fatal("10000 rows were taken")
	return 0, nil
}

// wantFull writes until a row is refused for want of room, after the wait.
func (f *filling) wantFull() {
	f.t.Helper()
	took, err := f.untilRefused()
	if fault.Code(err) != fault.DiskFull {
		f.t.Fatalf("refused with %q: %v", fault.Code(err), err)
	}
	if took < wait || took > wait+10*time.Second {
		f.t.Errorf("refused after %v, should wait for %v", took, wait)
	}
	if s := f.j.Status(); s.State != "full" {
		f.t.Errorf("status says %q, %s", s.State, s.Error)
	}
}

// wantHealed waits until rows are taken again.
func (f *filling) wantHealed() {
	f.t.Helper()
	if err := f.append(); err != nil { // it waits for room itself
		f.t.Fatalf("there is room again: %v", err)
	}
	if s := f.j.Status(); s.State != "ok" {
		f.t.Errorf("status says %q, %s", s.State, s.Error)
	}
}

// TestNoRoom fills the volume below a running journal, and gives room back.
func TestNoRoom(t *testing.T) {
	for _, buffered := range []bool{false, true} {
		dir := tmpfs(t, "size=8m")
		f := newFilling(t, dir, buffered)
		f.start(journal.Limits{Wait: wait})
		for range 3 {
			f.wantHealed()
			give := fill(t, dir)
			f.wantFull()
			give()
			f.wantHealed()
		}
		f.stop()
		f.start(journal.Limits{})
		f.stop()
		ok(t, f.d.Close())
	}
}

// TestNoInodes takes all inodes of the volume below a running journal.
func TestNoInodes(t *testing.T) {
	dir := tmpfs(t, "size=64m,nr_inodes=64")
	f := newFilling(t, dir, false)
	f.start(journal.Limits{Wait: wait})
	f.wantHealed()
	var files []string
	for {
		name := filepath.Join(dir, fmt.Sprint("other.", len(files)))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			break
		}
		files = append(files, name)
	}
	f.wantFull()
	for _, name := range files {
		ok(t, os.Remove(name))
	}
	f.wantHealed()
	f.stop()
	f.start(journal.Limits{})
	f.stop()
	ok(t, f.d.Close())
}

// TestReadOnly lets ext4 go read-only below a running journal, as it does
// after an error: rows are refused, or of unknown outcome, for good; reading
// goes on; and a later start has every row that was acked.
func TestReadOnly(t *testing.T) {
	t.Run("direct", func(t *testing.T) { readOnly(t, false) })
	t.Run("buffered", func(t *testing.T) { readOnly(t, true) })
}

func readOnly(t *testing.T, buffered bool) {
	v := newVolume(t, "ext4", mounts.WorkDir(t))
	v.mount("")
	f := newFilling(t, v.at, buffered)
	f.start(journal.Limits{Wait: wait})
	for range 20 {
		ok(t, f.append())
	}
	ok(t, unix.Mount("", v.at, "", unix.MS_REMOUNT, "abort"))
	refused := 0
	for i := 0; refused < 5; i++ {
		switch err := f.append(); fault.Code(err) {
		case fault.OutcomeUnknown, fault.IOError:
			refused++
		default:
			if refused > 0 || i > 100 {
				t.Fatalf("row %d on a read-only volume: %v", i, err)
			}
		}
	}
	if s := f.j.Status(); s.State != "failing" {
		t.Errorf("status says %q, %s", s.State, s.Error)
	}
	if err := f.o.judge(f.j); err != nil {
		t.Errorf("reading goes on: %v", err)
	}
	_ = f.j.Close() // it cannot note where it ends
	ok(t, f.d.Close())
	v.unmount()
	v.mount("")
	f.d = v.open(buffered)
	f.start(journal.Limits{})
	f.wantHealed()
	f.stop()
	ok(t, f.d.Close())
}

// TestZeroBytes starts, uses and stops a journal on a volume without a byte of
// room: only writers are refused, and what is removed makes room for them.
func TestZeroBytes(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			v := newVolume(t, kind, mounts.WorkDir(t))
			v.mount("")
			f := newFilling(t, v.at, false)
			f.start(journal.Limits{Wait: wait})
			for range 40 {
				ok(t, f.append())
			}
			give := fill(t, v.at)
			f.wantFull()
			f.stop()
			fill(t, v.at) // what the stop gave back
			f.start(journal.Limits{Wait: wait})
			f.wantFull()
			f.stop()
			f.start(journal.Limits{Wait: wait, History: 1})
			end := f.j.End().Seq
			f.o.mark(end)
			f.j.Mark("sink", end)
			f.wantHealed()
			f.stop()
			give()
			f.start(journal.Limits{})
			f.wantHealed()
			f.stop()
			ok(t, f.d.Close())
			v.unmount()
			v.fsck()
		})
	}
}

// TestServeWithoutInodes starts the binary where no file can be made: it takes
// rows as far as there is room, and is looked after as soon as the admin socket
// can be made.
func TestServeWithoutInodes(t *testing.T) {
	bin, dir := program(t), tmpfs(t, "size=64m,nr_inodes=80")
	data := filepath.Join(dir, "data")
	elsewhere := t.TempDir()
	config := filepath.Join(elsewhere, "holdfast.yaml")
	ok(t, os.WriteFile(config, []byte(strings.NewReplacer("DATA/holdfast.db", filepath.Join(elsewhere, "sink.db"), "DATA", data).Replace(onFullVolume)), 0o600))
	s := serve(t, bin, config)
	if code, why := s.post(1); code != http.StatusOK {
		t.Fatalf("a row: %d %s", code, why)
	}
	s.stop()
	var files []string
	for {
		name := filepath.Join(dir, fmt.Sprint("other.", len(files)))
		if os.WriteFile(name, nil, 0o600) != nil {
			break
		}
		files = append(files, name)
	}
	s = serve(t, bin, config) // it is ready
	status := func() ([]byte, error) {
		return exec.Command(bin, "status", "--config", config).CombinedOutput()
	}
	if out, err := status(); err == nil {
		t.Fatalf("there is an admin socket without an inode for it: %s", out)
	}
	for _, name := range files {
		ok(t, os.Remove(name))
	}
	for n := 0; ; n++ {
		out, err := status()
		if err == nil {
			break
		}
		if n > 300 {
			t.Fatalf("there is room again, and no admin socket: %s", out)
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.stop()
}

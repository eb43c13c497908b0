package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/test/mounts"
)

// pair is a spool of two partitions on loop devices.
type pair struct {
	t     *testing.T
	dir   string // of everything
	loops [2]*os.File
	mkfs  []string
}

// newPair makes both file systems by the line that doctor plan prints, and mounts
// them with the options that it prints.
func newPair(t *testing.T, files int) *pair {
	t.Helper()
	p := &pair{t: t, dir: t.TempDir()}
	plan := struct {
		Size int64
		Mkfs string
	}{}
	out := holdfast(t, 0, "doctor", "plan", "--json", "--rows-per-second", fmt.Sprint(files), "--row-size", "200", "--outage", "1s", "--device", filepath.Join(p.dir, "0.img"))
	if err := json.Unmarshal([]byte(out.stdout), &plan); err != nil {
		t.Fatalf("%v: %s", err, out.stdout)
	}
	p.mkfs = strings.Fields(plan.Mkfs)
	mounts.Need(t, p.mkfs[0])
	for i := range p.loops {
		image := filepath.Join(p.dir, fmt.Sprintf("%d.img", i))
		f, err := os.Create(image)
		if err == nil {
			err = f.Truncate(plan.Size)
		}
		if err != nil {
			t.Fatal(err)
		}
		p.loops[i] = mounts.Attach(t, f)
		loop := p.loops[i]
		t.Cleanup(func() { loop.Close() })
		if err := errors.Join(f.Close(), os.Mkdir(p.at(i), 0o700)); err != nil {
			t.Fatal(err)
		}
		p.format(i)
		p.mount(i)
	}
	return p
}

// at is where a partition is mounted.
func (p *pair) at(i int) string { return filepath.Join(p.dir, "ab"[i:i+1]) }

func (p *pair) link() string { return filepath.Join(p.dir, "intake") }

// format makes a file system on a device, by the printed line.
func (p *pair) format(i int) {
	p.t.Helper()
	line := append(append([]string{}, p.mkfs[:len(p.mkfs)-1]...), p.loops[i].Name())
	mounts.Run(p.t, append([]string{line[0], "-q", "-F"}, line[1:]...)...)
}

func (p *pair) mount(i int) {
	p.t.Helper()
	if err := unix.Mount(p.loops[i].Name(), p.at(i), "ext4", unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { unix.Unmount(p.at(i), unix.MNT_DETACH) })
}

func (p *pair) options(data string) options {
	return options{config: configure(p.t, data, fmt.Sprintf(`
data: DATA
tables: {auto: true}
sources:
  drop: {type: spool, url: "spool:%s==", spare: "spool:%s==", intake: %q}
`, p.at(0), p.at(1), p.link()))}
}

// verdict is what spool status --json tells of a partition.
type verdict struct {
	Dir                      string
	Intake, Drained          bool
	Waiting, Unfinished, Bad int
	Why                      []string
	Holders                  []struct{ PID int }
}

func (s *server) spoolStatus() (all [2]verdict) {
	s.t.Helper()
	return spoolStatus(s.t, "--data", s.data)
}

func spoolStatus(t *testing.T, args ...string) (all [2]verdict) {
	t.Helper()
	r := holdfast(t, 0, append([]string{"spool", "status", "drop", "--json"}, args...)...)
	var st struct{ Partitions []verdict }
	if err := json.Unmarshal([]byte(r.stdout), &st); err != nil || len(st.Partitions) != 2 {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	return [2]verdict(st.Partitions)
}

// TestSpoolSwitch is the runbook of docs/spool.md: a partition is drained, checked, made
// anew and taken into use again, and so is the other one, while writers write and the
// server is killed. Whatever should keep it from being reformatted does.
func TestSpoolSwitch(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	if !mounts.Alone(t, "HOLDFAST_BIN="+program) {
		return
	}
	rng := seeded(t)
	p := newPair(t, 20_000)
	data := dataDir(t)
	o := p.options(data)
	if err := os.Mkdir(filepath.Join(p.at(0), "acc"), 0o750); err != nil {
		t.Fatal(err)
	}
	s := start(t, data, o)
	if st := s.spoolStatus(); !st[0].Intake || st[1].Intake || st[0].Drained || !st[1].Drained {
		t.Fatalf("at first: %+v", st)
	}
	w := p.write(rng)
	rounds := 2
	if long() {
		rounds = 20
	}
	for now := range rounds {
		now %= 2
		other := 1 - now
		obstacles(t, s, p, now)
		holdfast(t, 0, "spool", "switch", "drop", "--data", data)
		if rng.IntN(2) == 0 {
			s.kill()
			if st := spoolStatus(t, "--config", o.config); st[now].Intake || !st[other].Intake {
				t.Fatalf("after the switch and without a server: %+v", st)
			}
			s = start(t, data, o)
		}
		blockers(t, s, p, now)
		eventually(t, 2*time.Minute, "the partition to be drained", func() (bool, string) {
			st := s.spoolStatus()
			return st[now].Drained && !st[other].Drained, fmt.Sprintf("%+v", st)
		})
		if left := leftIn(t, p.at(now)); len(left) > 0 {
			t.Fatalf("drained, and there are %v", left)
		}
		if err := mounts.Unmount(p.at(now)); err != nil {
			t.Fatal(err)
		}
		if now == 1 {
			s.kill() // a partition that is away keeps nothing from starting
			s = start(t, data, o)
		}
		mounts.Run(t, "e2fsck", "-f", "-n", p.loops[now].Name())
		if r := command(t, t.TempDir(), nil, program, "spool", "switch", "drop", "--data", data); r.code != 1 || !strings.Contains(r.stderr, "nothing is mounted") {
			t.Errorf("switched to what is not mounted: %+v", r)
		}
		p.format(now)
		p.mount(now)
	}
	n := w.stop()
	eventually(t, 2*time.Minute, "both partitions to be empty", func() (bool, string) { // the status is that of the last look
		left := append(leftIn(t, p.at(0)), leftIn(t, p.at(1))...)
		return len(left) == 0, fmt.Sprint(len(left), " files are left")
	})
	s.drained(2 * time.Minute)
	s.delivered(2 * time.Minute)
	s.stop()
	once(t, data, n)
}

// obstacles holds that no switch is made to what cannot be written to.
func obstacles(t *testing.T, s *server, p *pair, now int) {
	t.Helper()
	other := p.at(1 - now)
	if err := os.WriteFile(filepath.Join(other, "acc"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	holdfast(t, 1, "spool", "switch", "drop", "--data", s.data)
	if to, err := os.Readlink(p.link()); err != nil || to != p.at(now) {
		t.Fatalf("a switch that failed leads to %q, %v", to, err)
	}
	if err := os.Remove(filepath.Join(other, "acc")); err != nil {
		t.Fatal(err)
	}
}

// blockers holds that nothing is called drained while something of it is left.
func blockers(t *testing.T, s *server, p *pair, now int) {
	t.Helper()
	at := p.at(now)
	never := func(what string, seen func(verdict) bool) {
		t.Helper()
		eventually(t, time.Minute, what, func() (bool, string) {
			v := s.spoolStatus()[now]
			if v.Drained {
				t.Fatalf("drained, with %s", what)
			}
			return seen(v), fmt.Sprintf("%+v", v)
		})
	}
	tmp := filepath.Join(at, "acc", "late.tmp")
	f, err := os.Create(tmp)
	if err != nil {
		t.Fatal(err)
	}
	never("a file that a writer has open", func(v verdict) bool {
		return v.Unfinished == 1 && len(v.Holders) == 1 && v.Holders[0].PID == os.Getpid()
	})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	never("a file that nobody has completed", func(v verdict) bool { return v.Unfinished == 1 && len(v.Holders) == 0 })
	if err := os.Remove(tmp); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(at, "acc", "nothing")
	if err := errors.Join(os.WriteFile(bad+".tmp", []byte("no row"), 0o600), os.Rename(bad+".tmp", bad)); err != nil {
		t.Fatal(err)
	}
	never("a file that is bad", func(v verdict) bool { return v.Bad == 2 && v.Waiting == 0 })
	if err := os.RemoveAll(filepath.Join(at, "bad")); err != nil {
		t.Fatal(err)
	}
	inside := exec.Command("sleep", "600")
	inside.Dir = filepath.Join(at, "acc")
	if err := inside.Start(); err != nil {
		t.Fatal(err)
	}
	never("a process that is in there", func(v verdict) bool { return len(v.Holders) == 1 && v.Holders[0].PID == inside.Process.Pid })
	inside.Process.Kill()
	inside.Wait()
}

// writing is writers that write through the link until they are stopped.
type writing struct {
	over  chan struct{}
	all   sync.WaitGroup
	files [3]int
}

// write writes as docs/spool.md says: from within the directory, so that a file that
// was begun is completed where it was begun.
func (p *pair) write(rng *rand.Rand) *writing {
	w := &writing{over: make(chan struct{})}
	for i := range w.files {
		own := rand.New(rand.NewPCG(rng.Uint64(), 2))
		w.all.Go(func() {
			for {
				select {
				case <-w.over:
					return
				default:
				}
				if err := p.drop(fmt.Sprintf("%d-%d", i, w.files[i])); err != nil {
					p.t.Error(err)
					return
				}
				w.files[i]++
				time.Sleep(time.Duration(own.IntN(4)) * time.Millisecond)
			}
		})
	}
	return w
}

// drop writes one file of two rows through the link.
func (p *pair) drop(id string) error {
	dir, err := os.Open(filepath.Join(p.link(), "acc"))
	if err != nil {
		return err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), id+".tmp", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, fmt.Appendf(nil, "{\"id\":\"%s-a\"}\n{\"id\":\"%s-b\"}\n", id, id))
	return errors.Join(err, unix.Close(fd), unix.Renameat(int(dir.Fd()), id+".tmp", int(dir.Fd()), id))
}

// stop returns what has been written.
func (w *writing) stop() map[string]bool {
	close(w.over)
	w.all.Wait()
	want := map[string]bool{}
	for i, n := range w.files {
		for k := range n {
			want[fmt.Sprintf("%d-%d-a", i, k)], want[fmt.Sprintf("%d-%d-b", i, k)] = true, true
		}
	}
	return want
}

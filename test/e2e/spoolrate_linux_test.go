package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/test/mounts"
)

// waiting is how many files wait in a spool of which much is expected.
func waiting(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("HOLDFAST_SPOOL_FILES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1000 {
			t.Fatalf("read HOLDFAST_SPOOL_FILES %q: %v", text, err)
		}
		return n
	}
	if long() {
		return 2_000_000
	}
	return 10_000
}

// perDir is how many files a writer puts into a directory by date.
const perDir = 10_000

// fill puts n files of 200 bytes into a spool, whose ids begin with word, and makes
// them cold: they are on the disk, and nowhere else.
func (p *pair) fill(i, n int, word string) {
	p.t.Helper()
	for k := range n {
		dir := filepath.Join(p.at(i), "acc", fmt.Sprintf("%04d", k/perDir))
		if k%perDir == 0 {
			if err := os.MkdirAll(dir, 0o750); err != nil {
				p.t.Fatal(err)
			}
		}
		text := fmt.Sprintf("{\"id\":\"%s%08d\",\"pad\":\"", word, k)
		text += strings.Repeat("x", 200-len(text)-3) + "\"}\n"
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("1795271497.%09d.%d", k, os.Getpid())), []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := mounts.Unmount(p.at(i)); err != nil {
		p.t.Fatal(err)
	}
	if err := unix.IoctlSetInt(int(p.loops[i].Fd()), unix.BLKFLSBUF, 0); err != nil {
		p.t.Fatal(err)
	}
	p.mount(i)
}

// fresh makes a partition anew and mounts it.
func (p *pair) fresh(i int) {
	p.t.Helper()
	if err := mounts.Unmount(p.at(i)); err != nil {
		p.t.Fatal(err)
	}
	p.format(i)
	p.mount(i)
}

// bare reads and removes all files below dir in the order of their names, as a program
// does that does nothing else, and returns how many there were.
func bare(dir string) (n int, err error) {
	top, err := os.ReadDir(dir) // sorted
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 4096)
	for _, sub := range top {
		f, err := os.Open(filepath.Join(dir, sub.Name()))
		if err != nil {
			return n, err
		}
		names, err := f.Readdirnames(-1)
		if err != nil {
			return n, errors.Join(err, f.Close())
		}
		slices.Sort(names)
		for _, name := range names {
			if err := readAndRemove(f, name, buf); err != nil {
				return n, errors.Join(err, f.Close())
			}
			n++
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return n, err
		}
	}
	return n, nil
}

func readAndRemove(dir *os.File, name string, buf []byte) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		if n == 0 {
			break
		}
	}
	return errors.Join(unix.Close(fd), unix.Unlinkat(int(dir.Fd()), name, 0))
}

// TestSpoolPlanned takes many files in that wait on a partition made by the line of doctor plan: in a
// bounded memory, at half the rate at least of a program that reads and removes them, and
// each row once through kill -9 and a switch in the middle.
func TestSpoolPlanned(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	if !mounts.Alone(t, "HOLDFAST_BIN="+program) {
		return
	}
	rng := seeded(t)
	n := waiting(t)
	p := newPair(t, n)
	data := dataDir(t)
	o := p.options(data)
	var ratios []float64
	for round := range rateRounds { // in turns, since others use the machine too
		own, theirs := p.rates(n, fmt.Sprintf("r%d-", round), o)
		t.Logf("%d files: %.0f a second taken in, %.0f read and removed by a bare program: %.2f", n, own, theirs, own/theirs)
		ratios = append(ratios, own/theirs)
	}
	slices.Sort(ratios)
	if median := ratios[rateRounds/2]; median < 0.5 && !crowded() {
		t.Errorf("files are taken in at %.2f of the rate of a bare program", median)
	}

	p.fresh(0)
	p.fresh(1)
	p.fill(0, n, "k")
	s := start(t, data, o)
	kills := 4
	if long() {
		kills = 40
	}
	late := map[string]bool{}
	for k := range kills {
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
		if k == kills/2 {
			holdfast(t, 0, "spool", "switch", "drop", "--data", data)
			for i := range 200 {
				id := fmt.Sprintf("late%d", i)
				if err := p.drop(id); err != nil {
					t.Fatal(err)
				}
				late[id+"-a"], late[id+"-b"] = true, true
			}
		}
		s.kill()
		s = start(t, data, o)
	}
	eventually(t, 30*time.Minute, "the partition to be drained", func() (bool, string) {
		v := spoolStatus(t, "--data", data)
		return v[0].Drained, fmt.Sprintf("%+v", v)
	})
	s.drained(time.Minute)
	_, peak := s.resident()
	s.delivered(30 * time.Minute)
	s.stop()
	t.Logf("at most %d KiB in memory while it was drained", peak>>10)
	if peak > 64<<20 {
		t.Errorf("%d bytes of memory were in use", peak)
	}
	for _, word := range []string{"r0-", "r1-", "r2-", "k"} {
		for k := range n {
			late[fmt.Sprintf("%s%08d", word, k)] = true
		}
	}
	once(t, data, late)
}

// rateRounds is how often the rates are measured.
const rateRounds = 3

// crowded tells whether others keep this machine so busy that rates mean nothing.
func crowded() bool { return os.Getenv("CI") == "true" }

// rates measures both on the same partition, made anew for each.
func (p *pair) rates(n int, word string, o options) (own, theirs float64) {
	t := p.t
	p.fresh(0)
	p.fill(0, n, "x")
	began := time.Now()
	if got, err := bare(filepath.Join(p.at(0), "acc")); got != n || err != nil {
		t.Fatalf("a bare program read %d files, %v", got, err)
	}
	theirs = float64(n) / time.Since(began).Seconds()
	p.fresh(0)
	p.fill(0, n, word)
	began = time.Now()
	s := start(t, filepath.Join(filepath.Dir(o.config), "data"), o)
	s.drained(30 * time.Minute)
	own = float64(n) / time.Since(began).Seconds()
	_, peak := s.resident()
	t.Logf("at most %d KiB in memory", peak>>10)
	if peak > 64<<20 {
		t.Errorf("%d bytes of memory were in use", peak)
	}
	s.delivered(30 * time.Minute)
	s.stop()
	return own, theirs
}

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// flushes is how often a contender asked the kernel to flush.
type flushes struct {
	fsync, fdatasync, dsync int
}

func (f flushes) total() int { return f.fsync + f.fdatasync + f.dsync }

// traced is what one writer does while it is being watched: so many times
// that work.
var traced = []struct {
	work  work
	times int
}{{works[0], 200}, {works[4], 20}}

// watch runs this program again under strace for each contender, one writer
// appending, and counts the flushes while it does. A durable one that flushes
// less than once each time does not do what it says. No ratio to a contender
// that cheats is worth anything, so that is an error.
func watch(w io.Writer, dir string, all []contender) error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("count the flushes: %w; install strace", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var errs []error
	for i, what := range traced {
		fmt.Fprintf(w, "%s, %d times:\n\n", what.work.name, what.times)
		fmt.Fprintf(w, "| contender | how | fsync | fdatasync | flushing writes | flushes each time |\n|---|---|--:|--:|--:|--:|\n")
		for _, c := range all {
			if c.skip != nil && c.skip(what.work) {
				continue
			}
			f, err := watchOne(self, dir, c, i)
			if err == nil && c.durable && f.total() < what.times {
				err = fmt.Errorf("flushed %d times for %d appends: it is not durable", f.total(), what.times)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", what.work.name, c.id(), err))
			}
			fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %.2f |\n", c.name, c.mode, f.fsync, f.fdatasync, f.dsync, float64(f.total())/float64(what.times))
		}
		fmt.Fprintln(w)
	}
	return errors.Join(errs...)
}

func watchOne(self, dir string, c contender, what int) (f flushes, err error) {
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command("strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,pwritev2,pwrite64,unlinkat,unlink", "-o", trace,
		self, "-dir", dir, "-one", c.id(), "-work", strconv.Itoa(what))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return f, fmt.Errorf("under strace: %w: %s", err, said.Bytes())
	}
	defer os.Remove(trace)
	t, err := os.Open(trace)
	if err != nil {
		return f, err
	}
	defer t.Close()
	return countFlushes(t)
}

// The traced program removes files of these names, which do not exist, around
// what is to be counted.
const (
	countFrom = "holdfast-peers-count-from-here"
	countTo   = "holdfast-peers-count-to-here"
)

// The bare file, named ring, is the only one that is open with O_DSYNC.
var (
	ringWrite = regexp.MustCompile(`pwrite64\(\d+</[^>]*/ring>`)
	dsyncFlag = regexp.MustCompile(`RWF_DSYNC`)
)

// countFlushes counts between the marks. A call that another thread interrupts
// stands in two lines, of which the first one counts.
func countFlushes(trace io.Reader) (f flushes, err error) {
	counting := false
	lines := bufio.NewScanner(trace)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l := lines.Text()
		switch {
		case strings.Contains(l, countFrom):
			counting = true
		case strings.Contains(l, countTo):
			return f, lines.Err()
		case !counting || strings.Contains(l, "resumed>"):
		case strings.Contains(l, "fdatasync("):
			f.fdatasync++
		case strings.Contains(l, "fsync("):
			f.fsync++
		case ringWrite.MatchString(l), dsyncFlag.MatchString(l):
			f.dsync++
		}
	}
	return f, errors.Join(errors.New("the trace has no end mark"), lines.Err())
}

// appendTraced is what the traced program does.
func appendTraced(dir string, c contender, what int) error {
	if what < 0 || what >= len(traced) {
		return fmt.Errorf("-work: %d is none of the %d that are traced", what, len(traced))
	}
	w, times := traced[what].work, traced[what].times
	s, err := c.open(dir, w)
	if err != nil {
		return err
	}
	write, records := s.writer(), sameRecords(w.batch)
	mark(countFrom)
	for range times {
		if err := write(records); err != nil {
			return err
		}
	}
	mark(countTo)
	return check(s, times*w.batch)
}

func mark(name string) { _ = os.Remove(name) }

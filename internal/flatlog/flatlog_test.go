package flatlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/holders"
	"holdfast/row"
)

// TestNames holds what names of files say.
func TestNames(t *testing.T) {
	n := newNames(".log")
	for name, want := range map[string]string{
		"acc_129.log": "acc 129 live", "missed_calls_1.log": "missed_calls 1 live", "missed_calls_2_130.log": "missed_calls_2 130 live",
		"acc_129.log.1": "acc 129", "acc_129.log-20261121": "acc 129", "acc_129-20261121.log": "acc 129", "acc_129.log.20261121T105500Z-1": "acc 129",
		"acc_129.log.old": "acc 129", "acc_129.log.1.gz": "", "acc_129.log.tmp": "", "acc_129.log~": "", "acc.log": "", "_129.log": "", "acc_x.log": "",
		"acc_129.txt": "", "acc_129": "", "acc_129.logs": "",
	} {
		table, writer, live, ok := n.of(name)
		got := ""
		if ok {
			got = table + " " + writer
		}
		if live {
			got += " live"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if _, _, live, ok := newNames(".a+").of("x_1.a+"); !ok || !live {
		t.Error("a suffix is taken for a pattern")
	}
}

// TestFollow appends, tears, rotates and restarts: each complete line is stored
// once, in the order of its file.
func TestFollow(t *testing.T) {
	b := newBench(t, Options{})
	b.round()
	b.add("acc_129.log", "1|x|y\n2|x|y\n3|to")
	b.add("missed_calls_130.log", "m|n\n")
	b.add("other.txt", "no\n")
	b.round()
	b.round()
	slices.Sort(b.store.rows)
	b.want("acc|1|x|y", "acc|2|x|y", "missed_calls|m|n")
	b.store.rows = nil
	if s := b.f.Status(); s.Pending != 4 || s.Oldest.IsZero() || s.Files != 2 || s.Rows != 3 {
		t.Errorf("status: %+v", s)
	}
	b.restart()
	b.rename("acc_129.log", "acc_129.log.1")
	b.add("acc_129.log.1", "rn|\n4||\n") // its writer has not noticed yet
	b.add("acc_129.log", "5|x|y\n")
	b.round()
	slices.Sort(b.store.rows)
	b.want("acc|3|torn|", "acc|4||", "acc|5|x|y")
	b.store.rows = nil
	b.rename("acc_129.log.1", "acc_129.log.2")
	b.rename("acc_129.log", "acc_129.log.1")
	b.add("acc_129.log.2", "6||\n")
	b.restart()
	b.add("acc_129.log.1", "7||\n")
	b.round()
	slices.Sort(b.store.rows)
	b.want("acc|6||", "acc|7||")
	b.wantBad()
}

// TestRotatedWhileAway has files made and rotated while nobody follows, of
// which only the name tells.
func TestRotatedWhileAway(t *testing.T) {
	b := newBench(t, Options{})
	b.add("acc_1.log.1", "old|from|before\n")
	b.add("acc_1.log", "1||\n")
	b.round()
	b.want("acc|1||")
	b.restart()
	b.rename("acc_1.log", "acc_1.log.3")
	b.add("acc_1.log.2", "2||\n")
	b.add("acc_1.log", "3||\n")
	b.add("acc_1.log.3", "1b||\n")
	b.add("acc_1.log.1", "late||\n")
	b.round()
	slices.Sort(b.store.rows)
	b.want("acc|1b||", "acc|1||", "acc|2||", "acc|3||", "acc|late||")
}

// TestNow begins with what is appended after the first start.
func TestNow(t *testing.T) {
	b := newBench(t, Options{Now: true})
	b.add("acc_1.log", "1||\n2||\nhal")
	b.round()
	b.restart()
	b.add("acc_1.log", "f||\n3||\n")
	b.add("acc_2.log", "4||\n")
	b.round()
	slices.Sort(b.store.rows)
	b.want("acc|3||", "acc|4||", "acc|half||")
}

// TestCopies holds that a copy of a file is not read, and that one that was
// emptied is read from its beginning, and said.
func TestCopies(t *testing.T) {
	b := newBench(t, Options{})
	b.add("acc_1.log", "1||\n2||\n")
	b.round()
	b.add("acc_1.log.1", "1||\n2||\n") // logrotate's copytruncate
	b.round()
	if !strings.Contains(b.told(), "it is a copy of acc_1.log") {
		t.Errorf("told is %q", b.told())
	}
	b.add("acc_1.log.1", "2b||\n") // appended before the copy was made, and not read in time
	b.round()
	if err := os.Truncate(b.path("acc_1.log"), 0); err != nil {
		t.Fatal(err)
	}
	b.round()
	b.add("acc_1.log", "3||\n")
	b.round()
	b.want("acc|1||", "acc|2||", "acc|2b||", "acc|3||")
	// Emptied and longer than before between two looks.
	if err := os.Truncate(b.path("acc_1.log"), 0); err != nil {
		t.Fatal(err)
	}
	b.add("acc_1.log", "4||\n5||\n6||\n")
	b.restart()
	b.round()
	b.want("acc|1||", "acc|2||", "acc|2b||", "acc|3||", "acc|4||", "acc|5||", "acc|6||")
	// Cut within what is stored: nobody knows what of the rest is.
	b.add("acc_1.log", strings.Repeat("7|"+strings.Repeat("x", 100)+"|\n", 5))
	b.round()
	if err := os.Truncate(b.path("acc_1.log"), 12+3*104); err != nil {
		t.Fatal(err)
	}
	b.add("acc_1.log", "8||\n")
	b.store.rows = nil
	b.round()
	b.want()
	b.wantBad()
	if b.f.note(nil); b.f.Status().State != Held || !strings.Contains(b.told(), "it shrank to 328 bytes") {
		t.Errorf("status %+v", b.f.Status())
	}
}

// TestEdited holds that a file whose stored part was changed is left alone.
func TestEdited(t *testing.T) {
	b := newBench(t, Options{})
	b.add("acc_1.log", strings.Repeat("1|"+strings.Repeat("x", 100)+"|\n", 5))
	b.round()
	f, err := os.OpenFile(b.path("acc_1.log"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("y"), 500); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.add("acc_1.log", "2||\n")
	b.store.rows = nil
	b.round()
	b.f.note(nil)
	b.want()
	if s := b.f.Status(); s.State != Held || !strings.Contains(b.told(), "is not what was stored") {
		t.Errorf("status %+v", s)
	}
}

// TestStrangeFiles holds that links, pipes and directories are not followed.
func TestStrangeFiles(t *testing.T) {
	b := newBench(t, Options{})
	if err := errors.Join(os.Symlink("/dev/full", b.path("acc_1.log")), os.Symlink("/etc/passwd", b.path("acc_2.log")), os.Mkdir(b.path("acc_3.log"), 0o755)); err != nil {
		t.Fatal(err)
	}
	b.add("acc_4.log", "1||\n")
	b.round()
	b.want("acc|1||")
	b.wantBad()
	for _, name := range []string{"acc_1.log", "acc_2.log", "acc_3.log"} {
		if !strings.Contains(b.told(), name+" is no regular file") {
			t.Errorf("nothing is told of %s: %q", name, b.told())
		}
	}
}

// TestRefused holds what becomes of rows that the store refuses: for what they
// are, for their table, and for now.
func TestRefused(t *testing.T) {
	b := newBench(t, Options{})
	full := true
	b.store.refuse = func(table string, values []row.Value) error {
		switch string(values[0].Text) {
		case "long":
			return fault.New(fault.StringTooLong, "value too long")
		case "gone":
			return fault.New(fault.UndefinedTable, "table %q is not there", table)
		}
		return nil
	}
	b.store.before = func() error {
		if full {
			return fault.New(fault.DiskFull, "no room")
		}
		return nil
	}
	b.add("acc_1.log", "1||\nlong||\n2||\n")
	for range 3 {
		if err := b.f.round(t.Context()); fault.Code(err) != fault.DiskFull {
			t.Fatalf("round: %v", err)
		}
	}
	full = false
	b.round()
	b.add("acc_1.log", "3||\ngone||\n4||\n")
	b.round()
	b.round()
	b.want("acc|1||", "acc|2||", "acc|3||")
	b.wantBad(`acc_1.log@4 "long||"`)
	if b.f.note(nil); b.f.Status().State != Held {
		t.Errorf("status: %+v", b.f.Status())
	}
	b.store.refuse = nil
	b.restart()
	b.round()
	b.want("acc|1||", "acc|2||", "acc|3||", "acc|gone||", "acc|4||")
}

// TestWrongColumns holds that columns that fit no line stop a table, and lose
// nothing.
func TestWrongColumns(t *testing.T) {
	b := newBench(t, Options{})
	b.add("acc_1.log", strings.Repeat("1|2|3|4\n", 100))
	b.add("unknown_1.log", "1|2\n")
	b.round()
	if n := len(b.store.bad); n != wrongLines || !strings.Contains(b.told(), "4 fields, and 3 columns") {
		t.Errorf("%d lines are set aside; told is %q", n, b.told())
	}
	if !strings.Contains(b.told(), `no columns of table "unknown"`) {
		t.Errorf("told is %q", b.told())
	}
	b.o.Columns = map[string][]string{"acc": {"a", "b", "c", "d"}, "unknown": {"a", "b"}}
	b.restart()
	b.round()
	if len(b.store.rows) != 101-wrongLines {
		t.Errorf("%d rows", len(b.store.rows))
	}
}

// TestLostPositions holds that nothing is read where it is not known how far
// files were stored.
func TestLostPositions(t *testing.T) {
	for name, damage := range map[string]func(b *bench) error{
		"removed": func(b *bench) error { return b.state.Remove("calls.positions") },
		"older": func(b *bench) error {
			b.store.at["flatstore:calls"] = strings.TrimRight(b.store.at["flatstore:calls"], "0123456789") + "99"
			return nil
		},
		"another's": func(b *bench) error { b.store.at["flatstore:calls"] = "0011:2"; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{})
			b.round()
			b.add("acc_1.log", "1||\n")
			b.round()
			b.f.end()
			b.f = nil
			if err := damage(b); err != nil {
				t.Fatal(err)
			}
			b.restart()
			if err := b.f.round(t.Context()); fault.Code(err) != fault.DataCorrupted || fault.Of(err).Hint == "" {
				t.Errorf("round: %v", err)
			}
			b.want("acc|1||")
		})
	}
}

// TestManyFiles follows thousands with a few descriptors.
func TestManyFiles(t *testing.T) {
	const files = 1000
	b := newBench(t, Options{MaxOpen: 10})
	for round := range 3 {
		for n := range files {
			b.add(fmt.Sprintf("acc_%d.log", n), fmt.Sprintf("%d|%d|\n", round, n))
		}
		b.round()
		if s := b.f.Status(); s.Files != files || s.Open > 10 || s.Pending != 0 || len(b.store.rows) != (round+1)*files {
			t.Fatalf("round %d: %d rows, status %+v", round, len(b.store.rows), s)
		}
	}
	b.restart()
	b.round()
	if len(b.store.rows) != 3*files {
		t.Errorf("%d rows after a restart", len(b.store.rows))
	}
}

// TestLongLines sets a line aside in pieces that is longer than any row.
func TestLongLines(t *testing.T) {
	b := newBench(t, Options{})
	long := strings.Repeat("x", maxLine*2+10)
	b.add("acc_1.log", "1||\n"+long)
	b.round()
	b.add("acc_1.log", "y\n2||\n")
	b.restart()
	b.round()
	b.want("acc|1||", "acc|2||")
	got := ""
	for _, l := range b.store.bad {
		got += string(l.Raw)
	}
	if got != long+"y" || len(b.store.bad) != 3 {
		t.Errorf("%d pieces with %d bytes", len(b.store.bad), len(got))
	}
}

// TestFinished holds what becomes of rotated files, and that one that a process
// can write to stays.
func TestFinished(t *testing.T) {
	for _, kind := range []int{Keep, Remove, Archive} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			away := t.TempDir()
			b := newBench(t, Options{Finished: kind, Archive: away})
			b.round()
			b.add("acc_1.log", "1||\n2|to")
			b.round()
			b.rename("acc_1.log", "acc_1.log.1")
			b.add("acc_1.log", "3||\n")
			b.round()
			if _, known := holders.Writers(nil); !known {
				t.Skip("this process may not look into others")
			}
			b.f.swept = b.f.swept.Add(-2 * sweepEvery)
			b.round() // the torn end
			b.f.swept = b.f.swept.Add(-2 * sweepEvery)
			b.round()
			b.want("acc|1||", "acc|3||")
			b.wantBad(`acc_1.log.1@4 "2|to"`)
			_, here := os.Stat(b.path("acc_1.log.1"))
			_, there := os.Stat(filepath.Join(away, "acc_1.log.1"))
			if gone := errors.Is(here, fs.ErrNotExist); gone != (kind != Keep) || (there == nil) != (kind == Archive) {
				t.Errorf("after %d: here %v, in the archive %v", kind, here, there)
			}
			if _, err := os.Stat(b.path("acc_1.log")); err != nil {
				t.Error(err)
			}
			b.add("acc_1.log", "4||\n")
			b.round()
			if n := len(b.f.positions.at); n != 1 && kind != Keep {
				t.Errorf("%d files are remembered, want 1", n)
			}
		})
	}
}

// TestRemovedByOthers reads a file on that was removed while it was open, and
// forgets it when nobody has it any more.
func TestRemovedByOthers(t *testing.T) {
	b := newBench(t, Options{})
	b.add("acc_1.log", "1||\n")
	b.round()
	writer, err := os.OpenFile(b.path("acc_1.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := os.Remove(b.path("acc_1.log")); err != nil {
		t.Fatal(err)
	}
	b.f.swept = time.Now() // its holder is this process, which does not count
	b.round()
	if _, err := writer.WriteString("2||\n"); err != nil {
		t.Fatal(err)
	}
	b.round()
	b.round()
	b.want("acc|1||", "acc|2||")
	if _, known := holders.Writers(nil); !known {
		t.Skip("this process may not look into others")
	}
	b.f.swept = time.Time{}
	b.round()
	b.add("acc_2.log", "3||\n")
	b.round()
	if s := b.f.Status(); s.Files != 1 || len(b.f.positions.at) != 1 {
		t.Errorf("status %+v; %d files are remembered", s, len(b.f.positions.at))
	}
}

// TestUnreadable holds that a file that may not be read is told of, and read
// when it may.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	b := newBench(t, Options{})
	b.add("acc_1.log", "1||\n")
	b.add("acc_2.log", "2||\n")
	if err := os.Chmod(b.path("acc_1.log"), 0); err != nil {
		t.Fatal(err)
	}
	b.round()
	b.want("acc|2||")
	if b.f.note(nil); b.f.Status().State != Held {
		t.Errorf("status %+v", b.f.Status())
	}
	if err := os.Chmod(b.path("acc_1.log"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.round()
	b.want("acc|2||", "acc|1||")
}

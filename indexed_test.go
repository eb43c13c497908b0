package holdfast_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/internal/fault"
)

// looked returns the rows of acc that match, and how they were found.
func looked(t *testing.T, db *holdfast.DB, o holdfast.ReadOptions) (seqs []uint64, e holdfast.Explained) {
	t.Helper()
	o.Table = "acc"
	o.Explain = func(got holdfast.Explained) { e = got }
	for r, err := range db.Read(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, r.Seq)
	}
	return seqs, e
}

// accounts stores segments of ten rows each; the address tells the segment.
func accounts(t *testing.T, db *holdfast.DB, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		for i := range 10 {
			if err := db.Insert(t.Context(), "acc", []string{"id", "src_ip", "seconds", "pad"}, n, fmt.Sprintf("192.0.2.%d", n), 10*n+i, strings.Repeat("x", 20<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.SettleIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func slicesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.idx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		names = append(names, filepath.Base(f))
	}
	return names
}

// TestIndexedRead holds that a look-up opens only segments that can match, in
// each place for slices, and that a rebuilt or lost index changes no row.
func TestIndexedRead(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprint("own directory ", own), func(t *testing.T) {
			dir := t.TempDir()
			index, o := filepath.Join(dir, "streams", "main"), holdfast.Index{Columns: []string{"src_ip", "seconds"}}
			if own {
				index = filepath.Join(t.TempDir(), "index")
				o.Dir = index
			}
			options := holdfast.Options{Streams: []holdfast.Stream{{Name: "main", Index: o}}}
			db := open(t, dir, options)
			accounts(t, db, 1, 12)
			if n := len(slicesIn(t, index)); n != 12 {
				t.Fatalf("there are %d slices", n)
			}
			check := func(when, where string, opened int, want ...uint64) {
				t.Helper()
				got, e := looked(t, db, holdfast.ReadOptions{Where: where})
				whole, f := looked(t, db, holdfast.ReadOptions{Where: where, NoIndex: true})
				if !slices.Equal(got, want) || !slices.Equal(whole, want) {
					t.Errorf("%s: %s gives %v, without the index %v, want %v", when, where, got, whole, want)
				}
				if opened >= 0 && (e.Opened != opened || e.Skipped != 12-opened) || f.Skipped != 0 {
					t.Errorf("%s: %s: %+v, without the index %+v, want %d opened", when, where, e, f, opened)
				}
			}
			check("with slices", `src_ip == "192.0.2.7" and seconds > 77`, 1, 69, 70)
			check("with slices", `src_ip == "192.0.2.7" and seconds > 90`, 0)
			check("with slices", `seconds >= 28 and seconds < 31`, 2, 19, 20, 21)
			check("with slices", `src_ip in ["192.0.2.1", "192.0.2.12"] and int(seconds) % 10 == 0`, 2, 1, 111)
			check("with slices", `len(pad) == 1`, 12)
			for _, name := range slicesIn(t, index)[:6] {
				if err := os.Remove(filepath.Join(index, name)); err != nil {
					t.Fatal(err)
				}
			}
			check("without some", `src_ip == "192.0.2.3" and seconds == 31`, -1, 22)
			if err := db.SettleIndexes(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("made anew", `src_ip == "192.0.2.3" and seconds == 31`, 1, 22)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, dir, options)
			// A slice that has gone is missed when its file is to be read, or by a start.
			if err := db.SettleIndexes(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("after a restart", `src_ip == "192.0.2.3" and seconds == 31`, 1, 22)
		})
	}
}

// TestSince holds that rows from before a time are left out, and segments that
// have no others are not opened, with an index or without.
func TestSince(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	accounts(t, db, 1, 3)
	time.Sleep(2 * time.Millisecond) // so that the clock is another one
	middle := time.Now()
	time.Sleep(2 * time.Millisecond)
	accounts(t, db, 4, 4)
	got, e := looked(t, db, holdfast.ReadOptions{Since: middle})
	if len(got) != 10 || got[0] != 31 || e.Skipped != 3 || e.Opened != 1 {
		t.Fatalf("%v, %+v", got, e)
	}
}

// TestReadRefusals holds that a wrong condition is told apart from none.
func TestReadRefusals(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	accounts(t, db, 1, 1)
	for _, c := range []struct {
		o    holdfast.ReadOptions
		code string
	}{
		{holdfast.ReadOptions{Where: "seconds > 1"}, fault.InvalidParameterValue},
		{holdfast.ReadOptions{Table: "calls", Where: "seconds > 1"}, fault.UndefinedTable},
		{holdfast.ReadOptions{Table: "acc", Where: "second > 1"}, fault.UndefinedColumn},
		{holdfast.ReadOptions{Table: "acc", Where: `seconds > "x"`}, fault.DatatypeMismatch},
		{holdfast.ReadOptions{Table: "acc", Where: "seconds >"}, fault.SyntaxError},
	} {
		for r, err := range db.Read(t.Context(), c.o) {
			if r != nil || fault.Code(err) != c.code {
				t.Errorf("%+v: row %v, error %v, want %s", c.o, r, err, c.code)
			}
		}
	}
}

// TestIndexBudget holds that slices keep to their own budget, the newest stay,
// and those that went are not made again.
func TestIndexBudget(t *testing.T) {
	const budget = 50 << 10
	dir := t.TempDir()
	o := holdfast.Options{Streams: []holdfast.Stream{{Name: "main", Index: holdfast.Index{Columns: []string{"src_ip"}, Budget: budget}}}}
	db := open(t, dir, o)
	accounts(t, db, 1, 10)
	at := filepath.Join(dir, "streams", "main")
	left := slicesIn(t, at)
	if n := len(left); n < 2 || n > 8 || left[n-1] != "0000000000000010.idx" {
		t.Fatalf("there are %v", left)
	}
	if st := *db.Status().Streams[0].Index; st.Bytes > budget || st.Limit != budget || st.Slices != len(left) {
		t.Errorf("status %+v", st)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, o)
	if err := db.SettleIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := slicesIn(t, at); !slices.Equal(again, left) {
		t.Errorf("after a restart there are %v, before it %v", again, left)
	}
}

// TestIndexRoll rolls on both nodes: on /database the index is in no sum and
// leaves with its segments; on /index it is rolled by itself, and stays so.
func TestIndexRoll(t *testing.T) {
	dir := t.TempDir()
	o := holdfast.Options{Undo: time.Hour, Streams: []holdfast.Stream{{Name: "main", Index: holdfast.Index{Columns: []string{"src_ip"}}}, {Name: holdfast.LedgerStream}}}
	db := open(t, dir, o)
	accounts(t, db, 1, 10)
	at := filepath.Join(dir, "streams", "main")
	roll := func(node, params string) holdfast.Rolled {
		t.Helper()
		m, err := holdfast.ParseRoll(node, "sizeRoll", params)
		if err != nil {
			t.Fatal(err)
		}
		done, err := db.Roll(m, "carol", true)
		if err != nil || !done.Plan.Met || done.Serial == 0 {
			t.Fatalf("%s %s: %+v, error %v", node, params, done, err)
		}
		if err := db.SettleIndexes(t.Context()); err != nil {
			t.Fatal(err)
		}
		return done
	}
	segments, bytes := int64(0), int64(0)
	for _, s := range db.Segments(100) {
		if s.Stream == "main" {
			segments += s.Bytes
		}
	}
	done := roll("/database", "type=main maxSize=1MB")
	if before := done.Plan.Goals[0].Before; before != segments {
		t.Errorf("on /database %d bytes are counted, the segments have %d", before, segments)
	}
	left := slicesIn(t, at)
	kept := 0
	for _, s := range db.Segments(100) {
		if s.Stream == "main" { // the ledger is written when it likes
			kept++
		}
	}
	if len(left) == 10 || len(left) > kept {
		t.Errorf("%v are left, of %d segments", left, kept)
	}
	for _, name := range left {
		info, err := os.Stat(filepath.Join(at, name))
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	rows, _ := looked(t, db, holdfast.ReadOptions{Where: `src_ip == "192.0.2.10"`})
	done = roll("/index", fmt.Sprintf("maxSize=%.6fMB", float64(bytes-1)/(1<<20)))
	if before := done.Plan.Goals[0].Before; before != bytes || !done.Until.IsZero() {
		t.Errorf("on /index %d bytes are counted, the slices have %d: %+v", before, bytes, done)
	}
	if now := slicesIn(t, at); len(now) == 0 || len(now) >= len(left) || now[len(now)-1] != left[len(left)-1] {
		t.Errorf("%v are left of %v", now, left)
	}
	left = slicesIn(t, at)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, o)
	if err := db.SettleIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := slicesIn(t, at); !slices.Equal(now, left) {
		t.Errorf("after a restart there are %v, before it %v", now, left)
	}
	if again, _ := looked(t, db, holdfast.ReadOptions{Where: `src_ip == "192.0.2.10"`}); !slices.Equal(again, rows) || len(rows) != 10 {
		t.Errorf("rows %v, before the roll %v", again, rows)
	}
}

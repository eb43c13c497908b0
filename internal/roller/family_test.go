package roller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// family is the three linked streams of the manual.
type family struct {
	d       disk.FS
	r       *Roller
	streams []Stream
	dirs    map[string]disk.FS // by stream
}

var members = []struct{ name, parent string }{{"session", ""}, {"meta", "session"}, {"packet", "session"}}

// setup is how a family is opened.
type setup struct {
	roller  Options
	limits  map[string]journal.Limits
	now     func() time.Time
	removed func(stream string, r journal.Removed)
	cold    int64 // bytes that the cold tier of all may take; 0: there is none
	onCold  OnColdFull
	store   func(cold.Store) cold.Store // what stands in front of it; nil: nothing
	warm    int64                       // bytes that each stream's warm tier may take; 0: there is none
}

// open opens a family on d.
func open(t testing.TB, d disk.FS, s setup) (*family, error) {
	t.Helper()
	s.roller.Now = s.now
	f := &family{d: d, dirs: map[string]disk.FS{}}
	var err error
	if f.r, err = Open(d, s.roller); err != nil {
		return nil, err
	}
	for _, m := range members {
		name := "streams/" + m.name
		if err := d.Mkdir(name); err != nil {
			return f, errors.Join(err, f.close())
		}
		sub, err := d.Sub(name)
		if err != nil {
			return f, errors.Join(err, f.close())
		}
		f.dirs[m.name] = sub
		l := s.limits[m.name]
		var store cold.Store
		o := journal.Options{
			Name: m.name, SegmentSize: 48 << 10, Link: "id", Limits: l, Cut: f.r.Cut(m.name), Holds: f.r.Holds(), Remembered: f.r.Remembered, Now: s.now,
			Room: func(lack int64, drop bool) (bool, error) { return f.r.MakeRoom(m.name, lack, drop) },
		}
		if s.warm > 0 {
			if err := sub.Mkdir("warm"); err != nil {
				return f, errors.Join(err, f.close())
			}
			o.More = []journal.Directory{{ID: "warm " + m.name, FS: must(sub.Sub("warm")), Size: s.warm, Warm: true}}
		}
		if s.cold > 0 {
			if err := d.Mkdir("cold"); err != nil {
				return f, errors.Join(err, f.close())
			}
			c := cold.OpenDirectory(must(d.Sub("cold")), "/cold", s.cold)
			if err := c.Clean(journal.ColdPrefix(m.name)); err != nil {
				return f, errors.Join(err, f.close())
			}
			store = c
			if s.store != nil {
				store = s.store(c)
			}
			o.Cold = store
		}
		if s.removed != nil {
			o.Removed = func(r journal.Removed) { s.removed(m.name, r) }
		}
		j, err := journal.Open(sub, o)
		if err != nil {
			return f, errors.Join(err, f.close())
		}
		f.streams = append(f.streams, Stream{Name: m.name, Journal: j, Link: "id", Parent: m.parent, Warm: s.warm > 0, Cold: Cold{store, s.onCold}, Limits: j.Limits})
	}
	f.r.Attach(f.streams)
	return f, nil
}

func (f *family) close() error {
	var errs []error
	f.r.Attach(nil)
	for _, s := range f.streams {
		errs = append(errs, s.Journal.Close())
	}
	return errors.Join(errs...)
}

func (f *family) stream(name string) *journal.Journal {
	for _, s := range f.streams {
		if s.Name == name {
			return s.Journal
		}
	}
	return nil
}

var columns = []row.Column{{Name: "what", Type: "text"}, {Name: "id", Type: "int8"}}

// add appends one row of size bytes.
func (f *family) add(stream string, id, size int) error {
	j := f.stream(stream)
	var b row.Batch
	if err := b.Add(j.Intern(stream, columns), 0, []row.Value{row.Text(strings.Repeat("x", size)), row.Text(fmt.Sprint(id))}); err != nil {
		return err
	}
	_, err := j.Append(context.Background(), &b, true)
	return err
}

// of is how many rows a session has in each stream, and how large they are.
var of = map[string]struct{ rows, size int }{"session": {1, 300}, "meta": {2, 2000}, "packet": {2, 9000}}

// fill takes sessions from one id to another, as they come from the wire.
func (f *family) fill(from, to int) error {
	for id := from; id <= to; id++ {
		for _, m := range members {
			for range of[m.name].rows {
				if err := f.add(m.name, id, of[m.name].size); err != nil {
					return err
				}
			}
		}
		if id%20 == 0 { // so that streams with small rows have several segments too
			for _, s := range f.streams {
				if err := s.Journal.Seal(context.Background()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// rows returns how many rows of each session are there, by stream, and an error
// where something is damaged.
func (f *family) rows() (map[string]map[int]int, error) {
	have := map[string]map[int]int{}
	for _, s := range f.streams {
		ids := map[int]int{}
		have[s.Name] = ids
		r, err := s.Journal.Reader(s.Journal.Oldest().Seq + 1)
		if err != nil {
			return nil, err
		}
		for {
			b, err := r.TryNext()
			if err != nil || b == nil {
				if err = errors.Join(err, r.Close()); err != nil {
					return nil, fmt.Errorf("%s: %w", s.Name, err)
				}
				break
			}
			for _, d := range b.Damage {
				if !d.Rolled {
					return nil, fmt.Errorf("%s: damage %+v", s.Name, d)
				}
			}
			for _, one := range b.Rows {
				id, _ := row.ParseLink(one.Values[1].Text)
				ids[int(id)]++
			}
		}
	}
	return have, nil
}

// visible returns the sessions that are there whole, and an error where one is
// there in part, or a row twice, or where something is damaged.
func (f *family) visible() ([]int, error) {
	have, err := f.rows()
	if err != nil {
		return nil, err
	}
	var all []int
	for id, n := range have["session"] {
		if n != 1 {
			return nil, fmt.Errorf("session %d is there %d times", id, n)
		}
		all = append(all, id)
	}
	slices.Sort(all)
	for _, m := range members[1:] {
		for _, id := range all {
			if n := have[m.name][id]; n != of[m.name].rows {
				return nil, fmt.Errorf("session %d has %d rows of %s", id, n, m.name)
			}
		}
		for id := range have[m.name] {
			if _, ok := slices.BinarySearch(all, id); !ok {
				return nil, fmt.Errorf("%s of session %d is there without it", m.name, id)
			}
		}
	}
	return all, nil
}

func message(t testing.TB, params string) roll.Message {
	t.Helper()
	m, err := roll.ParseMessage("/database", map[bool]string{true: "timeRoll", false: "sizeRoll"}[strings.Contains(params, "minutes") || strings.Contains(params, "days")], params)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const roomy = "type=session,meta,packet maxSize=1MB"

// files returns how many segments there are on the disk, by stream.
func (f *family) files(t testing.TB) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, s := range f.streams {
		for _, e := range must(f.dirs[s.Name].List("")) {
			if strings.HasSuffix(e.Name, ".seg") {
				n[s.Name]++
			}
		}
	}
	return n
}

// trash returns how many segments wait in the trash.
func (f *family) trash(t testing.TB) (n int) {
	t.Helper()
	for _, s := range f.streams {
		for _, e := range must(f.dirs[s.Name].List("")) {
			if strings.HasSuffix(e.Name, ".trash") {
				n++
			}
		}
	}
	return n
}

// whole fails the test where a session is there in part.
func (f *family) whole(t testing.TB) []int {
	t.Helper()
	all, err := f.visible()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

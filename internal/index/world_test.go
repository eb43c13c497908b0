package index

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/internal/where"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seed = flag.Uint64("seed", 0, "of the random tests; 0: one of the clock")

// random returns a source of random numbers, and tells its seed.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./internal/index -run %s -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 7))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// source shows a journal as its index wants it, as the database does.
type source struct{ *journal.Journal }

func (s source) Sealed() []Segment {
	var out []Segment
	for _, one := range s.Journal.Sealed() {
		out = append(out, Segment(one))
	}
	return out
}

func (s source) Scan(ctx context.Context, number uint64, each func(*row.Block) error) error {
	err := s.ScanSealed(ctx, number, each)
	if errors.Is(err, journal.ErrGone) {
		return fs.ErrNotExist
	}
	return err
}

// world is a stream with an index, on a disk in memory.
type world struct {
	t     *testing.T
	r     *rand.Rand
	disk  disk.FS // of the journal
	files disk.FS // of the index
	o     Options
	jo    journal.Options
	j     *journal.Journal
	x     *Index
	clock atomic.Int64 // the journal asks for it whenever it likes
}

// indexed are the columns with an index; acc has more.
var indexed = []string{"ip", "n", "amount", "at", "flag"}

// schemas are those that rows come in: of two tables, with columns in other
// orders, left out, and of other types.
var schemas = [][2]any{
	{"acc", []row.Column{{Name: "ip", Type: "text"}, {Name: "n", Type: "integer"}, {Name: "amount", Type: "numeric"}, {Name: "at", Type: "timestamptz"}, {Name: "flag", Type: "boolean"}, {Name: "note", Type: "text"}}},
	{"acc", []row.Column{{Name: "note", Type: "text"}, {Name: "flag", Type: "boolean"}, {Name: "n", Type: "integer"}, {Name: "ip", Type: "text"}}},
	{"calls", []row.Column{{Name: "ip", Type: "text"}, {Name: "n", Type: "integer"}}},
	{"acc", []row.Column{{Name: "n", Type: "text"}, {Name: "amount"}, {Name: "ip", Type: "text"}}},
	{"acc", []row.Column{{Name: "at", Type: "timestamptz"}}},
}

func newWorld(t *testing.T, r *rand.Rand, d disk.FS) *world {
	w := &world{t: t, r: r, disk: d, files: d, o: Options{Name: "main", Columns: indexed, grain: 4096, most: 300}}
	w.jo = journal.Options{Name: "main", SegmentSize: 64 << 10, Now: func() time.Time { return time.UnixMicro(1_700_000_000_000_000 + w.clock.Load()) }}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	changed := make(chan struct{}, 1)
	w.jo.Changed = func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	w.j = must(journal.Open(w.disk, w.jo))
	w.o.Source, w.o.FS, w.o.Changed = source{w.j}, w.files, changed
	w.o.Cache = NewCache([]int64{-1, 3000, 0}[w.r.IntN(3)]) // nothing, two or three slices, all
	w.x = must(Open(w.o))
}

func (w *world) close() {
	w.x.Close()
	if err := w.j.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// settle waits until slices are as they should be.
func (w *world) settle() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	if err := w.x.Settle(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// text draws a value of a column, of a domain so small that conditions hit.
func (w *world) text(column string, drift int) string {
	r := w.r
	if r.IntN(40) == 0 {
		return []string{"", "NULL", "-1", "'", "x y", "1e2"}[r.IntN(6)]
	}
	switch column {
	case "ip":
		return fmt.Sprintf("192.0.2.%d", r.IntN(60)+drift)
	case "n":
		return []string{"", "0", "+"}[r.IntN(3)] + fmt.Sprint(r.IntN(50)+10*drift)
	case "amount":
		return fmt.Sprintf("%d.%d", r.IntN(40)+drift, r.IntN(3)*5) + []string{"", "0", "e1"}[r.IntN(3)]
	case "at":
		return fmt.Sprintf("2026-11-%02d %02d:00:00%s", 1+(drift+r.IntN(3))%28, r.IntN(24), []string{"", "+01:00", "Z"}[r.IntN(3)])
	case "flag":
		return []string{"t", "false", "ON", "0"}[r.IntN(4)]
	}
	return fmt.Sprint("note ", r.IntN(5))
}

// fill appends some rows; seal closes the segment behind them.
func (w *world) fill(rows int, seal bool) {
	w.t.Helper()
	drift := w.r.IntN(20)
	for rows > 0 {
		var b row.Batch
		for range 1 + w.r.IntN(30) {
			which := schemas[w.r.IntN(len(schemas))]
			if w.r.IntN(3) > 0 {
				which = schemas[0]
			}
			s := w.j.Intern(which[0].(string), which[1].([]row.Column))
			var values []row.Value
			for _, c := range s.Columns {
				v := row.Text(w.text(c.Name, drift))
				if w.r.IntN(15) == 0 {
					v = row.Null
				}
				values = append(values, v)
			}
			if err := b.Add(s, 0, values); err != nil {
				w.t.Fatal(err)
			}
			rows--
		}
		w.clock.Add(int64(w.r.IntN(1000)))
		must(w.j.Append(w.t.Context(), &b, true))
	}
	if seal {
		if err := w.j.Seal(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// comparison draws a part of a condition.
func (w *world) comparison() string {
	r, ops := w.r, []string{"==", "==", "==", "!=", "<", "<=", ">", ">="}
	op := ops[r.IntN(len(ops))]
	drift := r.IntN(20)
	switch r.IntN(11) {
	case 0:
		return fmt.Sprintf("n %s %d", op, r.IntN(260))
	case 1:
		return fmt.Sprintf("amount %s %d.%d", op, r.IntN(60), r.IntN(10))
	case 2:
		return fmt.Sprintf("at %s date(%q)", op, fmt.Sprintf("2026-11-%02d %02d:00:00", 1+r.IntN(28), r.IntN(24)))
	case 3:
		return []string{"flag", "flag == true", "flag != true", "false == flag"}[r.IntN(4)]
	case 4:
		return fmt.Sprintf("note %s %q", op, w.text("note", 0))
	case 5:
		return fmt.Sprintf("%s in [%q, %q]", "ip", w.text("ip", drift), w.text("ip", drift))
	case 6:
		return fmt.Sprintf("%s %s nil", indexed[r.IntN(5)], []string{"==", "!="}[r.IntN(2)])
	case 7:
		return fmt.Sprintf("n in [%d, %d]", r.IntN(260), r.IntN(260))
	case 8:
		return []string{"n % 7 == 3", `ip endsWith "7"`, "len(note) > 5", "10 % n == 0"}[r.IntN(4)]
	}
	return fmt.Sprintf("ip %s %q", op, w.text("ip", drift))
}

// condition draws a condition.
func (w *world) condition(depth int) string {
	if depth == 0 || w.r.IntN(4) == 0 {
		return w.comparison()
	}
	left, right := w.condition(depth-1), w.condition(depth-1)
	switch w.r.IntN(5) {
	case 0:
		return fmt.Sprintf("not (%s)", left)
	case 1:
		return fmt.Sprintf("(%s or %s)", left, right)
	}
	return fmt.Sprintf("(%s and %s)", left, right)
}

// read returns the seqs of the rows that match, through the index x; nil: every
// segment is read.
func (w *world) read(x *Index, text string, since int64) (seqs []uint64, p *Picker) {
	w.t.Helper()
	cond := must(where.Compile(text, "acc", schemas[0][1].([]row.Column)))
	r := must(w.j.Reader(w.j.Oldest().Seq + 1))
	defer r.Close()
	if x != nil {
		p = NewPicker(w.t.Context(), x, Query{cond.Condition(), since}, source{w.j}.Sealed())
		r.Pick = func(s journal.Sealed) ([]journal.Range, bool) {
			ranges, ok := p.Pick(Segment(s))
			var out []journal.Range
			for _, one := range ranges {
				out = append(out, journal.Range(one))
			}
			return out, ok
		}
	}
	for {
		b := must(r.TryNext())
		if b == nil {
			return seqs, p
		}
		for i := range b.Rows {
			if b.Rows[i].Received >= since && cond.Match(&b.Rows[i]) {
				seqs = append(seqs, b.Rows[i].Seq)
			}
		}
	}
}

// compare asks the same with and without the index, and returns how many
// segments the index has spared.
func (w *world) compare(when string, times int) (skipped int) {
	w.t.Helper()
	for range times {
		text, since := w.condition(w.r.IntN(4)), int64(math.MinInt64)
		if w.r.IntN(5) == 0 {
			since = 1_700_000_000_000_000 + w.r.Int64N(w.clock.Load()+1)
		}
		want, _ := w.read(nil, text, since)
		got, p := w.read(w.x, text, since)
		if !slices.Equal(got, want) {
			w.t.Fatalf("%s: %s since %d: %d rows with the index, %d without: %v, %v", when, text, since, len(got), len(want), got, want)
		}
		skipped += p.Explained.Skipped
	}
	return skipped
}

// flip turns one bit of a slice over.
func (w *world) flip() {
	w.t.Helper()
	all := w.x.Slices()
	if len(all) == 0 {
		return
	}
	one := all[w.r.IntN(len(all))]
	w.toggle(w.disk, sliceName(one.Number), w.r.Int64N(one.Bytes))
}

// toggle turns one bit of a file over.
func (w *world) toggle(d disk.FS, name string, at int64) {
	w.t.Helper()
	f := must(d.Open(name, true))
	defer f.Close()
	page := disk.Buffer(disk.Align)
	must(f.ReadAt(page, at&^(disk.Align-1)))
	page[at%disk.Align] ^= 1 << w.r.IntN(8)
	if err := errors.Join(f.WriteAt(page, at&^(disk.Align-1)), f.Sync()); err != nil {
		w.t.Fatal(err)
	}
}

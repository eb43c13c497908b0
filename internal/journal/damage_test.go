package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
	"holdfast/test/tally"
)

// whole is a closed stream of three sealed segments, as it was before damage.
// The second has 64 KiB.
type whole struct {
	mem   *disk.Mem
	id    string
	rows  []string // by seq, from 1
	tails []segment.Tail
	files map[string][]byte
	older []byte // the second segment with half of its rows
}

func wholeStream(t *testing.T) *whole {
	t.Helper()
	w := &whole{mem: disk.NewMem(), files: map[string][]byte{}}
	j := open(t, w.mem, Options{SegmentSize: 96 << 10})
	must(j.Register("sink"))
	add := func(n, size int) {
		var values []string
		for range n {
			values = append(values, fmt.Sprintf("row %d %s", len(w.rows)+1, strings.Repeat("v", size)))
			w.rows = append(w.rows, values[len(values)-1])
		}
		mustAppend(t, j, values...)
	}
	add(2, 10)
	must(0, j.Seal(t.Context()))
	for i := range 9 {
		add(2+i%4, 700+i%3*500)
		if i == 4 {
			w.older = must(disk.ReadFile(w.mem, segmentName(2), 1<<20))
		}
	}
	must(0, j.Seal(t.Context()))
	add(1, 10)
	add(1, 10)
	must(0, j.Seal(t.Context()))
	w.id = j.ID()
	for _, s := range j.segs {
		w.tails = append(w.tails, s.tail())
	}
	closeJournal(t, j)
	for _, e := range must(w.mem.List("")) {
		w.files[e.Name] = must(disk.ReadFile(w.mem, e.Name, 1<<20))
	}
	if n := len(w.files[segmentName(2)]); n < 64<<10 || n > 80<<10 {
		t.Fatalf("the segment to be damaged has %d bytes", n)
	}
	return w
}

// finding is what a stream with damage shows.
type finding struct {
	named []row.Damage
	lost  map[uint64]bool
}

// look opens the stream on d, reads every row and verifies it. Damage may cost
// rows, but then it names them; no row may be another than it was, none behind
// the damage may be cut, and the next row gets the next seq.
func (w *whole) look(d *disk.Mem) (finding, error) {
	found := finding{lost: map[uint64]bool{}}
	j, err := Open(d, Options{Name: "main", SegmentSize: 96 << 10})
	if err != nil {
		return found, err
	}
	defer abandon(j)
	found.named = append(found.named, j.Recovery().Damage...)
	tell := func(d row.Damage) { found.named = append(found.named, d) }
	if _, err := j.Verify(context.Background(), tell); err != nil {
		return found, err
	}
	if end := j.End().Seq; end != uint64(len(w.rows)) && !(end > uint64(len(w.rows)) && strings.Contains(fmt.Sprint(found.named), "how many is not known")) {
		return found, fmt.Errorf("ends at seq %d, ended at %d", end, len(w.rows))
	}
	if _, ok := j.Sinks()["sink"]; !ok || j.ID() != w.id {
		return found, fmt.Errorf("id %s of %s, sinks %v", j.ID(), w.id, j.Sinks())
	}
	got := map[uint64]bool{}
	for from := uint64(1); from <= uint64(len(w.rows)); {
		next, err := w.read(j, from, got, tell)
		if err != nil {
			return found, err
		}
		from = next
	}
	for seq := range uint64(len(w.rows)) {
		if !got[seq+1] {
			found.lost[seq+1] = true
		}
	}
	return found, nil
}

// read reads from a seq on until the end or an error, which is a finding too,
// and returns where to go on: behind the segment that gave it.
func (w *whole) read(j *Journal, from uint64, got map[uint64]bool, tell func(row.Damage)) (next uint64, err error) {
	r, err := j.Reader(from)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if err != nil {
			for _, t := range w.tails {
				if t.LastSeq >= r.next {
					tell(row.Damage{Segment: t.Number, First: r.next, Last: t.LastSeq, What: err.Error()})
					return t.LastSeq + 1, nil
				}
			}
			return 0, err
		}
		if b == nil {
			return uint64(len(w.rows)) + 1, nil
		}
		for _, d := range b.Damage {
			tell(d)
		}
		for _, x := range b.Rows {
			if x.Seq == 0 || x.Seq > uint64(len(w.rows)) || string(x.Values[0].Text) != w.rows[x.Seq-1] || got[x.Seq] {
				return 0, fmt.Errorf("seq %d is %.30q, a second time: %v", x.Seq, x.Values[0].Text, got[x.Seq])
			}
			got[x.Seq] = true
		}
	}
}

// names tells whether something was named that lies in segment number, and
// whether each lost row was.
func (f finding) names(number uint64) error {
	if len(f.named) == 0 {
		return errors.New("nobody noticed")
	}
	where := false
	for _, d := range f.named {
		where = where || d.Segment == number && d.What != ""
	}
	for seq := range f.lost {
		named := false
		for _, d := range f.named {
			named = named || d.First <= seq && seq <= d.Last
		}
		if !named {
			return fmt.Errorf("row %d is lost, and only this named: %+v", seq, f.named)
		}
	}
	if !where && number != 0 {
		return fmt.Errorf("segment %d is not named: %+v", number, f.named)
	}
	return nil
}

// put returns a copy of the stream with other content for one file.
func (w *whole) put(name string, content []byte) *disk.Mem {
	d := w.mem.Kill()
	must(0, disk.Replace(d, "", name, content))
	return d
}

// sharded calls do with each number from 0 to n-1 in steps, on all processors,
// until it fails. It returns how many there were.
func sharded(t *testing.T, n, step int, do func(i int) error) int {
	t.Helper()
	tried := atomic.Int64{}
	parts := runtime.GOMAXPROCS(0)
	t.Run("all", func(t *testing.T) {
		for part := range parts {
			t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
				t.Parallel()
				for i := part * step; i < n && !t.Failed(); i += parts * step {
					if err := do(i); err != nil {
						t.Errorf("number %d: %v", i, err)
					}
					tried.Add(1)
				}
			})
		}
	})
	return int(tried.Load())
}

// TestFlippedBits flips each bit of a sealed segment and of the MANIFEST, and
// looks at the stream as a program does that finds them so: the damage is
// named, costs at most the row it is in, and nothing else.
func TestFlippedBits(t *testing.T) {
	w := wholeStream(t)
	want := tally.Want(t, "bit flips")
	two, manifest := w.files[segmentName(2)], w.files[manifestName]
	total := (len(two) + len(manifest)) * 8
	step := max(1, total/want) | 1 // odd, so that each bit of a byte comes up
	for step > 1 && total/step < want {
		step -= 2
	}
	n := sharded(t, total, step, func(i int) error {
		name, at, number := segmentName(2), i, uint64(2)
		if i >= len(two)*8 {
			name, at, number = manifestName, i-len(two)*8, 0
		}
		content := bytes.Clone(w.files[name])
		content[at/8] ^= 1 << (at % 8)
		d := w.put(name, content)
		found, err := w.look(d)
		if err == nil {
			err = found.names(number)
		}
		if err == nil && len(found.lost) > 1-int(min(number^2, 1)) {
			err = fmt.Errorf("rows %v are lost: %+v", found.lost, found.named)
		}
		if err == nil && len(found.lost) == 1 {
			err = found.near(int64(at / 8))
		}
		if err != nil {
			return fmt.Errorf("%s, bit %d of byte %d: %w", name, at%8, at/8, err)
		}
		return nil
	})
	tally.Done(t, "bit flips", n, "-run TestFlippedBits, which draws nothing by chance")
}

// near holds that the lost row is named with the offset of the block or of the
// record in which the damage at byte at is.
func (f finding) near(at int64) error {
	for _, d := range f.named {
		if f.lost[d.First] && d.Segment == 2 && d.Offset <= at && at < d.Offset+2*disk.Align {
			return nil
		}
	}
	return fmt.Errorf("no offset near it is named: %+v", f.named)
}

// TestTruncatedFiles cuts each file at every byte, and makes it longer by
// zeros and by garbage: what is left whole is read, what is missing is named,
// and the segments behind it are not touched.
func TestTruncatedFiles(t *testing.T) {
	w := wholeStream(t)
	names := []string{segmentName(2), segmentName(3), manifestName}
	total := 0
	for _, name := range names {
		total += len(w.files[name])
	}
	want := tally.Want(t, "truncations")
	n := sharded(t, 2*total, max(1, 2*total/want), func(i int) error {
		cut := i < total
		i %= total
		for k, name := range names {
			content := w.files[name]
			if i >= len(content) {
				i -= len(content)
				continue
			}
			number := [...]uint64{2, 3, 0}[k]
			if cut {
				return w.truncated(name, number, i)
			}
			return w.longer(name, number, i)
		}
		return nil
	})
	tally.Done(t, "truncations", n, "-run TestTruncatedFiles, which draws nothing by chance")
}

func (w *whole) truncated(name string, number uint64, size int) error {
	found, err := w.look(w.put(name, w.files[name][:size]))
	if err != nil && number == 3 && size < disk.Align && strings.Contains(err.Error(), "move ") {
		return nil // nothing of the newest segment is left; a start says what to do
	}
	if err == nil {
		err = found.names(number)
	}
	for seq := range found.lost {
		if err == nil && (number == 0 || seq <= w.tails[number-2].LastSeq || seq > w.tails[number-1].LastSeq) {
			err = fmt.Errorf("row %d is lost, which was whole: %+v", seq, found.named)
		}
	}
	if err != nil {
		return fmt.Errorf("%s cut at %d: %w", name, size, err)
	}
	return nil
}

// longer appends n bytes, zeros or garbage.
func (w *whole) longer(name string, number uint64, n int) error {
	behind := make([]byte, n+1)
	if n%2 == 1 {
		behind = bytes.Repeat([]byte("HFBK garbage "), n/13+1)
	}
	found, err := w.look(w.put(name, append(bytes.Clone(w.files[name]), behind...)))
	if err == nil && len(found.lost) > 0 {
		err = fmt.Errorf("rows %v are lost: %+v", found.lost, found.named)
	}
	if err == nil && number == 0 {
		err = found.names(0)
	}
	if err != nil {
		return fmt.Errorf("%s with %d more bytes: %w", name, len(behind), err)
	}
	return nil
}

// TestMisdirected copies each block of a segment over each other place, in its
// own segment and in its neighbour, and puts an older copy of a segment in its
// place: nothing of it is taken for what should stand there.
func TestMisdirected(t *testing.T) {
	w := wholeStream(t)
	two := w.files[segmentName(2)]
	pages := len(two) / disk.Align
	sharded(t, pages*pages, 1, func(i int) error {
		from, to := i/pages, i%pages
		content := bytes.Clone(two)
		copy(content[to*disk.Align:(to+1)*disk.Align], two[from*disk.Align:])
		return w.misplaced(2, content, two)
	})
	for _, other := range []uint64{1, 3} {
		target := w.files[segmentName(other)]
		sharded(t, pages*(len(target)/disk.Align), 1, func(i int) error {
			from, to := i%pages, i/pages
			content := bytes.Clone(target)
			copy(content[to*disk.Align:(to+1)*disk.Align], two[from*disk.Align:])
			return w.misplaced(other, content, target)
		})
	}
	if err := w.misplaced(2, w.older, two); err != nil {
		t.Errorf("an older copy of segment 2: %v", err)
	}
	for _, other := range []uint64{1, 3} {
		if err := w.misplaced(2, w.files[segmentName(other)], two); err != nil {
			t.Errorf("segment %d in place of segment 2: %v", other, err)
		}
	}
}

// misplaced looks at the stream with other content for a segment.
func (w *whole) misplaced(number uint64, content, was []byte) error {
	if bytes.Equal(content, was) {
		return nil
	}
	found, err := w.look(w.put(segmentName(number), content))
	if err == nil {
		err = found.names(number)
	}
	for seq := range found.lost {
		first := uint64(1)
		if number > 1 {
			first = w.tails[number-2].LastSeq + 1
		}
		if err == nil && (seq < first || seq > w.tails[number-1].LastSeq) {
			err = fmt.Errorf("row %d of another segment is lost: %+v", seq, found.named)
		}
	}
	return err
}

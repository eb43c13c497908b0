package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"holdfast/internal/disk"
	"holdfast/row"
)

var (
	calls = &row.Schema{ID: 1, Stream: "main", Table: "calls", Columns: []row.Column{{Name: "caller", Type: "text"}, {Name: "seconds", Type: "numeric"}}}
	acc   = &row.Schema{ID: 2, Stream: "main", Table: "acc", Columns: []row.Column{{Name: "method"}}}
)

// header is the header of the segments that the tests write. Their first seq
// is 101.
func header() Header {
	return Header{
		Identity: Identity{Epoch: 7, Serial: 42}, Number: 3, FirstSeq: 101, Created: 1_700_000_000_000_000,
		Before: Tail{Number: 2, End: 1 << 20, LastSeq: 100, Chain: 0xfeedbeef},
		Stream: Stream{ID: "0192-stream", Name: "main", Marks: map[string]uint64{"default": 88}},
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commits are the rows of the segments that the tests write, commit by
// commit. The third and the fourth are one transaction.
var commits = [][]row.Row{
	{calling("alice", "42"), calling("bob", "7"), {Schema: acc, Values: []row.Value{row.Text("INVITE")}}},
	{calling("carol", "NULL")},
	{{Schema: acc, Flags: row.TxBegin, Values: []row.Value{row.Text("BYE")}}, calling("dave", "1")},
	{calling("erin", ""), {Schema: acc, Flags: row.TxEnd, Values: []row.Value{row.Null}}},
	{calling("frank", "9"), calling("grace", "10"), calling("heidi", "11")},
}

func calling(who, seconds string) row.Row {
	v := row.Text(seconds)
	if seconds == "NULL" {
		v = row.Null
	}
	return row.Row{Schema: calls, Values: []row.Value{row.Text(who), v}}
}

// wantRows returns the rows of the first n commits as a reader returns them.
func wantRows(n int) []row.Row {
	var all []row.Row
	for i, c := range commits[:n] {
		for _, r := range c {
			r.Seq, r.Received = 101+uint64(len(all)), received(i)
			all = append(all, r)
		}
	}
	return all
}

func received(commit int) int64 { return 1_700_000_000_000_000 + int64(commit)*1000 }

// block puts a commit into a block.
func block(t testing.TB, i int) *Block {
	var batch row.Batch
	for _, r := range commits[i] {
		ok(t, batch.Add(r.Schema, r.Flags, r.Values))
	}
	b := NewBlock(0)
	b.AppendRows(batch.Bytes(), batch.Rows())
	if i == 2 {
		b.SetOpen()
	}
	return b
}

// written is a segment with n commits in it, in a file of a disk in memory.
type written struct {
	m *disk.Mem
	f disk.File
	w *Writer
}

const name = "0000000000000003.seg"

func write(t testing.TB, n int) written {
	t.Helper()
	m := disk.NewMem()
	f, err := m.Create(name)
	ok(t, err)
	ok(t, m.SyncDir(""))
	w := NewWriter(f, header(), 1<<20)
	ok(t, w.Begin())
	ok(t, w.Define(w.Missing([]*row.Schema{calls, acc}), received(0)))
	for i := range n {
		_, err := w.Write(block(t, i), received(i), true)
		ok(t, err)
	}
	return written{m: m, f: f, w: w}
}

// sealed returns a sealed segment with all commits and a marker, and its bytes.
func sealed(t testing.TB) (written, Summary, []byte) {
	t.Helper()
	s := write(t, len(commits))
	ok(t, s.w.Mark(received(9)))
	sum, size, err := Seal(s.f, s.w.Summary())
	ok(t, err)
	b, err := disk.ReadFile(s.m, name, 1<<20)
	ok(t, err)
	if int64(len(b)) != size {
		t.Fatalf("the file has %d bytes, Seal said %d", len(b), size)
	}
	return s, sum, b
}

// fileOf returns a file with content b.
func fileOf(t testing.TB, b []byte) disk.File {
	t.Helper()
	f, err := disk.NewMem().Create(name)
	ok(t, err)
	buf := disk.Buffer(len(b))
	copy(buf, b)
	ok(t, f.WriteAt(buf, 0))
	ok(t, f.Truncate(int64(len(b))))
	return f
}

// source returns how a segment described by s is read.
func source(f disk.File, s *Summary) Source {
	return Source{File: f, Header: s.Header, End: s.Tail.End, Rows: s.Rows, Index: s.Index, Schemas: func(id uint32) *row.Schema {
		for _, d := range s.Schemas {
			if d.ID == id {
				return &row.Schema{ID: d.ID, Stream: s.Header.Stream.Name, Table: d.Table, Columns: d.Columns}
			}
		}
		return nil
	}}
}

// content is everything that a reader returned.
type content struct {
	rows   []row.Row
	damage []row.Damage
	ends   []row.Position
	open   []bool
}

// read reads all from row number from on. It checks what holds whatever the
// damage: seqs rise, and each row is there or named as lost, exactly once.
func read(t testing.TB, src Source, from uint64) content {
	t.Helper()
	var c content
	r := NewReader(src, from)
	next := src.Header.FirstSeq + from
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		ok(t, err)
		if b.First != next {
			t.Fatalf("a block starts with seq %d, want %d", b.First, next)
		}
		next = b.End.Seq + 1
		have := map[uint64]int{}
		for _, got := range b.Rows {
			have[got.Seq]++
			got.Values = clone(got.Values)
			c.rows = append(c.rows, got)
		}
		for _, d := range b.Damage {
			for seq := max(d.First, b.First); d.First != 0 && seq <= min(d.Last, b.End.Seq); seq++ {
				have[seq]++
			}
		}
		for seq := b.First; seq < next; seq++ {
			if have[seq] != 1 {
				t.Fatalf("seq %d is there or lost %d times in %+v", seq, have[seq], *b)
			}
		}
		c.damage = append(c.damage, b.Damage...)
		c.ends, c.open = append(c.ends, b.End), append(c.open, b.Open)
	}
	return c
}

func clone(values []row.Value) []row.Value {
	var all []row.Value
	for _, v := range values {
		all = append(all, row.Value{Text: append([]byte{}, v.Text...), Null: v.Null})
	}
	return all
}

// equal compares rows by everything that counts.
func equal(a, b row.Row) bool {
	if a.Seq != b.Seq || a.Received != b.Received || a.Flags != b.Flags || len(a.Values) != len(b.Values) || a.Schema.Key() != b.Schema.Key() {
		return false
	}
	for i := range a.Values {
		if a.Values[i].Null != b.Values[i].Null || !bytes.Equal(a.Values[i].Text, b.Values[i].Text) {
			return false
		}
	}
	return true
}

// wantAll checks that got are the rows of want, all of them.
func wantAll(t testing.TB, got, want []row.Row) {
	t.Helper()
	if missing := subset(t, got, want); len(missing) > 0 {
		t.Fatalf("rows %v are missing", missing)
	}
}

// subset checks that got are rows of want, unchanged, and returns the seqs of
// those that are missing.
func subset(t testing.TB, got, want []row.Row) (missing []uint64) {
	t.Helper()
	for _, w := range want {
		if len(got) > 0 && got[0].Seq == w.Seq {
			if !equal(got[0], w) {
				t.Fatalf("row is %+v, want %+v", got[0], w)
			}
			got = got[1:]
		} else {
			missing = append(missing, w.Seq)
		}
	}
	if len(got) > 0 {
		t.Fatalf("row %+v was never written", got[0])
	}
	return missing
}

func TestRoundTrip(t *testing.T) {
	s, sum, _ := sealed(t)
	foot, isSealed, err := ReadFooter(s.f)
	ok(t, err)
	if !isSealed || !reflect.DeepEqual(foot, sum) {
		t.Fatalf("footer is %+v, want %+v", foot, sum)
	}
	h, both, err := ReadHeader(s.f)
	ok(t, err)
	if want := header(); !both || !reflect.DeepEqual(*h, want) {
		t.Fatalf("header is %+v, want %+v", *h, want)
	}
	src := source(s.f, &foot)
	src.Schemas = nil // the segment is readable alone
	c := read(t, src, 0)
	wantAll(t, c.rows, wantRows(len(commits)))
	if len(c.damage) > 0 || !reflect.DeepEqual(c.open, []bool{false, false, true, false, false}) {
		t.Fatalf("damage %v, open %v", c.damage, c.open)
	}
	if foot.Tail != (Tail{Number: 3, End: foot.Tail.End, LastSeq: 111, Chain: c.ends[4].Chain}) || foot.Rows != 11 {
		t.Fatalf("tail is %+v", foot.Tail)
	}
	rows, err := Verify(src, &foot, func(d row.Damage) { t.Errorf("damage in a whole segment: %+v", d) })
	if rows != 11 || err != nil {
		t.Fatalf("verified %d rows, error %v", rows, err)
	}
	for from := range uint64(13) {
		got := read(t, source(s.f, &foot), from).rows
		wantAll(t, got, wantRows(len(commits))[min(from, 11):])
	}
}

func TestReaderFollowsAGrowingSegment(t *testing.T) {
	s := write(t, 0)
	sum := s.w.Summary()
	r := NewReader(source(s.f, &sum), 0)
	if b, err := r.Next(); err != io.EOF {
		t.Fatalf("an empty segment gives %+v, error %v", b, err)
	}
	for i := range commits {
		at, err := s.w.Write(block(t, i), received(i), true)
		ok(t, err)
		if r.Offset() != at.Offset {
			t.Fatalf("reader stands at %d, block was written at %d", r.Offset(), at.Offset)
		}
		r.Extend(s.w.End(), s.w.Rows())
		var b *row.Block
		if i%2 == 0 {
			b, err = r.Next()
		} else {
			b, err = r.Supply(at.Bytes)
		}
		ok(t, err)
		if len(b.Rows) != len(commits[i]) || b.Bytes != int64(len(at.Bytes)) || b.End.Chain != at.Chain || b.Damage != nil {
			t.Fatalf("commit %d came back as %+v", i, *b)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("behind the end: %v", err)
		}
	}
	if _, err := r.Supply(make([]byte, disk.Align)); err == nil {
		t.Fatal("zeros were taken for a block")
	}
}

func TestLargeRow(t *testing.T) {
	s := write(t, 0)
	values := []row.Value{{Text: bytes.Repeat([]byte("x"), row.MaxBytes-row.RecordHead-4)}}
	var batch row.Batch
	ok(t, batch.Add(acc, 0, values))
	b := NewBlock(0)
	if b.Fits(batch.Len()) {
		t.Fatal("8 MiB fit into a block that many writers share")
	}
	b.AppendRows(batch.Bytes(), 1)
	_, err := s.w.Write(b, received(0), true)
	ok(t, err)
	sum := s.w.Summary()
	c := read(t, source(s.f, &sum), 0)
	if len(c.rows) != 1 || !bytes.Equal(c.rows[0].Values[0].Text, values[0].Text) {
		t.Fatalf("%d rows, damage %v", len(c.rows), c.damage)
	}
	b.Reset()
	if b.Len() != disk.Align || !b.Empty() || b.Rows() != 0 || !b.Fits(1000) {
		t.Fatal("an emptied block is not empty")
	}
}

func TestIndexLeadsToTheRow(t *testing.T) {
	s := write(t, 0)
	const each, rows = 200 << 10, 60
	for i := range rows {
		var batch row.Batch
		ok(t, batch.Add(acc, 0, []row.Value{{Text: bytes.Repeat([]byte{byte('a' + i%26)}, each)}}))
		b := NewBlock(0)
		b.AppendRows(batch.Bytes(), 1)
		_, err := s.w.Write(b, received(i), i%10 == 9)
		ok(t, err)
	}
	sum := s.w.Summary()
	if n := len(sum.Index); n < 8 || n > 16 {
		t.Fatalf("%d index entries for 12 MiB", n)
	}
	for from := range uint64(rows) {
		r := NewReader(source(s.f, &sum), from)
		if from > 20 && r.Offset() == DataStart {
			t.Fatalf("the search for row %d starts at the beginning", from)
		}
		b, err := r.Next()
		ok(t, err)
		if b.First != 101+from || len(b.Rows) != 1 || b.Rows[0].Values[0].Text[0] != byte('a'+from%26) {
			t.Fatalf("row %d: got seq %d", from, b.First)
		}
	}
}

// TestAdopt holds that a staged transaction gets its place without a copy:
// row numbers in its blocks count from its own first row.
func TestAdopt(t *testing.T) {
	m := disk.NewMem()
	f, err := m.Create("staged")
	ok(t, err)
	staged := Header{Identity: Identity{Epoch: 7, Serial: 43}, Stream: Stream{ID: "0192-stream", Name: "main"}}
	w := NewWriter(f, staged, 1<<20)
	ok(t, w.Define([]*row.Schema{calls, acc}, received(0)))
	for i := range commits {
		_, err := w.Write(block(t, i), received(i), false)
		ok(t, err)
	}
	if _, _, err := ReadHeader(f); err == nil {
		t.Fatal("a staged segment has a header before it is adopted")
	}
	ok(t, w.Flush())
	h := header()
	h.Part, h.Parts = 1, 1
	ok(t, w.Adopt(h))
	got, both, err := ReadHeader(f)
	ok(t, err)
	if !both || got.FirstSeq != 101 || got.Serial != 43 || got.Part != 1 {
		t.Fatalf("adopted header is %+v", got)
	}
	sum := w.Summary()
	wantAll(t, read(t, source(f, &sum), 0).rows, wantRows(len(commits)))
	r, err := Recover(f, *got, 0, nil)
	ok(t, err)
	if r.Summary.Tail != sum.Tail {
		t.Fatalf("recovered tail %+v, want %+v", r.Summary.Tail, sum.Tail)
	}
}

func TestWriterEndsWithItsFirstError(t *testing.T) {
	cause := errors.New("broken")
	for _, kind := range []disk.Kind{disk.CallWrite, disk.CallWriteSync, disk.CallSync} {
		d := disk.NewFaulty(disk.NewMem())
		f, err := d.Create(name)
		ok(t, err)
		w := NewWriter(f, header(), 1<<20)
		ok(t, w.Begin())
		d.Fail(disk.Fault{Kind: kind, N: 1, Err: cause})
		_, _ = w.Write(block(t, 0), received(0), kind == disk.CallWriteSync)
		_ = w.Flush()
		calls := d.Count(disk.AnyCall)
		for _, err := range []error{w.Err(), w.Flush(), w.Mark(0), w.Define([]*row.Schema{calls0}, 0)} {
			if !errors.Is(err, cause) {
				t.Fatalf("%s: later call returns %v", kind, err)
			}
		}
		if d.Count(disk.AnyCall) != calls {
			t.Fatalf("%s: the file was touched after an error", kind)
		}
	}
}

var calls0 = &row.Schema{ID: 9, Table: "zero"}

// TestFlushCoversTheHole holds that a durable block never stands behind one
// that a power cut can take away.
func TestFlushCoversTheHole(t *testing.T) {
	s := write(t, 1)
	_, err := s.w.Write(block(t, 1), received(1), false)
	ok(t, err)
	if s.w.Flushed() {
		t.Fatal("an unflushed block counts as flushed")
	}
	_, err = s.w.Write(block(t, 2), received(2), true)
	ok(t, err)
	if !s.w.Flushed() {
		t.Fatal("a durable block is not flushed")
	}
	for seed := range uint64(50) {
		f, err := s.m.Crash(seed).Open(name, false)
		ok(t, err)
		r, err := Recover(f, header(), 0, nil)
		ok(t, err)
		if r.Summary.Rows != 6 || r.Damage != nil || r.Cut != 0 {
			t.Fatalf("seed %d: recovered %d rows, damage %v, cut %d", seed, r.Summary.Rows, r.Damage, r.Cut)
		}
		ok(t, f.Close())
	}
}

func TestHeaderTooLarge(t *testing.T) {
	h := header()
	for i := range 300 {
		h.Stream.Marks[fmt.Sprint("sink number ", i)] = uint64(i)
	}
	f, err := disk.NewMem().Create(name)
	ok(t, err)
	if err := NewWriter(f, h, 1<<20).Begin(); err == nil {
		t.Fatal("300 sinks fit into a page")
	}
}

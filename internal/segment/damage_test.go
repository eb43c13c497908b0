package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"holdfast/internal/disk"
	"holdfast/row"
)

// TestEveryFlippedBit flips each bit of a sealed segment, one at a time, and
// holds the promise about damage: it is named, it costs at most the row it is
// in, and what is read is what was written, its seq, time and place in a
// transaction included.
func TestEveryFlippedBit(t *testing.T) {
	_, sum, content := sealed(t)
	want := wantRows(len(commits))
	clean := read(t, source(fileOf(t, content), &sum), 0)
	d := disk.NewMem()
	f, err := d.Create(name)
	ok(t, err)
	whole := disk.Buffer(len(content))
	copy(whole, content)
	ok(t, f.WriteAt(whole, 0))
	page := disk.Buffer(disk.Align)
	step := 1
	if testing.Short() {
		step = 16
	}
	for bit := 0; bit < len(content)*8; bit += step {
		at := bit / 8 &^ (disk.Align - 1)
		if inZeros(content, bit/8) && bit%257 != 0 {
			continue // one in 257 of the zeros behind content is enough
		}
		copy(page, content[at:at+disk.Align])
		page[bit/8-at] ^= 1 << (bit % 8)
		ok(t, f.WriteAt(page, int64(at)))
		checkFlipped(t, f, &sum, want, clean, bit)
		ok(t, f.WriteAt(whole[at:at+disk.Align], int64(at)))
	}
}

// inZeros tells whether the byte at and the 32 before it are zero.
func inZeros(content []byte, at int) bool {
	return len(bytes.Trim(content[max(at-32, 0):at+1], "\x00")) == 0
}

func checkFlipped(t *testing.T, f disk.File, sum *Summary, want []row.Row, clean content, bit int) {
	t.Helper()
	var found []row.Damage
	foot, _, ferr := ReadFooter(f)
	if ferr == nil && foot.SHA256 != sum.SHA256 {
		t.Fatalf("bit %d: the footer says another digest", bit)
	}
	if ferr != nil {
		found = append(found, row.Damage{Offset: sum.Tail.End, What: ferr.Error()})
	}
	if _, err := Verify(source(f, sum), sum, func(d row.Damage) { found = append(found, d) }); err != nil {
		t.Fatalf("bit %d: %v", bit, err)
	}
	if len(found) == 0 {
		t.Fatalf("bit %d at offset %d: nobody noticed", bit, bit/8)
	}
	for _, alone := range []bool{false, true} {
		src := source(f, sum)
		if alone {
			src.Schemas = nil
		}
		c := read(t, src, 0)
		missing := subset(t, c.rows, want)
		if len(missing) > 1 {
			t.Fatalf("bit %d at offset %d: costs rows %v; damage %v", bit, bit/8, missing, c.damage)
		}
		if len(missing) == 1 && !named(c.damage, missing[0], int64(bit/8)) {
			t.Fatalf("bit %d at offset %d: row %d is lost, named is %v", bit, bit/8, missing[0], c.damage)
		}
		checkPlaces(t, c, clean, bit)
	}
}

// checkPlaces checks that cursors could go on from the ends of all blocks.
func checkPlaces(t *testing.T, c, clean content, bit int) {
	t.Helper()
	for i, end := range c.ends {
		found := end.Seq == 100 && end.Chain == header().Before.Chain
		for j, e := range clean.ends {
			found = found || e == end && c.open[i] == clean.open[j]
		}
		if !found {
			t.Fatalf("bit %d at offset %d: a block ends at %+v, open %t; want one of %v", bit, bit/8, end, c.open[i], clean.ends)
		}
	}
}

// named tells whether the loss of seq is reported, at most a block in front
// of the damage.
func named(all []row.Damage, seq uint64, at int64) bool {
	for _, d := range all {
		if d.First <= seq && seq <= d.Last && d.Offset <= at && d.Offset > at-disk.Align && d.Segment == 3 && d.Stream == "main" && d.What != "" {
			return true
		}
	}
	return false
}

// TestEveryFlippedBitBeforeSealing holds the same where no footer helps:
// recovery of a segment whose end a marker proves cuts nothing of it.
func TestEveryFlippedBitBeforeSealing(t *testing.T) {
	s := write(t, len(commits))
	ok(t, s.w.Mark(received(9)))
	sum := s.w.Summary()
	content, err := disk.ReadFile(s.m, name, 1<<20)
	ok(t, err)
	want := wantRows(len(commits))
	last := int(sum.Tail.End) - disk.Align // the marker itself is proven by nothing
	for bit := DataStart * 8; bit < last*8; bit++ {
		if inZeros(content, bit/8) && bit%257 != 0 {
			continue
		}
		damaged := bytes.Clone(content)
		damaged[bit/8] ^= 1 << (bit % 8)
		f := fileOf(t, damaged)
		r, err := Recover(f, header(), 0, nil)
		ok(t, err)
		if r.Cut != 0 || r.Summary.Rows != 11 || r.Summary.Tail != sum.Tail || len(r.Summary.Schemas) != 2 {
			t.Fatalf("bit %d at offset %d: cut %d, %d rows, %d schemas, tail %+v, want %+v", bit, bit/8, r.Cut, r.Summary.Rows, len(r.Summary.Schemas), r.Summary.Tail, sum.Tail)
		}
		inPadding := bytes.Equal(read(t, source(f, &r.Summary), 0).dump(), read(t, source(s.f, &sum), 0).dump()) && len(r.Damage) == 0
		if !inPadding && (len(r.Damage) != 1 || r.Damage[0].Offset != int64(bit/8&^(disk.Align-1))) {
			t.Fatalf("bit %d at offset %d: named is %+v", bit, bit/8, r.Damage)
		}
		if missing := subset(t, read(t, source(f, &r.Summary), 0).rows, want); len(missing) > 1 {
			t.Fatalf("bit %d at offset %d: costs rows %v", bit, bit/8, missing)
		}
	}
}

// dump returns the rows and the damage in a form that can be compared.
func (c content) dump() []byte {
	var b bytes.Buffer
	for _, r := range c.rows {
		b.WriteString(r.Schema.Key())
		for _, v := range r.Values {
			b.WriteString(v.String() + "\n")
		}
	}
	for _, d := range c.damage {
		b.WriteString(d.What)
	}
	return b.Bytes()
}

// TestDamagedRegions writes over more than a bit of a segment that a marker
// proves: a page, two, a header. Rows whose bytes are whole are not cut.
func TestDamagedRegions(t *testing.T) {
	s := write(t, len(commits))
	ok(t, s.w.Mark(received(9)))
	sum := s.w.Summary()
	content, err := disk.ReadFile(s.m, name, 1<<20)
	ok(t, err)
	pages := (int(sum.Tail.End) - DataStart) / disk.Align // definitions, five commits, marker
	for first := range pages - 1 {
		for n := 1; first+n < pages; n++ {
			for _, fill := range []byte{0, 0xff, 'x'} {
				damaged := bytes.Clone(content)
				at := DataStart + first*disk.Align
				copy(damaged[at:], bytes.Repeat([]byte{fill}, n*disk.Align))
				f := fileOf(t, damaged)
				r, err := Recover(f, header(), 0, nil)
				ok(t, err)
				if r.Cut != 0 || r.Summary.Tail.End != sum.Tail.End || r.Summary.Rows != 11 || len(r.Damage) == 0 {
					t.Fatalf("pages %d+%d: cut %d, end %d of %d, %d rows, damage %v", first, n, r.Cut, r.Summary.Tail.End, sum.Tail.End, r.Summary.Rows, r.Damage)
				}
				got := read(t, source(f, &sum), 0)
				lost := 0
				for i := range commits {
					if i+1 >= first && i+1 < first+n {
						lost += len(commits[i])
					}
				}
				if missing := subset(t, got.rows, wantRows(len(commits))); len(missing) != lost {
					t.Fatalf("pages %d+%d: rows %v are missing, want %d of them", first, n, missing, lost)
				}
				again, err := Recover(f, header(), sum.Tail.End, nil) // with a successor to prove it all
				ok(t, err)
				if again.Summary.Rows != 11 || again.Summary.Tail.End != sum.Tail.End {
					t.Fatalf("pages %d+%d: with a successor %d rows, end %d", first, n, again.Summary.Rows, again.Summary.Tail.End)
				}
			}
		}
	}
}

// TestTwoHeadersGone writes over the end of one block and the beginning of the
// next. Records are numbered within their block, so that those left of the
// second must not come out as rows of the first.
func TestTwoHeadersGone(t *testing.T) {
	m := disk.NewMem()
	f, err := m.Create(name)
	ok(t, err)
	w := NewWriter(f, header(), 1<<20)
	ok(t, w.Begin())
	ok(t, w.Define(w.Missing([]*row.Schema{calls}), received(0)))
	const each = 30
	for i := range 3 {
		var batch row.Batch
		for k := range each {
			r := calling(fmt.Sprintf("%d %s", i*each+k, strings.Repeat("x", 400)), "1")
			ok(t, batch.Add(r.Schema, 0, r.Values))
		}
		b := NewBlock(0)
		b.AppendRows(batch.Bytes(), batch.Rows())
		_, err := w.Write(b, received(i), true)
		ok(t, err)
	}
	sum := w.Summary()
	content, err := disk.ReadFile(m, name, 1<<20)
	ok(t, err)
	first := DataStart + disk.Align
	second := first + bytes.Index(content[first+1:], []byte("HFBK")) + 1
	for at := first; at <= second; at += disk.Align {
		damaged := bytes.Clone(content)
		clear(damaged[first : first+disk.Align])
		clear(damaged[at : second+disk.Align])
		got := read(t, source(fileOf(t, damaged), &sum), 0)
		named := 0
		for _, r := range got.rows {
			if want := fmt.Sprintf("%d ", r.Seq-101); !strings.HasPrefix(string(r.Values[0].Text), want) {
				t.Fatalf("zeros from %d to %d: seq %d is %.10q", at, second+disk.Align, r.Seq, r.Values[0].Text)
			}
		}
		for _, d := range got.damage {
			if d.First != 0 {
				named += int(d.Last + 1 - d.First)
			}
		}
		if named+len(got.rows) != 3*each || len(got.rows) < each {
			t.Fatalf("zeros from %d: %d rows and %d named of %d", at, len(got.rows), named, 3*each)
		}
	}
}

// TestTornTail loses every subset of the sectors of a block that was being
// written: it is whole, or it is cut, and nothing before it is touched.
func TestTornTail(t *testing.T) {
	s := write(t, 3)
	before := s.w.Tail()
	var batch row.Batch
	for range 30 {
		ok(t, batch.Add(acc, 0, []row.Value{{Text: bytes.Repeat([]byte("y"), 100)}}))
	}
	b := NewBlock(0)
	b.AppendRows(batch.Bytes(), batch.Rows())
	_, err := s.w.Write(b, received(3), false)
	ok(t, err)
	states, torn := 0, 0
	for c := range s.m.Crashes(1 << 12) {
		states++
		f, err := c.Open(name, false)
		ok(t, err)
		r, err := Recover(f, header(), 0, nil)
		ok(t, err)
		if r.Damage != nil {
			t.Fatalf("a torn tail is called damage: %v", r.Damage)
		}
		if r.Summary.Rows == 6 {
			torn++
			if r.Summary.Tail != before || r.Cut != 0 {
				t.Fatalf("tail %+v, cut %d", r.Summary.Tail, r.Cut)
			}
			wantAll(t, read(t, source(f, &r.Summary), 0).rows, wantRows(3))
		} else if r.Summary.Rows != 36 || r.Summary.Tail != s.w.Tail() {
			t.Fatalf("recovered %d rows", r.Summary.Rows)
		}
		ok(t, f.Close())
	}
	if states < 256 || torn == 0 || torn == states {
		t.Fatalf("%d of %d states were torn", torn, states)
	}
}

// TestTruncation cuts a proven segment at every sector: what is left is read,
// and what is missing below the successor's proof is named.
func TestTruncation(t *testing.T) {
	_, sum, content := sealed(t)
	for size := 0; size < len(content); size += 512 {
		f := fileOf(t, content[:size])
		if _, isSealed, err := ReadFooter(f); isSealed && err == nil {
			t.Fatalf("cut at %d: the segment passes for sealed", size)
		}
		if _, _, err := ReadHeader(f); (err == nil) != (size >= disk.Align) {
			t.Fatalf("cut at %d: header: %v", size, err)
		}
		r, err := Recover(f, header(), sum.Tail.End, nil)
		ok(t, err)
		rows := read(t, source(f, &sum), 0).rows
		missing := subset(t, rows, wantRows(len(commits)))
		if len(missing) > 0 && (missing[len(missing)-1] != 111 || len(r.Damage) == 0) {
			t.Fatalf("cut at %d: rows %v are missing, damage %v", size, missing, r.Damage)
		}
		whole := 0
		for i := range commits { // the definitions stand in front
			if DataStart+(i+2)*disk.Align <= size {
				whole += len(commits[i])
			}
		}
		if len(rows) < whole {
			t.Fatalf("cut at %d: %d rows, %d were whole", size, len(rows), whole)
		}
		alone, err := Recover(f, header(), 0, nil)
		ok(t, err)
		if alone.Summary.Rows > 11 || alone.Summary.Tail.End > int64(disk.Up(max(size, DataStart))) {
			t.Fatalf("cut at %d: recovered %+v", size, alone.Summary.Tail)
		}
	}
}

// TestMarkerProves holds what the empty block is for: without it a damaged
// last block is a torn tail, with it it is damage.
func TestMarkerProves(t *testing.T) {
	for _, marked := range []bool{false, true} {
		s := write(t, 2)
		end := s.w.End()
		if marked {
			ok(t, s.w.Mark(received(9)))
		}
		content, err := disk.ReadFile(s.m, name, 1<<20)
		ok(t, err)
		content[end-disk.Align+blockHead+30] ^= 1
		r, err := Recover(fileOf(t, content), header(), 0, nil)
		ok(t, err)
		if marked && (r.Summary.Rows != 4 || len(r.Damage) != 1 || r.Damage[0].Offset != end-disk.Align) {
			t.Fatalf("with a marker: %d rows, damage %v", r.Summary.Rows, r.Damage)
		}
		if !marked && (r.Summary.Rows != 3 || r.Damage != nil) {
			t.Fatalf("without a marker: %d rows, damage %v", r.Summary.Rows, r.Damage)
		}
	}
}

// TestForeignBlocks puts whole blocks where they do not belong.
func TestForeignBlocks(t *testing.T) {
	stale := func(change func(*Header)) []byte {
		h := header()
		change(&h)
		f, err := disk.NewMem().Create(name)
		ok(t, err)
		w := NewWriter(f, h, 1<<20)
		ok(t, w.Begin())
		ok(t, w.Define([]*row.Schema{calls, acc}, received(0)))
		for i := range commits {
			_, err := w.Write(block(t, i), received(i), true)
			ok(t, err)
		}
		ok(t, w.Mark(received(9)))
		b := disk.Buffer(int(w.End()))
		_, err = f.ReadAt(b, 0)
		ok(t, err)
		return b
	}
	live := write(t, 2)
	own, err := disk.ReadFile(live.m, name, 1<<20)
	ok(t, err)
	end := int(live.w.End())
	for _, c := range []struct {
		what   string
		behind []byte // the end of the segment
	}{
		{"a recycled file of an older epoch", stale(func(h *Header) { h.Epoch-- })[end:]},
		{"a recycled file of this epoch", stale(func(h *Header) { h.Serial-- })[end:]},
		{"its own block, misdirected", own[end-disk.Align:]},
		{"both its own blocks, misdirected", own[end-2*disk.Align:]},
		{"garbage", bytes.Repeat([]byte("HFBK"), 2*disk.Align)},
	} {
		f := fileOf(t, append(bytes.Clone(own), c.behind...))
		r, err := Recover(f, header(), 0, nil)
		ok(t, err)
		if r.Summary.Tail != live.w.Tail() || r.Damage != nil || r.Cut != 0 {
			t.Errorf("%s behind the end: recovered %+v, damage %v, cut %d", c.what, r.Summary.Tail, r.Damage, r.Cut)
		}
	}
	// Two segments exchanged: the name says one thing, the blocks another.
	other := stale(func(h *Header) { h.Serial++ })
	r, err := Recover(fileOf(t, append(bytes.Clone(own[:DataStart]), other[DataStart:]...)), header(), 0, nil)
	ok(t, err)
	if r.Summary.Rows != 0 || r.Summary.Tail.End != DataStart {
		t.Errorf("blocks of another segment: %d rows", r.Summary.Rows)
	}
	// A block in the middle that belongs elsewhere is damage.
	mixed := stale(func(*Header) {})
	copy(mixed[DataStart+2*disk.Align:], other[DataStart+2*disk.Align:][:disk.Align])
	if r, err = Recover(fileOf(t, mixed), header(), 0, nil); err != nil || len(r.Damage) != 1 || r.Damage[0].First != 104 || r.Damage[0].Last != 104 {
		t.Errorf("a foreign block in the middle: damage %+v, error %v", r.Damage, err)
	}
}

// TestCutIsReported holds that bytes behind the end which look written are
// told, because every cut is.
func TestCutIsReported(t *testing.T) {
	s := write(t, len(commits))
	content, err := disk.ReadFile(s.m, name, 1<<20)
	ok(t, err)
	last := int(s.w.End()) - disk.Align
	binary.LittleEndian.PutUint32(content[last-disk.Align+4:], 0) // the block before it is torn
	reseal := content[last:]
	binary.LittleEndian.PutUint64(reseal[64:], DataStart) // and was not flushed when it was made
	binary.LittleEndian.PutUint32(reseal[12:], headSum(reseal))
	n := binary.LittleEndian.Uint32(reseal[8:])
	binary.LittleEndian.PutUint32(reseal[4:], crcOf(reseal[8:n]))
	r, err := Recover(fileOf(t, content), header(), 0, nil)
	ok(t, err)
	if r.Cut != 2*disk.Align || r.Damage != nil || r.Summary.Tail.End != int64(last-disk.Align) {
		t.Fatalf("cut %d, damage %v, tail %+v", r.Cut, r.Damage, r.Summary.Tail)
	}
}

// TestRecordOfAnotherRow copies a whole record over its neighbour of the same
// length: it is no row there, whatever its checksum says.
func TestRecordOfAnotherRow(t *testing.T) {
	_, sum, content := sealed(t)
	at := bytes.LastIndex(content, []byte("HFBK")) - disk.Align // frank, grace and heidi
	grace := at + blockHead + int(binary.LittleEndian.Uint32(content[at+blockHead:]))
	n := int(binary.LittleEndian.Uint32(content[grace:]))
	for name, c := range map[string]struct{ from, to int }{"behind": {grace, grace + n}, "before": {grace + n, grace}} {
		b := bytes.Clone(content)
		copy(b[c.to:c.to+n], content[c.from:c.from+n])
		got := read(t, source(fileOf(t, b), &sum), 0)
		missing := subset(t, got.rows, wantRows(len(commits)))
		want := uint64(110)
		if name == "behind" {
			want = 111
		}
		if len(missing) != 1 || missing[0] != want || len(got.damage) != 1 || got.damage[0].First != want {
			t.Errorf("copied %s: rows %v are missing, named is %+v", name, missing, got.damage)
		}
	}
}

// TestRecordsOfAnotherBlock puts the records of one block, header left out,
// over those of another: the same run wrote them, so salt and indexes fit, and
// they are rows of that place all the same.
func TestRecordsOfAnotherBlock(t *testing.T) {
	_, sum, content := sealed(t)
	first := DataStart + disk.Align // behind the definitions
	for to := range commits {
		for from := range commits {
			b := bytes.Clone(content)
			at := first + to*disk.Align
			copy(b[at+blockHead:at+disk.Align], content[first+from*disk.Align+blockHead:first+(from+1)*disk.Align])
			missing := subset(t, read(t, source(fileOf(t, b), &sum), 0).rows, wantRows(len(commits)))
			if want := len(commits[to]); from != to && len(missing) != want {
				t.Errorf("block %d over block %d: rows %v are missing, want %d", from, to, missing, want)
			}
		}
	}
}

func TestVersions(t *testing.T) {
	s := write(t, 1)
	content, err := disk.ReadFile(s.m, name, 1<<20)
	ok(t, err)
	for _, v := range []uint16{0, 2, 3, 65535} {
		b := bytes.Clone(content)
		setVersion(b, v)
		setVersion(b[headerCopy:], v)
		_, _, err := ReadHeader(fileOf(t, b))
		if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "newer") {
			t.Errorf("version %d: %v", v, err)
		}
		b[100] ^= 1 // one copy damaged, the other of the future
		if _, _, err := ReadHeader(fileOf(t, b)); !errors.Is(err, ErrVersion) {
			t.Errorf("version %d beside a damaged copy: %v", v, err)
		}
	}
	b := bytes.Clone(content)
	b[8] ^= 2 // a flipped bit in the version is damage and no version
	if _, both, err := ReadHeader(fileOf(t, b)); err != nil || both {
		t.Errorf("a flipped bit in the version: both copies whole %t, error %v", both, err)
	}
	b[disk.Align+8] ^= 2
	if _, _, err := ReadHeader(fileOf(t, b)); err == nil || errors.Is(err, ErrVersion) {
		t.Errorf("flipped bits in both versions: %v", err)
	}
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// setVersion makes a copy of a header say another version, as a program of
// that version would.
func setVersion(h []byte, v uint16) {
	binary.LittleEndian.PutUint16(h[8:], v)
	binary.LittleEndian.PutUint32(h[16:], headerSum(h[:binary.LittleEndian.Uint32(h[12:])]))
}

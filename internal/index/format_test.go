package index

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/where"
	"holdfast/row"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file anew, and print it for the document")

// example is the slice in the format document: two columns of three rows.
func example(t *testing.T) []byte {
	t.Helper()
	seg := Segment{Number: 3, First: 101, Last: 103, End: 36864, Chain: 1564667473}
	b := newBuilder("0192-stream", seg, []string{"caller", "seconds"}, &runs{})
	s := &row.Schema{ID: 1, Table: "calls", Columns: []row.Column{{Name: "caller", Type: "text"}, {Name: "seconds", Type: "numeric"}}}
	block := &row.Block{Bytes: 4096}
	for i, v := range [][2]string{{"alice", "42"}, {"bob", "7"}, {"alice", "42.0"}} {
		block.Rows = append(block.Rows, row.Row{
			Seq: 101 + uint64(i), Received: 1_700_000_000_000_000, Schema: s, Values: []row.Value{row.Text(v[0]), row.Text(v[1])},
		})
	}
	if err := b.add(block); err != nil {
		t.Fatal(err)
	}
	d := disk.NewMem()
	f := must(d.Create("x"))
	most := b.bound()
	size := must(b.write(f))
	if size > most {
		t.Errorf("the slice has %d bytes, %d were thought enough", size, most)
	}
	buf := disk.Buffer(int(size))
	must(f.ReadAt(buf, 0))
	return buf
}

// TestFormatDocument holds that the slice in the format document is what this
// program writes and reads, byte for byte, and that files of version 1 stay.
func TestFormatDocument(t *testing.T) {
	written := example(t)
	if *rewrite {
		if err := os.WriteFile("testdata/version1.idx", written, 0o644); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(written); at += 16 {
			if line := written[at : at+16]; !bytes.Equal(line, make([]byte, 16)) {
				fmt.Printf("%08x  % x\n", at, line)
			}
		}
	}
	golden := must(os.ReadFile("testdata/version1.idx"))
	if !bytes.Equal(golden, written) {
		t.Error("this program writes other bytes than the golden file of its version has")
	}
	text := string(must(os.ReadFile("../../docs/format.md")))
	m := regexp.MustCompile("(?ms)^```slice\n(.*?)^```$").FindStringSubmatch(text)
	if m == nil {
		t.Fatal("the document shows no slice")
	}
	shown := disk.Buffer(len(golden)) // zeros are left out
	for line := range strings.Lines(m[1]) {
		offset, digits, _ := strings.Cut(strings.TrimSpace(line), "  ")
		copy(shown[must(strconv.ParseInt(offset, 16, 64)):], must(hex.DecodeString(strings.ReplaceAll(digits, " ", ""))))
	}
	if !bytes.Equal(shown, golden) {
		t.Fatal("the document shows other bytes than the golden file has")
	}
	d := disk.NewMem()
	f := must(d.Create("x"))
	if err := f.WriteAt(shown, 0); err != nil {
		t.Fatal(err)
	}
	meta, _, err := readMeta(f, int64(len(shown)))
	if err != nil || meta.Entries != 4 || len(meta.granules) != 1 || len(meta.Sections) != 2 {
		t.Fatalf("it says %+v, error %v", meta, err)
	}
	columns := []row.Column{{Name: "caller", Type: "text"}, {Name: "seconds", Type: "numeric"}}
	for text, want := range map[string][]Range{
		`caller == "alice"`: {{101, 103}}, `caller == "alic"`: {}, `seconds == 42.00`: {{101, 103}}, `seconds > 42`: {{101, 103}}, `seconds > 43`: {},
		`caller == "bob" and seconds < 7`: {{101, 103}}, `caller < "a"`: {},
	} {
		cond := must(where.Compile(text, "calls", columns)).Condition()
		found, err := (&finder{f: &lazy{f: f}, m: meta}).find(cond)
		if got := (&finder{m: meta}).ranges(found, 0); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, error %v, want %v", text, got, err, want)
		}
	}
	for _, name := range []string{strconv.Itoa(pageEntries), strconv.Itoa(mostGranules), strconv.Itoa(mostSections), trailerMagic} {
		if !strings.Contains(text, name) {
			t.Errorf("the document does not name %s", name)
		}
	}
}

// TestBitFlips turns every bit of a slice over: it is noticed, or the answer is
// what it was.
func TestBitFlips(t *testing.T) {
	golden := example(t)
	cond := must(where.Compile(`caller == "alice" and seconds > 41`, "calls", []row.Column{{Name: "caller"}, {Name: "seconds", Type: "numeric"}})).Condition()
	d := disk.NewMem()
	f := must(d.Create("x"))
	noticed := 0
	for bit := range 8 * len(golden) {
		page := bit / 8 &^ (disk.Align - 1)
		if bit%(8*disk.Align) == 0 {
			if err := f.WriteAt(golden, 0); err != nil {
				t.Fatal(err)
			}
		}
		buf := disk.Buffer(disk.Align)
		copy(buf, golden[page:])
		buf[bit/8-page] ^= 1 << (bit % 8)
		if err := f.WriteAt(buf, int64(page)); err != nil {
			t.Fatal(err)
		}
		m, _, err := readMeta(f, int64(len(golden)))
		var found set
		if err == nil {
			found, err = (&finder{f: &lazy{f: f}, m: m}).find(cond)
		}
		switch {
		case errors.Is(err, errBad):
			noticed++
		case err != nil || len(found) != 1 || !found[0]:
			t.Fatalf("bit %d: %v, error %v", bit, found, err)
		}
	}
	if noticed < 8*4096 { // all of the page, and of what follows it
		t.Errorf("only %d flips were noticed", noticed)
	}
}

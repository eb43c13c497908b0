package segment

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"holdfast/row"
)

var fenced = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// examples returns the fenced blocks of one kind in the format document.
func examples(t *testing.T, kind string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/format.md")
	ok(t, err)
	var all []string
	for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
		if m[1] == kind {
			all = append(all, m[2])
		}
	}
	return all
}

// TestFormatDocument decodes the hex examples of the format document, and
// holds that they are the golden file, byte for byte.
func TestFormatDocument(t *testing.T) {
	golden, err := os.ReadFile("testdata/version1.seg")
	ok(t, err)
	shown := make([]byte, len(golden)) // what the document shows, zero elsewhere
	blocks := examples(t, "hex")
	for _, block := range blocks {
		for line := range strings.Lines(block) {
			offset, digits, _ := strings.Cut(strings.TrimSpace(line), "  ")
			at, err := strconv.ParseInt(offset, 16, 64)
			ok(t, err)
			b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
			ok(t, err)
			if !bytes.Equal(b, golden[at:int(at)+len(b)]) {
				t.Errorf("offset %x: the document shows %x, the file has %x", at, b, golden[at:int(at)+len(b)])
			}
			copy(shown[at:], b)
		}
	}
	if len(blocks) != 5 {
		t.Fatalf("the document has %d hex examples, want header, rows, marker, schemas and trailer", len(blocks))
	}
	f := fileOf(t, shown)
	h, both, err := ReadHeader(f)
	if want := header(); err != nil || both || !reflect.DeepEqual(*h, want) {
		t.Fatalf("the header shown is %+v (both %t), error %v", h, both, err)
	}
	// Only the first commit is shown: it and the definitions are a segment.
	r, err := Recover(f, *h, DataStart+2*4096, nil)
	ok(t, err)
	if len(r.Damage) > 0 || len(r.Summary.Schemas) != 2 || r.Summary.Rows != 3 {
		t.Fatalf("recovered %+v, damage %v", r.Summary, r.Damage)
	}
	wantAll(t, read(t, source(f, &r.Summary), 0).rows, wantRows(1))
	marker := int64(bytes.LastIndex(shown, []byte("HFBK")))
	if i, err := parseHead(shown[marker:], h.Identity, marker); err != nil || i.flags != flagMarker || i.flushed != marker {
		t.Fatalf("the marker shown is %+v, error %v", i, err)
	}
	if _, sealed, err := ReadFooter(f); !sealed || err == nil {
		t.Fatalf("the trailer shown is not one: sealed %t, error %v", sealed, err)
	}
}

// TestFormatDocumentFooter holds that the footer shown is the golden file's.
func TestFormatDocumentFooter(t *testing.T) {
	golden, err := os.ReadFile("testdata/version1.seg")
	ok(t, err)
	want, _, err := ReadFooter(fileOf(t, golden))
	ok(t, err)
	shown := examples(t, "json")
	if len(shown) != 1 {
		t.Fatalf("the document shows %d footers", len(shown))
	}
	var compact bytes.Buffer
	ok(t, json.Compact(&compact, []byte(shown[0])))
	got, err := json.Marshal(want)
	ok(t, err)
	if compact.String() != string(got) {
		t.Fatalf("the document shows the footer\n%s\nthe file has\n%s", compact.String(), got)
	}
}

// TestFormatDocumentNumbers holds the limits and constants that the document
// names.
func TestFormatDocumentNumbers(t *testing.T) {
	text, err := os.ReadFile("../../docs/format.md")
	ok(t, err)
	for what, holds := range map[string]bool{
		"24 to 8 MiB":                 row.RecordHead == 24 && row.MaxBytes == 8<<20,
		"at most 4096 in a row":       row.MaxValues == 4096,
		"at most 10 MiB, and 256 KiB": MaxBlock == 10<<20 && Target == 256<<10,
		"trying all 640":              blockHead*8 == 640,
		"1 row, 2 schema, 3 state":    row.KindRow == 1 && row.KindSchema == 2 && row.KindState == 3,
		"| 8 | u16 | version, 1 |":    Version == 1,
		"1 first row of a transaction, 2 last row of one, 4 malformed, 8 first row of a transaction that moves": row.TxBegin == 1 && row.TxEnd == 2 && row.Malformed == 4 && row.Moves == 8,
	} {
		if !holds || !bytes.Contains(text, []byte(what)) {
			t.Errorf("%q: the document has it %t, the code agrees %t", what, bytes.Contains(text, []byte(what)), holds)
		}
	}
}

// TestFormatDocumentManifest holds that the MANIFEST shown has the checksum
// that it should, and names the segment shown.
func TestFormatDocumentManifest(t *testing.T) {
	shown := examples(t, "manifest")
	if len(shown) != 1 {
		t.Fatalf("the document shows %d MANIFESTs", len(shown))
	}
	line, rest, _ := strings.Cut(shown[0], "\n")
	if want := fmt.Sprintf("crc32c %08x\n", crcOf([]byte(line))); rest != want {
		t.Fatalf("second line is %q, want %q", rest, want)
	}
	_, sum, content := sealed(t)
	for _, want := range []string{
		fmt.Sprintf(`"number":3,"size":%d,"first_seq":101,"last_seq":111,"end":%d,"chain":%d,`, len(content), sum.Tail.End, sum.Tail.Chain),
		`"id":"0192-stream","stream":"main","epoch":7,`,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("the MANIFEST shown lacks %s", want)
		}
	}
}

package mcache_test

import (
	"encoding/binary"
	"testing"

	"holdfast/internal/mcache"
)

// FuzzParse reads anything. What it takes for records must lie in the file,
// one behind the other, and end at eof.
func FuzzParse(f *testing.F) {
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, reading := range []string{"a", "b", "c"} {
			b := file(o, reading, 1, samples(1, 3)...)
			f.Add(b[:o.Uint32(b[4:])])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := mcache.Parse(b)
		if err != nil {
			return
		}
		at := c.BOF
		for i, r := range c.Records {
			if len(r.Message) > mcache.MaxMessage {
				t.Fatalf("record %d has a message of %d bytes", i, len(r.Message))
			}
			for k := range mcache.Fields {
				_ = r.Field(k)
			}
			if want := at + uint32(76+len(r.Message)); c.Ends[i] != want && c.Ends[i] != want+4 {
				t.Fatalf("record %d ends at %d, want %d", i, c.Ends[i], want)
			}
			at = c.Ends[i]
		}
		if at != c.EOF {
			t.Fatalf("the last record ends at %d, eof is %d", at, c.EOF)
		}
	})
}

package segment

import (
	"encoding/hex"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"holdfast/internal/disk"
)

// exampleCheckpoint is the one that the format document shows.
var exampleCheckpoint = Checkpoint{
	Count: 5, Identity: Identity{Epoch: 7, Serial: 2}, Number: 3, FirstSeq: 101, Rows: 11, End: 36864,
	Chain: 0x5d434f53, Last: 0x5d434f53, FirstTime: 1700000000000000, LastTime: 1700000000004000, Large: true, StreamID: "0192-stream",
}

// TestFormatDocumentCheckpoint decodes the checkpoint that the document shows,
// and encodes it again.
func TestFormatDocumentCheckpoint(t *testing.T) {
	blocks := examples(t, "checkpoint")
	if len(blocks) != 1 {
		t.Fatalf("the document shows %d checkpoints", len(blocks))
	}
	shown, page := disk.Buffer(disk.Align), disk.Buffer(disk.Align)
	for line := range strings.Lines(blocks[0]) {
		offset, digits, _ := strings.Cut(strings.TrimSpace(line), "  ")
		at, err := strconv.ParseInt(offset, 16, 64)
		ok(t, err)
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		ok(t, err)
		copy(shown[at:], b)
	}
	ok(t, exampleCheckpoint.Encode(page))
	got, err := ParseCheckpoint(shown)
	if err != nil || !reflect.DeepEqual(*got, exampleCheckpoint) || string(page) != string(shown) {
		t.Fatalf("the document shows %+v, %v; it should be\n%s", got, err, hex.Dump(page[:160]))
	}
}

// TestCheckpointFlipped holds that no flipped bit of a checkpoint passes.
func TestCheckpointFlipped(t *testing.T) {
	page := disk.Buffer(disk.Align)
	ok(t, exampleCheckpoint.Encode(page))
	for bit := range checkpointSize * 8 {
		page[bit/8] ^= 1 << (bit % 8)
		if got, err := ParseCheckpoint(page); err == nil {
			t.Errorf("bit %d: %+v", bit, got)
		}
		page[bit/8] ^= 1 << (bit % 8)
	}
	long := exampleCheckpoint
	long.StreamID = strings.Repeat("x", checkpointID+1)
	if long.Encode(page) == nil {
		t.Error("a stream id that does not fit is taken")
	}
}

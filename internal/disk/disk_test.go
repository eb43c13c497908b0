package disk

import (
	"bytes"
	"testing"
)

// TestBuffer holds that each buffer can be read into and written from past the
// page cache, whatever Go's allocator does.
func TestBuffer(t *testing.T) {
	for n := range 40 {
		for _, n := range []int{n, n * Align, n*Align + 1, n << 14} {
			b := Buffer(n)
			if len(b) != Up(n) || cap(b) != len(b) || past(b) != 0 && len(b) > 0 {
				t.Fatalf("of %d bytes: length %d, capacity %d, %d behind a page's begin", n, len(b), cap(b), past(b))
			}
			if len(bytes.Trim(b, "\x00")) != 0 {
				t.Fatalf("of %d bytes: not zeroed", n)
			}
		}
	}
}

package segment

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"unsafe"

	"holdfast/internal/disk"
)

// pagesFile is a file of which only the reading side is there. It insists on
// what direct reads need, and fails each failEach-th read; 0: none.
type pagesFile struct {
	disk.File
	content  []byte
	failEach int64
	reads    atomic.Int64
}

var errPages = errors.New("the disk does not answer")

func (f *pagesFile) ReadAt(b []byte, off int64) (int, error) {
	if off%disk.Align != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%disk.Align != 0 {
		panic("read that is not aligned")
	}
	if n := f.reads.Add(1); f.failEach > 0 && n%f.failEach == 0 {
		return 0, errPages
	}
	if off >= int64(len(f.content)) {
		return 0, io.EOF
	}
	n := copy(b, f.content[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// TestWindow walks over files as readers do, by small and by large blocks, now
// and then somewhere else, and compares what it sees with what is there.
func TestWindow(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		size := r.IntN(12<<20) + 1
		content := make([]byte, size)
		for i := 0; i < size; i += 8 {
			content[i] = byte(r.Uint32())
		}
		f := &pagesFile{content: content, failEach: []int64{0, 0, 3, 7}[seed%4]}
		w := window{f: f, end: disk.Up(int64(size)), stream: seed%3 != 0}
		if seed%5 == 0 {
			w.end = int64(size/2) &^ (disk.Align - 1)
		}
		last := min(w.end, int64(size))
		for pos := int64(0); pos < last; {
			n := 1 + r.IntN([]int{2 * disk.Align, Target, 3 << 20}[r.IntN(3)])
			got, err := w.at(pos, n)
			if err != nil {
				if !errors.Is(err, errPages) {
					t.Fatalf("seed %d: %v", seed, err)
				}
				continue // the same call may be repeated
			}
			if want := content[pos:min(last, pos+int64(n))]; !bytes.Equal(got[:min(len(got), len(want))], want) || len(got) > n {
				t.Fatalf("seed %d: %d bytes at %d of %d are not those of the file (%d)", seed, len(got), pos, last, len(want))
			}
			if pos += disk.Up(int64(n)); r.IntN(20) == 0 {
				pos = r.Int64N(last) &^ (disk.Align - 1)
			}
			if held := len(w.spare) + len(w.ahead); held > 2*readDepth+1 {
				t.Fatalf("seed %d: %d pieces are held", seed, held)
			}
		}
		w.close()
	}
}

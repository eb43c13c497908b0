package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/internal/disk"
)

// sectors is a disk on which one page of one file cannot be read, or, with page
// -1, none of any file.
type sectors struct {
	disk.FS
	name string
	page atomic.Int64
	on   atomic.Bool
}

func (d *sectors) Open(name string, write bool) (disk.File, error) {
	f, err := d.FS.Open(name, write)
	if err != nil || name != d.name && d.page.Load() >= 0 {
		return f, err
	}
	return &sectorFile{f, d}, nil
}

type sectorFile struct {
	disk.File
	d *sectors
}

func (f *sectorFile) ReadAt(p []byte, off int64) (int, error) {
	at := f.d.page.Load() * disk.Align
	if f.d.on.Load() && (at < 0 || off < at+disk.Align && off+int64(len(p)) > at) {
		return 0, &fs.PathError{Op: "read", Path: f.d.name, Err: syscall.EIO}
	}
	return f.File.ReadAt(p, off)
}

// TestBadSector makes one sector of a sealed segment unreadable: it costs the
// row in it, repair gives that one up, and readers pass. A disk of which
// nothing can be read is an error, and no damage.
func TestBadSector(t *testing.T) {
	for _, c := range []struct {
		page int64
		want string
	}{
		{0, "[row 1 row 2 row 3 row 4 row 5 row 6]"},            // a header's copy
		{rowsPage - 1, "[row 1 row 2 row 3 row 4 row 5 row 6]"}, // schemas, which the footer has too
		{rowsPage, "[row 1 row 2 - row 4 row 5 row 6]"},
		{rowsPage + 1, "[row 1 row 2 row 3 - row 5 row 6]"},
	} {
		d := &sectors{FS: threeSegments(t), name: segmentName(2)}
		d.page.Store(c.page)
		d.on.Store(true)
		j := open(t, d, Options{SegmentSize: 64 << 10})
		if got, err := readDamaged(t, j); fmt.Sprint(got) != c.want || err != nil {
			t.Fatalf("page %d: a reader gets %q, %v; want %s", c.page, got, err, c.want)
		}
		repairs(t, j, true)
		r := ruin{want: c.want}
		r.holds(t, j)
		d.page.Store(-1)
		before := len(j.Status().Damage)
		_, err := j.Verify(context.Background(), nil)
		if !errors.Is(err, syscall.EIO) || len(j.Status().Damage) != before {
			t.Errorf("page %d: a disk that is away: %v, damage %+v", c.page, err, j.Status().Damage)
		}
		d.on.Store(false)
		closeJournal(t, j)
	}
}

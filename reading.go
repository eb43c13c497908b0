package holdfast

import (
	"errors"
	"syscall"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

// read leaves only what looks at rows.
func (o *Options) read() {
	for i := range o.Streams {
		s := &o.Streams[i]
		s.Limits, s.Index, s.Cold = Limits{}, Index{}, Cold{}
	}
	o.Sinks, o.Dedupe, o.Requests, o.Scrub, o.ManifestDir = nil, nil, Requests{}, Scrub{}, ""
}

// openDisk opens the data directory.
func (db *DB) openDisk() (disk.FS, error) {
	if !db.o.Reading {
		return disk.OpenReal(db.dir)
	}
	d, err := disk.OpenExisting(db.dir)
	if err != nil {
		return nil, err
	}
	return disk.NewShadow(d), nil
}

// explainDisk says what to do about a start that the file system refused.
func (db *DB) explainDisk(err error) error {
	if !errors.Is(err, syscall.EROFS) {
		return err
	}
	return fault.New(fault.IOError, "data directory %q, or another one of its streams, is on a file system that is read-only", db.dir).Because(err).
		WithHint("where an error of the disk made it so, look at dmesg first; else mount it for writing (mount -o remount,rw); verify, cat, status and repair without --apply work as it is")
}

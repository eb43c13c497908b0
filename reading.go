package holdfast

import "holdfast/internal/disk"

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
	open := disk.OpenReal
	if db.o.Reading {
		open = disk.OpenExisting
	}
	d, err := open(db.dir)
	switch {
	case err != nil:
		return nil, err // and not a *disk.Real that is nil, which is an FS to close
	case db.o.Reading:
		return disk.NewShadow(d), nil
	}
	return d, nil
}

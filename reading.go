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
	if !db.o.Reading {
		return disk.OpenReal(db.dir)
	}
	d, err := disk.OpenExisting(db.dir)
	if err != nil {
		return nil, err
	}
	return disk.NewShadow(d), nil
}

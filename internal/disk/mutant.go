package disk

import (
	"errors"
	"io/fs"
)

// overwrite is Replace as it must not be: it empties the file and writes it
// anew in place. See package mutant.
func overwrite(d FS, dir, name string, content []byte) error {
	if err := ignoreMissing(d.Remove(name + ".tmp")); err != nil {
		return err
	}
	f, err := d.Open(name, true)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = d.Create(name)
	}
	if err != nil {
		return err
	}
	buf := Buffer(len(content))
	copy(buf, content)
	err = f.Truncate(0)
	if err == nil {
		err = f.WriteAt(buf, 0)
	}
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), d.SyncDir(dir))
}

// FlushElsewhere returns f, the file called name at any time, with flushes as
// they must not be: f is closed and another descriptor flushes, which is not
// told of what failed before it was opened. See package mutant.
func FlushElsewhere(d FS, name *string, f File) File { return &flushedElsewhere{f, d, name} }

type flushedElsewhere struct {
	File
	d    FS
	name *string
}

// Sync implements File.
func (f *flushedElsewhere) Sync() error {
	if err := f.File.Close(); err != nil {
		return err
	}
	other, err := f.d.Open(*f.name, true)
	if err != nil {
		return err
	}
	f.File = other
	return other.Sync()
}

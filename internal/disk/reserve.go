package disk

import (
	"errors"
	"io/fs"
)

const (
	reserveName = "RESERVE"
	reserveSize = 64 << 10
)

// KeepReserve sees that the directory d holds some room for ReplaceOnFull. Where
// there is none, it is not kept.
func KeepReserve(d FS) error {
	f, err := d.Open(reserveName, false)
	if err == nil {
		size, serr := f.Size()
		if err = errors.Join(serr, f.Close()); err == nil && size == reserveSize {
			return nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f, err = d.Create(reserveName); err != nil {
		return err
	}
	err = f.WriteAt(Buffer(reserveSize), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, ignoreMissing(d.Remove(reserveName)))
	}
	return nil
}

// ReplaceOnFull is Replace for what operators ask for when the volume is full, to
// make room: it takes the reserve then, and keeps another as soon as there is room.
func ReplaceOnFull(d FS, dir, name string, content []byte) error {
	err := Replace(d, dir, name, content)
	if !IsFull(err) || ignoreMissing(d.Remove(reserveName)) != nil {
		return err
	}
	if err = Replace(d, dir, name, content); err == nil {
		_ = KeepReserve(d) // the next one keeps it, or the next start
	}
	return err
}

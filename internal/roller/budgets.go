package roller

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"holdfast/internal/disk"
	"holdfast/internal/roll"
)

const (
	budgetsName = "BUDGETS"
	maxBudgets  = 1 << 20 // bytes; some ten thousand streams
)

// budgetsFile is the content of BUDGETS: the sizes in use, in bytes, by stream.
type budgetsFile struct {
	Version int              `json:"version"`
	Sizes   map[string]int64 `json:"sizes"`
}

// Budgets takes the sizes that streams are given into use, and returns those
// that hold: a size that is more than a tenth smaller than the one in use is
// ignored, unless force is set. One that was removed is remembered, so that
// what comes after it is compared with it. A damaged file is made anew: it
// removes nothing.
func (r *Roller) Budgets(given map[string]int64, force bool) (map[string]int64, error) {
	var f budgetsFile
	text, err := disk.ReadFile(r.d, budgetsName, maxBudgets)
	if err == nil {
		err = unseal(text, &f)
	}
	switch {
	case errors.Is(err, errDamaged):
		r.o.Log.Warn("the file of sizes in use is damaged, and made anew", "file", budgetsName)
		f = budgetsFile{}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read %s: %w", budgetsName, err)
	}
	if f.Version > version {
		return nil, fmt.Errorf("%s has version %d, this program knows %d: start the newer holdfast that wrote it", budgetsName, f.Version, version)
	}
	holds, note := map[string]int64{}, map[string]int64{}
	maps.Copy(note, f.Sizes)
	for stream, next := range given {
		size, ignored := roll.Resize(roll.Size(note[stream]), roll.Size(next), force)
		holds[stream] = int64(size)
		if ignored {
			r.o.Log.Warn("the stream's size in hot is more than a tenth smaller than before, and ignored",
				"stream", stream, "in_use", size.String(), "ignored", roll.Size(next).String(), "do", "roll: {shrink: true} in the configuration takes it into use")
		}
		if size > 0 {
			note[stream] = int64(size)
		}
	}
	if maps.Equal(note, f.Sizes) {
		return holds, nil
	}
	if text, err = seal(budgetsFile{version, note}); err == nil {
		err = disk.Replace(r.d, "", budgetsName, text)
	}
	if disk.IsFull(err) {
		r.o.Log.Warn("the disk is full; the sizes in use are not noted", "error", err)
		err = nil
	}
	return holds, err
}

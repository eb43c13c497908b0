package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/volume"
)

// The flushes that are timed: so many pages, or for so long, in a file of a MiB
// that is written before, as segments are.
const (
	probeFlushes = 64
	probeTime    = 2 * time.Second
	probeSize    = mib
)

// Flushes that somebody should look at. A platter that turns 7,200 times a
// minute needs 4 ms to come round half way: a rotating disk that is always
// quicker answers from its cache.
const (
	slowP99    = 100 * time.Millisecond
	slowP50    = 30 * time.Millisecond
	turnsAtP50 = time.Millisecond
)

// flushes times flushes once on each mount, in the first place on it that is
// there.
func (x *exam) flushes() {
	seen := map[string]bool{}
	for _, p := range x.places {
		info, err := os.Stat(p.Dir)
		if err != nil || !info.IsDir() || seen[p.Mount] || p.use == useSink || p.use == useSource || p.mount.Has("ro") || x.ctx.Err() != nil {
			continue
		}
		seen[p.Mount] = true
		x.checked("flush", "direct")
		if err := x.probe(p); err != nil {
			f := Finding{Warning, "flush", p.Dir, err.Error(), "nothing can be written there", "make room, or look at the disk", nil}
			if errors.Is(err, fs.ErrPermission) {
				f.Severity, f.Means, f.Do = Note, "flushes were not timed", "run the doctor as root, or as the server's user"
			}
			x.add(f)
		}
	}
}

func (x *exam) probe(p *place) (err error) {
	d, err := disk.OpenExisting(p.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	name := fmt.Sprintf(".holdfast-doctor-%d", os.Getpid())
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), d.Remove(name)) }()
	whole := disk.Buffer(probeSize)
	if err := errors.Join(f.WriteAt(whole, 0), f.Sync()); err != nil {
		return err
	}
	full := filepath.Join(p.Dir, name)
	if !opensDirect(full) {
		x.add(Finding{Note, "direct", p.Dir, "no O_DIRECT on " + p.FileSystem, "rows go through the page cache: correct, and slower", "", nil})
	}
	if !allocates(full) {
		x.add(Finding{Note, "direct", p.Dir, "no fallocate on " + p.FileSystem, "nothing: Holdfast reserves room by writing it", "", nil})
	}
	var took []time.Duration
	page := disk.Buffer(disk.Align)
	for began := time.Now(); len(took) < probeFlushes && time.Since(began) < probeTime && x.ctx.Err() == nil; {
		start := time.Now()
		if err := f.WriteSyncAt(page, int64(len(took))*disk.Align); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	if len(took) > 0 {
		x.judge(p, took)
	}
	return nil
}

// judge says what the times mean.
func (x *exam) judge(p *place, took []time.Duration) {
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	p.FlushP50, p.FlushP99 = p50.Seconds(), p99.Seconds()
	saw := fmt.Sprintf("%d flushes: half within %s, the slowest %s", len(took), p50.Round(time.Microsecond), p99.Round(time.Microsecond))
	device, _ := volume.Block(x.host.sys(), p.mount.Device)
	switch {
	case device.Rotational && !device.Virtual && p50 < turnsAtP50 && p.mount.Kind != "tmpfs":
		x.add(Finding{Warning, "flush", p.Dir, saw + ", on a rotating disk", "no platter turns so fast: unless a controller with a battery is between, the drive says so before it has written, and a power cut loses acknowledged rows",
			"turn off its write cache, or make sure of the battery", []string{"hdparm -W0 /dev/" + device.Name, "smartctl -i /dev/" + device.Name}})
	case p99 > slowP99 || p50 > slowP50:
		x.add(Finding{Warning, "flush", p.Dir, saw, "each writer waits for a flush; many writers share one", "see who else uses the disk; a drive with power-loss protection answers within a tenth of a millisecond", []string{"iostat -x 1 3", "holdfast bench --quick --only '^append' --dir " + quote(p.Dir)}})
	}
}

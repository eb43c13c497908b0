package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"holdfast/internal/disk"
	"holdfast/row"
)

// What Repair does about a damage.
const (
	// MakeGap copies the bytes to the quarantine and gives their rows up.
	MakeGap = "gap"
	// SetAside moves a segment's file that is of no use to the quarantine. The
	// rows that it held are a damage of their own.
	SetAside = "set aside"
	// Renew writes the MANIFEST anew from memory.
	Renew = "renew"
	// Rename gives a misplaced segment's file, which is whole, its own name.
	Rename = "rename"
	// Leave does nothing: no row is lost, and what is acked is never rewritten.
	Leave = "leave"
)

// Repair is one damage, and what is, or would be, done about it.
type Repair struct {
	row.Damage
	Do         string `json:"do"`
	Quarantine string `json:"quarantine,omitempty"` // file in the stream's directory that the bytes go to
	From       string `json:"from,omitempty"`       // name of a misplaced file
	To         string `json:"to,omitempty"`         // the one that it has to have; "": it is of another stream
	Done       bool   `json:"done"`
}

// quarantineChunk is how much is copied at a time; a multiple of disk.Align.
const quarantineChunk = 1 << 20

// Repair reads everything as Verify does and hands each damage to report, with
// what there is to do. With apply set it is done first: the bytes are copied
// aside and durable, then the rows are a gap and that is durable, then readers
// pass over them. Before all else misplaced files get their own names: rows that
// are in one are never a gap. Nothing that is in a gap already is reported. The stream
// goes on meanwhile. An error is the disk's, or report's.
func (j *Journal) Repair(ctx context.Context, apply bool, report func(Repair) error) (Verified, error) {
	j.mending.Lock()
	defer j.mending.Unlock()
	e := examination{j: j, whole: true}
	told, left, err := j.replace(apply)
	for _, r := range told {
		err = errors.Join(err, report(r))
	}
	if err != nil {
		return e.v, fmt.Errorf("repair stream %q: %w", j.o.Name, err)
	}
	astray := misplaced{left, j.ranges(left)}
	err = e.all(ctx, func(s *seg, found []row.Damage) error {
		todo := j.plan(s, astray.beyond(found))
		if apply && len(todo) > 0 {
			if err := j.mend(s, todo); err != nil {
				return fmt.Errorf("repair stream %q: %w", j.o.Name, err)
			}
		}
		for _, r := range todo {
			if err := report(r); err != nil {
				return err
			}
		}
		return nil
	})
	return e.v, err
}

// plan says what to do about damage found in s; nil: in no segment that is listed.
func (j *Journal) plan(s *seg, found []row.Damage) (todo []Repair) {
	for _, d := range found {
		if d.Gap {
			continue
		}
		j.notice(d)
		r := Repair{Damage: d, Do: Leave}
		switch {
		case d.First != 0:
			r.Do = MakeGap
			if d.Length > 0 {
				r.Quarantine = quarantineName(d)
			}
		case s == nil && d.Segment != 0:
			r.Do, r.Quarantine = SetAside, quarantineName(d)
		case s == nil && !j.renewed(d):
			r.Do = Renew
		}
		todo = append(todo, r)
	}
	return todo
}

// renewed tells whether d is of a file that was made anew when Open met it.
func (j *Journal) renewed(d row.Damage) bool {
	for _, have := range j.recovery.Damage {
		if have == d {
			return true
		}
	}
	return false
}

func quarantineName(d row.Damage) string {
	return fmt.Sprintf("%s/%0*d-%d.bin", quarantineDir, numberDigits, d.Segment, d.Offset)
}

// mend does what todo says. Whatever it is cut short by, bytes are in the
// quarantine before their rows are given up, and a gap is there or not.
func (j *Journal) mend(s *seg, todo []Repair) error {
	now := j.o.Now().UnixMicro()
	var given []gap
	for i := range todo {
		r := &todo[i]
		var err error
		switch r.Do {
		case MakeGap:
			if err = j.quarantine(s, r); err == nil {
				d := r.Damage
				d.Gap = true
				given = append(given, gap{d, now, r.Quarantine})
			}
		case SetAside:
			err = j.setAside(r)
		case Renew:
			err = j.saveManifest()
		}
		if err != nil {
			return err
		}
		r.Done = r.Do != Leave
	}
	if len(given) > 0 {
		if err := j.addGaps(given); err != nil {
			return err
		}
	}
	j.forget(todo)
	for _, r := range todo {
		if r.Done {
			j.o.Log.Warn("repaired", "did", r.Do, "stream", r.Stream, "segment", r.Segment, "offset", r.Offset, "length", r.Length,
				"first", r.First, "last", r.Last, "quarantine", r.Quarantine, "what", r.What)
		}
	}
	return nil
}

// forget takes what was mended out of Status. Gaps have gone with addGaps.
func (j *Journal) forget(todo []Repair) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range todo {
		if !r.Done {
			continue
		}
		is := func(d row.Damage) bool { return d.Segment == r.Segment && d.First == r.First && d.What == r.What }
		j.damage = without(j.damage, is)
		j.recovery.Damage = without(j.recovery.Damage, is)
	}
}

// without returns those of all that are not meant, in a slice of its own.
func without(all []row.Damage, meant func(row.Damage) bool) (left []row.Damage) {
	for _, d := range all {
		if !meant(d) {
			left = append(left, d)
		}
	}
	return left
}

// quarantine copies what a damage covers to a file of its own, and describes
// it in another, both durable when it returns. A copy that is there is kept:
// it was made before the disk got worse.
func (j *Journal) quarantine(s *seg, r *Repair) error {
	if r.Quarantine == "" {
		return nil
	}
	if s == nil || !j.hold(s) {
		r.Quarantine = "" // removed meanwhile, by a limit
		return nil
	}
	defer j.leaveSeg(s)
	if err := j.makeQuarantine(j.home); err != nil {
		return err
	}
	from, err := j.openSeg(s)
	if err != nil {
		return err
	}
	defer from.Close()
	size, err := from.Size()
	if err != nil {
		return err
	}
	n := min(r.Length, size-r.Offset)
	if n <= 0 { // the file was cut off before it
		r.Quarantine = ""
		return nil
	}
	if have, err := j.d.Open(r.Quarantine, false); err == nil {
		size, err := have.Size()
		if err = errors.Join(err, have.Close()); err == nil && size >= n {
			return nil
		}
	}
	sum, err := j.copyAside(from, r.Offset, n, r.Quarantine)
	if err != nil {
		return fmt.Errorf("copy %d bytes at offset %d of segment %d aside: %w", n, r.Offset, s.number, err)
	}
	return j.describeAside(j.home, r, sum, from.Bad())
}

// makeQuarantine makes the directory in one of the stream's places.
func (j *Journal) makeQuarantine(at *directory) error {
	if err := at.FS.Mkdir(quarantineDir); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	at.aside = max(at.aside, 0) // the keeper counts it from now on
	return nil
}

// copyAside copies n bytes at off to a new file, and makes it durable under
// its name. It returns their SHA-256.
func (j *Journal) copyAside(from disk.File, off, n int64, name string) (string, error) {
	tmp := name + ".tmp"
	if err := j.d.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	to, err := j.d.Create(tmp)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	in, out := disk.Buffer(quarantineChunk+disk.Align), disk.Buffer(quarantineChunk)
	for at := int64(0); at < n && err == nil; at += quarantineChunk {
		part := min(quarantineChunk, n-at)
		skip := (off + at) % disk.Align
		var got int
		got, err = from.ReadAt(in[:disk.Up(skip+part)], off+at-skip)
		if err == io.EOF && int64(got) >= skip+part {
			err = nil
		}
		clear(out)
		copy(out, in[skip:skip+part])
		sum.Write(out[:part])
		if err == nil {
			err = to.WriteAt(out[:disk.Up(part)], at)
		}
	}
	if err == nil {
		err = to.Truncate(n)
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return "", errors.Join(err, j.d.Remove(tmp))
	}
	if err := j.d.Rename(tmp, name); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), j.d.SyncDir(quarantineDir)
}

// setAside moves the file of a segment that is not listed, on the volume that it
// is on: another one may have no room for it.
func (j *Journal) setAside(r *Repair) error {
	name := segmentName(r.Segment)
	var at *directory
	var f disk.File
	err := error(fs.ErrNotExist)
	for _, at = range j.dirs {
		if f, err = at.FS.Open(name, false); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	r.Length = size
	if err := j.makeQuarantine(at); err != nil {
		return err
	}
	if err := j.describeAside(at, r, "", 0); err != nil {
		return err
	}
	if err := at.FS.Rename(name, r.Quarantine); err != nil {
		return err
	}
	j.account(at, -size)
	return errors.Join(at.FS.SyncDir(quarantineDir), at.FS.SyncDir(""))
}

// describeAside writes beside a quarantined file what it is, and how much of it
// is zeros because the disk could not give the bytes.
func (j *Journal) describeAside(at *directory, r *Repair, sum string, bad int64) error {
	text, err := json.Marshal(struct {
		row.Damage
		StreamID   string `json:"stream_id"`
		SHA256     string `json:"sha256,omitempty"`
		Unreadable int64  `json:"unreadable,omitempty"`
		Made       int64  `json:"made"`
	}{r.Damage, j.id, sum, bad, j.o.Now().UnixMicro()})
	if err != nil {
		return err
	}
	name := r.Quarantine[:len(r.Quarantine)-len(".bin")] + ".json"
	return disk.Replace(at.FS, quarantineDir, name, append(text, '\n'))
}

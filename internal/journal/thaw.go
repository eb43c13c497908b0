package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/manifests"
	"holdfast/internal/segment"
)

// Thawed is a segment that was brought back from a cold tier.
type Thawed struct {
	Stream string `json:"stream"`
	Number uint64 `json:"number"`
	First  uint64 `json:"first_seq"`
	Last   uint64 `json:"last_seq"`
	Rows   uint64 `json:"rows"`
	SHA256 string `json:"sha256"` // of its content, which is as it was sealed
	File   string `json:"file"`   // below the directory that it was brought to
}

// thawedName is the file that says of a data directory that it is one of segments
// which were brought back.
const thawedName = "THAWED"

// BeginThaw makes a directory one that segments are brought back to. It refuses one
// that something else is in: a stream that took new rows since then would have
// segments with holes between them, and rows that were let go would be there again.
func BeginThaw(to disk.FS) error {
	entries, err := to.List("")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name == thawedName {
			return nil
		}
	}
	for _, e := range entries {
		if e.Name != "LOCK" {
			return fault.New(fault.InvalidParameterValue, "there is something else in the directory, %q", e.Name).WithHint("name one that is new or empty, and not the data directory that the segments came from")
		}
	}
	return disk.Replace(to, "", thawedName, []byte("segments were brought back to this directory by holdfast thaw\n"))
}

// Thaw unpacks a file of a cold tier, named by itself or by its manifest, into a
// data directory, where it is a segment again. Every digest is checked, of what
// is there and of what was written. A segment that was brought back already stays.
func Thaw(from cold.Store, name string, to disk.FS) (Thawed, error) {
	name = strings.TrimSuffix(name, manifests.Suffix)
	m, err := ColdManifest(from, name+manifests.Suffix)
	known := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Thawed{}, err
	}
	raw, err := from.Open(name)
	if err != nil {
		return Thawed{}, err
	}
	defer raw.Close()
	if known && m.File != "" {
		if err := sameFile(raw, m.File); err != nil {
			return Thawed{}, spoilt(name, err)
		}
	}
	u, err := segment.Unpack(AsFile(raw))
	if err != nil && !errors.Is(err, cold.ErrAway) {
		return Thawed{}, fault.New(fault.DataCorrupted, "%q: %v", name, err).WithHint("name a file of a cold tier, <stream>.<id>.<number>.seg.zst, or its manifest")
	}
	if err == nil {
		err = u.Check()
	}
	if err != nil {
		return Thawed{}, spoilt(name, err)
	}
	sum, err := intact(u)
	if err != nil {
		return Thawed{}, spoilt(name, err)
	}
	h := sum.Header
	if known && (m.Number != h.Number || m.StreamID != h.Stream.ID || m.SHA256 != "" && sum.SHA256 != "" && m.SHA256 != sum.SHA256) {
		return Thawed{}, fault.New(fault.DataCorrupted, "the manifest of %q is of another segment", name)
	}
	if h.Stream.Name == "" || strings.ContainsAny(h.Stream.Name, "/\\") || strings.HasPrefix(h.Stream.Name, ".") {
		return Thawed{}, fault.New(fault.DataCorrupted, "%q is of a stream that cannot be: %q", name, h.Stream.Name)
	}
	t := Thawed{Stream: h.Stream.Name, Number: h.Number, First: h.FirstSeq, Last: sum.Tail.LastSeq, Rows: sum.Rows, SHA256: sum.SHA256}
	dir := "streams/" + t.Stream
	t.File = dir + "/" + segmentName(t.Number)
	if err := to.Mkdir(dir); err != nil {
		return t, err
	}
	if there, err := hasAlready(to, t.File, sum.SHA256); there || err != nil {
		return t, errors.Join(err, to.SyncDir(dir))
	}
	return t, unpackTo(u, to, dir, t.File)
}

// hasAlready tells whether a segment was brought back before, as it was. It
// refuses where another file stands in its place.
func hasAlready(to disk.FS, name, digest string) (bool, error) {
	f, err := to.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if sum, err := intact(f); err != nil || sum.SHA256 != digest {
		return false, fault.New(fault.InvalidParameterValue, "%q is there already, and is another file", name).Because(err).WithHint("remove it, or bring the file back to another directory")
	}
	return true, nil
}

// spoilt is what a file that is not as it was put is called.
func spoilt(name string, err error) error {
	if errors.Is(err, cold.ErrAway) {
		return err
	}
	return fault.New(fault.DataCorrupted, "%q is damaged: %v", name, err).WithHint("look for another copy of it")
}

// intact reads a segment's footer, and holds all of it against its digest.
func intact(f disk.File) (segment.Summary, error) {
	sum, _, err := segment.ReadFooter(f)
	if err == nil {
		err = segment.CheckDigest(f, &sum)
	}
	return sum, err
}

// unpackTo writes a segment, flushes it, reads it back, and gives it its name.
func unpackTo(u *segment.Unpacked, to disk.FS, dir, name string) error {
	tmp := name + ".thaw-tmp"
	if err := to.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := to.Create(tmp)
	if err != nil {
		return err
	}
	err = unpackAll(u, f)
	if err == nil {
		_, err = intact(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = to.Rename(tmp, name)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", name, errors.Join(err, to.Remove(tmp)))
	}
	return to.SyncDir(dir)
}

func unpackAll(u *segment.Unpacked, f disk.File) error {
	buf := disk.Buffer(1 << 20)
	for off := int64(0); off < u.Index.Size; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), u.Index.Size-off)]
		if n, err := u.ReadAt(part, off); n < len(part) {
			return err
		}
		page := buf[:disk.Up(len(part))]
		clear(page[len(part):])
		if err := f.WriteAt(page, off); err != nil {
			return err
		}
	}
	return errors.Join(f.Truncate(u.Index.Size), f.Sync())
}

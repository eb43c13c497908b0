package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/manifests"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
)

// ColdPrefix is what the names of a stream's files in a cold tier begin with.
func ColdPrefix(stream string) string { return stream + "." }

// coldName is what a segment is called in a cold tier, which streams, and data
// directories, may share.
func (j *Journal) coldName(number uint64) string {
	return ColdPrefix(j.o.Name) + j.id + "." + packedName(number)
}

// errNotCold says that a segment would leave without a copy in the cold tier.
var errNotCold = errors.New("it is not in the cold tier yet")

// errOther says that the cold tier has something else under a segment's name.
var errOther = errors.New("another file stands there in the cold tier")

// Cold tells whether a copy of a segment stands in the cold tier, as far as this
// run knows.
func (j *Journal) Cold(number uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.segs, func(s *seg) bool { return s.number == number })
	return j.o.Cold == nil || i >= 0 && j.segs[i].to == j.o.Cold.Where()
}

// unwaive forgets that a segment which is back was to leave without a copy.
func (s *seg) unwaive() {
	if s.to == manifests.Nowhere {
		s.to = ""
	}
}

// Chill puts a packed copy of a sealed segment into the cold tier, and its
// manifest behind it, unless both are there. The copy was flushed and read back
// when the manifest is written. The segment stays until a roll lets it go. It
// returns how many bytes were put.
func (j *Journal) Chill(number uint64) (int64, error) {
	s := j.sealedSeg(number)
	if s == nil {
		return 0, fmt.Errorf("segment %d of stream %q: %w", number, j.o.Name, ErrChanged)
	}
	defer j.leaveSeg(s)
	n, err := j.chill(s)
	if err != nil {
		return 0, fmt.Errorf("copy segment %d of stream %q to the cold tier %q: %w", number, j.o.Name, j.o.Cold.Where(), err)
	}
	j.mu.Lock()
	s.to = j.o.Cold.Where()
	j.mu.Unlock()
	return n, nil
}

// sealedSeg returns a sealed segment, held; nil where it is none.
func (j *Journal) sealedSeg(number uint64) *seg {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.segs, func(s *seg) bool { return s.number == number })
	if i < 0 || i == len(j.segs)-1 || j.segs[i].w != nil || !j.segs[i].sealed {
		return nil
	}
	j.segs[i].readers++
	return j.segs[i]
}

func (j *Journal) chill(s *seg) (put int64, err error) {
	name := j.coldName(s.number)
	m, err := j.manifestOf(s)
	if err != nil {
		return 0, err
	}
	there, err := ColdManifest(j.o.Cold, name+manifests.Suffix)
	known := err == nil
	switch {
	case known:
		m, err = there, j.stands(s, name, &there)
	case errors.Is(err, fs.ErrNotExist):
		m.Filename, m.Gone = name, nil
		m.File, m.Size, put, err = j.putData(s, name)
	}
	if err != nil {
		return 0, err
	}
	text, err := m.Encode()
	if err != nil {
		return 0, err
	}
	err = j.o.Cold.Put(name+manifests.Suffix, false, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if known && errors.Is(err, fs.ErrExist) { // now it is durable, too
		return 0, nil
	}
	if err == nil {
		err = j.sameManifest(name, text)
	}
	return put + int64(len(text)), err
}

// putData puts a segment, packed, into the cold tier, and reads it back. What
// stands there without a manifest an earlier attempt has put: where it is the
// segment it stays, else it is replaced. It returns the SHA-256 of what is there,
// its size, and how many bytes of it were put now.
func (j *Journal) putData(s *seg, name string) (sum string, size, put int64, err error) {
	f, err := j.o.Cold.Open(name)
	replace := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", 0, 0, err
	}
	if replace {
		if sum, size, err = digestOf(f); err == nil {
			err = j.compareFile(AsFile(f), s, nil)
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil || errors.Is(err, cold.ErrAway) {
			return sum, size, 0, err
		}
	}
	p, sum, size, err := j.putPacked(s, name, replace)
	if err == nil && !mutant.On(32) {
		err = j.compareCold(s, name, &p, sum)
	}
	return sum, size, size, err
}

// putPacked puts a segment into the cold tier, and returns the SHA-256 of what
// was put.
func (j *Journal) putPacked(s *seg, name string, replace bool) (p segment.Packed, sum string, size int64, err error) {
	from, err := j.openFile(s, false)
	if err != nil {
		return p, "", 0, err
	}
	defer from.Close()
	err = j.o.Cold.Put(name, replace, func(w io.Writer) (err error) {
		hash := sha256.New()
		p, size, err = segment.Pack(from, io.MultiWriter(w, hash))
		sum = hex.EncodeToString(hash.Sum(nil))
		return err
	})
	return p, sum, size, err
}

// stands holds what stands in the cold tier under a segment's name, which an
// earlier attempt put there, against the segment.
func (j *Journal) stands(s *seg, name string, there *manifests.Manifest) error {
	j.mu.Lock()
	same := there.StreamID == j.id && there.Number == s.number && there.ID1 == s.first && there.ID2 == s.last()
	j.mu.Unlock()
	if !same {
		return errOther
	}
	err := j.compareCold(s, name, nil, there.File)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.DataCorrupted, "its manifest stands there, and the file does not").WithHint("whoever takes files away removes the manifest first: remove %q", name+manifests.Suffix)
	}
	return err
}

// sameManifest reads a manifest back.
func (j *Journal) sameManifest(name string, text []byte) error {
	m, err := ColdManifest(j.o.Cold, name+manifests.Suffix)
	if err != nil {
		return err
	}
	if back, err := m.Encode(); err != nil || !bytes.Equal(back, text) {
		return errors.Join(errors.New("the manifest is not what was written"), err)
	}
	return nil
}

// compareCold reads a copy back, and holds it against the segment, its digest,
// what was packed, and the SHA-256 of what was put.
func (j *Journal) compareCold(s *seg, name string, p *segment.Packed, sum string) error {
	f, err := j.o.Cold.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sameFile(f, sum); err != nil {
		return err
	}
	return j.compareFile(AsFile(f), s, p)
}

// sameFile reads a file, and holds it against its SHA-256.
func sameFile(f cold.File, sum string) error {
	got, _, err := digestOf(f)
	if err == nil && got != sum {
		err = fmt.Errorf("the copy is not what was written: its SHA-256 is %s, and should be %s", got, sum)
	}
	return err
}

// digestOf reads a file, and returns its SHA-256 and its size.
func digestOf(f cold.File) (string, int64, error) {
	size, err := f.Size()
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	n, err := io.CopyBuffer(hash, io.NewSectionReader(f, 0, size), make([]byte, 1<<20))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

// ColdManifest reads a manifest in a cold tier. The error wraps fs.ErrNotExist
// where there is none.
func ColdManifest(from cold.Store, name string) (m manifests.Manifest, err error) {
	f, err := from.Open(name)
	if err != nil {
		return m, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return m, err
	}
	if size > manifests.MaxSize {
		return m, manifests.ErrDamaged
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(io.NewSectionReader(f, 0, size)); err != nil {
		return m, err
	}
	return manifests.Decode(text.Bytes())
}

// AsFile returns a file of a cold tier as one of a disk that nobody writes.
func AsFile(f cold.File) disk.File { return coldFile{f} }

// coldFile is what AsFile returns.
type coldFile struct{ cold.File }

var errReadOnly = errors.New("a file in the cold tier is not written")

func (coldFile) WriteAt([]byte, int64) error     { return errReadOnly }
func (coldFile) WriteSyncAt([]byte, int64) error { return errReadOnly }
func (coldFile) Sync() error                     { return errReadOnly }
func (coldFile) Truncate(int64) error            { return errReadOnly }

// whereTo returns where a segment that is gone went.
func (j *Journal) whereTo(number uint64, to string) string {
	if to == "" || to == manifests.Nowhere {
		return manifests.Nowhere
	}
	return to + j.coldName(number)
}

// inCold is whereTo, and "" for what is in no cold tier.
func (j *Journal) inCold(number uint64, to string) string {
	if to = j.whereTo(number, to); to == manifests.Nowhere {
		return ""
	}
	return to
}

// wentCold finds out where a segment went of which a crash has forgotten that:
// the last roll tells, or else the cold tier. What does not answer says nothing.
func (j *Journal) wentCold(number uint64) (string, error) {
	if j.o.Cold == nil {
		return "", nil
	}
	if c := j.o.Cut; c != nil && c.ID == j.id && slices.Contains(c.Doomed, number) {
		return c.where(number), nil
	}
	m, err := ColdManifest(j.o.Cold, j.coldName(number)+manifests.Suffix)
	switch {
	case err == nil && m.StreamID == j.id && m.Number == number:
		return j.o.Cold.Where(), nil
	case err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, manifests.ErrDamaged):
		return "", nil
	}
	return "", err
}

// destinedLocked notes in a cut where its segments go, after asking of each once
// more whether a copy stands there. Given are those that may go without one.
func (p *Prepared) destinedLocked() error {
	if p.j.o.Cold == nil {
		p.Cut.Waived = nil
		return nil
	}
	p.Cut.To = p.j.o.Cold.Where()
	for _, s := range p.segs {
		if waived := slices.Contains(p.Cut.Waived, s.number); !waived && s.to != p.Cut.To && s.rows > 0 {
			return fmt.Errorf("segment %d of stream %q: %w: %w", s.number, p.j.o.Name, errKept, errNotCold)
		}
	}
	for _, s := range p.segs {
		s.to = p.Cut.where(s.number)
	}
	return nil
}

// where tells where a segment that a cut lets go has gone.
func (c *Cut) where(number uint64) string {
	if c.To == "" || slices.Contains(c.Waived, number) {
		return manifests.Nowhere
	}
	return c.To
}

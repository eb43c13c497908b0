package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"

	"holdfast/internal/disk"
)

// hashChunk is how much is written before the hasher takes it: it wakes rarely,
// and still finds everything in the ring.
const hashChunk = 512 << 10

// digest is the SHA-256 of a segment's first off bytes.
type digest struct {
	h   hash.Hash
	off int64
	err error
}

func newDigest() *digest { return &digest{h: sha256.New()} }

// hashAlong is the hasher: it computes the digests of segments while they are
// written, from memory, so that sealing one need not read it back while the
// disk has rows to take.
func (j *Journal) hashAlong() {
	defer close(j.hashed)
	var buf hashBuffers
	for {
		for more := true; more; {
			j.saveCheckpoint()
			more = j.hashOne(&buf)
		}
		select {
		case <-j.hashWake:
		case <-j.ended:
			return
		}
	}
}

// hashBuffers are the hasher's, for the next bytes.
type hashBuffers struct {
	block []byte // a block from memory
	chunk []byte // some of the file, aligned
}

// hashOne takes what is there of the oldest segment that is not hashed. It
// returns false where that is not worth it yet.
func (j *Journal) hashOne(buf *hashBuffers) bool {
	s, d, end, last := j.toHash()
	if s == nil {
		return false
	}
	for d.err == nil && d.off < end {
		j.hashSome(s, d, end, buf)
	}
	if !last && d.err == nil {
		return true
	}
	j.mu.Lock()
	s.hashing, s.sum = nil, d
	j.mu.Unlock()
	j.chore()
	return true
}

// toHash returns the oldest segment with enough to be hashed, up to where, and
// whether that is its end.
func (j *Journal) toHash() (s *seg, d *digest, end int64, last bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segs {
		if s.hashing == nil {
			continue
		}
		last = s.w == nil
		if last || s.end-s.hashedTo >= hashChunk {
			s.hashedTo = s.end
			return s, s.hashing, s.end, last
		}
		return nil, nil, 0, false
	}
	return nil, nil, 0, false
}

// hashSome takes the next block from memory, or, where it is not there, what
// stands in the file up to the next one that is.
func (j *Journal) hashSome(s *seg, d *digest, end int64, buf *hashBuffers) {
	if b := j.ring.get(ringKey{s.number, d.off}, buf.block); b != nil && d.off+int64(len(b)) <= end {
		buf.block = b
		d.h.Write(b)
		d.off += int64(len(b))
		return
	}
	f, err := j.openFile(s, false)
	if err != nil {
		d.err = err
		return
	}
	if buf.chunk == nil {
		buf.chunk = disk.Buffer(hashChunk)
	}
	chunk := buf.chunk[:min(j.ring.after(s.number, d.off, end)-d.off, hashChunk)]
	n, err := f.ReadAt(chunk, d.off)
	d.h.Write(chunk[:n])
	d.off += int64(n)
	d.err = errors.Join(err, f.Close())
}

// sumLocked returns the digest that was computed along, "" where there is none
// and sealing must read the segment back.
func (s *seg) sumLocked() string {
	if s.sum == nil || s.sum.err != nil || s.sum.off != s.end {
		return ""
	}
	return hex.EncodeToString(s.sum.h.Sum(nil))
}

// hashSoon tells the hasher that there is something for it.
func (j *Journal) hashSoon() {
	select {
	case j.hashWake <- struct{}{}:
	default:
	}
}

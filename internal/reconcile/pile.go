package reconcile

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// record is what is kept of a row: 24 bytes, whatever its values are.
type record struct {
	digest, key uint64
	tag         uint64 // of a row that was made: its seq; of one that was read: where
}

const (
	recordSize = 24
	// yields marks the seq of a row that is left out where its key is taken; in
	// between stands the number of its table.
	yields    = 1 << 63
	seqBits   = 48
	maxTables = 1 << (63 - seqBits)
	// perPart is about how many records are in memory at once.
	perPart = 1 << 18
	// maxParts bounds how many files are open at once.
	maxParts = 512
)

// pile is records in temporary files, parted by their digests, so that equal
// ones meet however many there are.
type pile struct {
	files   []*os.File
	writers []*bufio.Writer
}

// partsFor returns how many parts a pile of n records needs.
func partsFor(n uint64) int {
	parts := 1
	for parts < maxParts && uint64(parts)*perPart < n {
		parts *= 2
	}
	return parts
}

func newPile(dir, name string, parts int) (*pile, error) {
	p := &pile{}
	for i := range parts {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%s.%03d", name, i)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.files, p.writers = append(p.files, f), append(p.writers, bufio.NewWriterSize(f, 8<<10))
	}
	return p, nil
}

func (p *pile) add(r record) error {
	var b [recordSize]byte
	binary.LittleEndian.PutUint64(b[0:], r.digest)
	binary.LittleEndian.PutUint64(b[8:], r.key)
	binary.LittleEndian.PutUint64(b[16:], r.tag)
	_, err := p.writers[r.digest%uint64(len(p.writers))].Write(b[:])
	return err
}

// part returns the records of a part, sorted.
func (p *pile) part(i int) ([]record, error) {
	if err := p.writers[i].Flush(); err != nil {
		return nil, err
	}
	size, err := p.files[i].Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := p.files[i].Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	all := make([]record, 0, size/recordSize)
	in := bufio.NewReaderSize(p.files[i], 64<<10)
	var b [recordSize]byte
	for {
		if _, err := io.ReadFull(in, b[:]); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		all = append(all, record{binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])})
	}
	if _, err := p.files[i].Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b record) int {
		switch {
		case a.digest != b.digest:
			return cmp.Compare(a.digest, b.digest)
		case (a.tag^b.tag)&yields != 0: // rows that must be there first
			return cmp.Compare(a.tag&yields, b.tag&yields)
		}
		return cmp.Compare(a.tag, b.tag)
	})
	return all, nil
}

// seq returns the seq of a row that was made.
func (r record) seq() uint64 { return r.tag & (1<<seqBits - 1) }

// table returns the number of its table.
func (r record) table() int { return int(r.tag &^ yields >> seqBits) }

func (p *pile) close() error {
	if p == nil {
		return nil
	}
	var errs []error
	for _, f := range p.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

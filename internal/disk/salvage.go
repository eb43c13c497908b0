package disk

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
)

// Salvaged is a file that is read around its bad sectors: a page that the
// medium does not give any more reads as zeros, which no checksum passes, so
// that one bad sector costs what stood in it and not the file. Where nothing
// at all can be read the disk is away, and the error is the caller's.
type Salvaged struct {
	File
	bad atomic.Int64
}

// Salvage returns f read around its bad sectors.
func Salvage(f File) *Salvaged { return &Salvaged{File: f} }

// Bad returns how many bytes were read as zeros, those read again included.
func (s *Salvaged) Bad() int64 { return s.bad.Load() }

// isMedium tells whether err says that the medium cannot give the bytes.
func isMedium(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENODATA)
}

// ReadAt implements File.
func (s *Salvaged) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.File.ReadAt(p, off)
	if err == nil || !isMedium(err) {
		return n, err
	}
	good, bad := 0, int64(0)
	for at := 0; at < len(p); at += Align {
		page := p[at:min(len(p), at+Align)]
		n, e := s.File.ReadAt(page, off+int64(at))
		switch {
		case isMedium(e):
			clear(page)
			bad += int64(len(page))
		case e == io.EOF:
			s.bad.Add(bad)
			return at + n, io.EOF
		case e != nil:
			return at, e
		default:
			good++
		}
	}
	if good == 0 && !s.answers() {
		return 0, err
	}
	s.bad.Add(bad)
	return len(p), nil
}

// answers tells whether the disk gives either of the file's first two pages:
// one sector may be bad, all of them are not.
func (s *Salvaged) answers() bool {
	page := Buffer(Align)
	for at := int64(0); at <= Align; at += Align {
		if _, err := s.File.ReadAt(page, at); err == nil || err == io.EOF {
			return true
		}
	}
	return false
}

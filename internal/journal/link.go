package journal

import (
	"holdfast/internal/segment"
	"holdfast/row"
)

// Link is what ties a stream's rows to those of other streams: the name of a
// column with a rising id, or LinkTime.
type Link string

// LinkTime ties streams by the time of receipt, in Unix microseconds.
const LinkTime Link = "time"

// column returns the column that links are read from; "" where there is none.
func (l Link) column() string {
	if l == LinkTime {
		return ""
	}
	return string(l)
}

// links returns the links of rows that are handed over.
func (j *Journal) links(b *row.Batch) segment.LinkRange {
	column := j.o.Link.column()
	if column == "" {
		return segment.LinkRange{}
	}
	return segment.LinksOf(b.Bytes(), b.Schemas(), column)
}

// unlearnedLocked returns a sealed segment whose links are not known, because
// it was written when the stream had no link, or another one.
func (j *Journal) unlearnedLocked() *seg {
	for _, s := range j.segs {
		if s.sealed && !j.learnedLocked(s) {
			return s
		}
	}
	return nil
}

// learnedLocked tells whether a segment's links are known.
func (j *Journal) learnedLocked(s *seg) bool {
	return s.link.Column == j.o.Link.column() || j.o.Link.column() == ""
}

// learnLinks reads one segment whose links are not known. Until all are, the
// segment counts as one that is written to, and is not rolled.
func (j *Journal) learnLinks() error {
	j.mu.Lock()
	s := j.unlearnedLocked()
	j.mu.Unlock()
	if s == nil || !j.hold(s) {
		return nil
	}
	defer j.leaveSeg(s)
	if err := j.describeSeg(s); err != nil {
		return err
	}
	f, err := j.openFile(s, false)
	if err != nil {
		return err
	}
	defer f.Close()
	j.mu.Lock()
	h, end := s.header, s.end
	j.mu.Unlock()
	h.Stream.Link = j.o.Link.column()
	r, err := segment.Recover(f, h, end, nil)
	if err != nil {
		return err
	}
	j.mu.Lock()
	s.link = r.Summary.Link
	j.unsaved++
	j.mu.Unlock()
	j.chore()
	return nil
}

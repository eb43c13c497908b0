package segment

import (
	"fmt"
	"io"

	"holdfast/internal/disk"
	"holdfast/row"
)

// Verify reads everything of a segment up to src.End, checks every checksum,
// and hands each thing wrong to report. With footer set the digest in it is
// compared too. It returns how many rows are readable. An error is the disk's.
func Verify(src Source, footer *Summary, report func(row.Damage)) (uint64, error) {
	name := func(off int64, what string, args ...any) row.Damage {
		return row.Damage{
			Stream: src.Header.Stream.Name, Segment: src.Header.Number, Offset: off, What: fmt.Sprintf(what, args...),
		}
	}
	found := 0
	tell := func(d row.Damage) {
		found++
		report(d)
	}
	if _, both, err := ReadHeader(src.File); err != nil {
		tell(name(0, "%v", err))
	} else if !both {
		d := name(0, "one of the two copies of the segment header is damaged; the other one is used")
		d.Length = headerSize
		tell(d)
	}
	rows := uint64(0)
	r := NewReader(Source{File: src.File, Header: src.Header, End: src.End, Rows: src.Rows, Schemas: src.Schemas}, 0)
	defer r.Close()
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return rows, err
		}
		rows += uint64(len(b.Rows))
		for _, d := range b.Damage {
			tell(d)
		}
	}
	if footer == nil {
		return rows, nil
	}
	sum, err := digest(src.File, src.End)
	if err != nil {
		return rows, err
	}
	if found == 0 && sum != footer.SHA256 {
		tell(name(0, "SHA-256 of the content differs from the footer's; no row is affected"))
	}
	return rows, checkPadding(src.File, footer, name, tell)
}

// CheckDigest holds the content of a sealed segment against its footer's digest.
func CheckDigest(f disk.File, s *Summary) error {
	sum, err := digest(f, s.Tail.End)
	if err == nil && sum != s.SHA256 {
		err = fmt.Errorf("the content of segment %d has another digest than when it was sealed: it is damaged", s.Header.Number)
	}
	return err
}

// checkPadding makes sure that nothing but zeros stands between footer and trailer.
func checkPadding(f disk.File, s *Summary, name func(int64, string, ...any) row.Damage, tell func(row.Damage)) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	buf := disk.Buffer(int(size - s.Tail.End))
	n, err := f.ReadAt(buf, s.Tail.End)
	if err != nil && err != io.EOF {
		return err
	}
	if n < trailerSize {
		return nil
	}
	end := 0 // the footer is JSON: its end is the last byte that is not zero, before the trailer
	for i, c := range buf[:n-trailerSize] {
		if c != 0 {
			end = i + 1
		}
	}
	if want := footerLength(buf[:n]); end > want {
		tell(name(s.Tail.End+int64(end)-1, "bytes between footer and trailer are not zero; no row is affected"))
	}
	return nil
}

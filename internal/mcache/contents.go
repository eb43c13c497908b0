package mcache

import (
	"fmt"
	"strings"
)

// Contents is what a file holds that was not read yet.
type Contents struct {
	Header
	Reading Reading
	Records []Record
	Ends    []uint32 // where each record ends
}

// Parse reads a whole file. What stands behind its eof does not matter. The
// records point into file. Where no reading lands on eof it returns an error
// that says where each of them goes wrong.
func Parse(file []byte) (*Contents, error) {
	h, err := ParseHeader(file)
	if err != nil {
		return nil, err
	}
	if int64(h.EOF) > int64(len(file)) {
		return nil, fmt.Errorf("it has %d bytes, its eof is %d", len(file), h.EOF)
	}
	var fits []*Contents
	var misses []string
	for _, reading := range []Reading{A, B, C} {
		c := &Contents{Header: h, Reading: reading}
		if err := c.walk(file); err != nil {
			misses = append(misses, fmt.Sprintf("reading %s: %v", reading, err))
			continue
		}
		fits = append(fits, c)
	}
	if len(fits) == 0 {
		return nil, fmt.Errorf("no reading of its records lands on its eof: %s", strings.Join(misses, "; "))
	}
	return choose(fits, file), nil
}

// walk reads the records from bof to eof.
func (c *Contents) walk(file []byte) error {
	for at := c.BOF; at < c.EOF; {
		r, n, err := parseRecord(file[at:c.EOF], c.Order, c.Reading)
		if err != nil {
			return fmt.Errorf("record at %d: %w", at, err)
		}
		at += uint32(n)
		c.Records, c.Ends = append(c.Records, r), append(c.Ends, at)
	}
	return nil
}

// choose returns the likeliest of several readings that land on eof: one whose
// messages all begin with their first field, and that gets from the beginning
// of the file to bof as well.
func choose(fits []*Contents, file []byte) *Contents {
	best, most := fits[0], -1
	for _, c := range fits {
		points := 2
		for i := range c.Records {
			if c.Records[i].Offsets[0] != 0 {
				points = 0
			}
		}
		read := &Contents{Header: Header{Order: c.Order, BOF: headerSize, EOF: c.BOF}, Reading: c.Reading}
		if read.walk(file) == nil {
			points++
		}
		if points > most {
			best, most = c, points
		}
	}
	return best
}

package segment

import (
	"encoding/binary"
	"slices"

	"holdfast/row"
)

// LinkRange is the lowest and the highest value of a stream's link column in
// some rows. A value that is no 64-bit integer is no link.
type LinkRange struct {
	Column string `json:"column"`
	Rows   uint64 `json:"rows"` // how many have a link; 0: First and Last mean nothing
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
}

// Add takes one link into the range.
func (l *LinkRange) Add(link int64) {
	if l.Rows == 0 {
		l.First, l.Last = link, link
	}
	l.First, l.Last = min(l.First, link), max(l.Last, link)
	l.Rows++
}

// Join takes the links of other into the range.
func (l *LinkRange) Join(other LinkRange) {
	if other.Rows == 0 {
		return
	}
	n := l.Rows
	l.Add(other.First)
	l.Add(other.Last)
	l.Rows = n + other.Rows
}

// Watermark is what rolls have cut off a stream: rows up to the seq End whose
// link is below it are gone, whether or not their bytes are. Those behind
// Through are hidden only once every sink has them.
type Watermark struct {
	Link    string `json:"link"` // the column, or "time"
	Below   int64  `json:"below"`
	Through uint64 `json:"through"`
	End     uint64 `json:"end"`
	Roll    uint64 `json:"roll"` // serial of the roll that set it
}

// fewSchemas is up to how many schemas of a batch are looked up once, without
// memory of their own.
const fewSchemas = 8

// LinksOf returns the links of records, whose schemas are all there. It costs
// a look at one value in each row, and no memory.
func LinksOf(records []byte, schemas []*row.Schema, column string) LinkRange {
	l := LinkRange{Column: column}
	var few [fewSchemas]int
	for i := range min(len(schemas), fewSchemas) {
		few[i] = columnOf(schemas[i].Columns, column)
	}
	for len(records) >= row.RecordHead {
		n := int(binary.LittleEndian.Uint32(records))
		if n < row.RecordHead || n > len(records) {
			break
		}
		id, at := row.SchemaOf(records), -1
		for i, s := range schemas {
			if s.ID != id {
				continue
			}
			if at = few[min(i, fewSchemas-1)]; i >= fewSchemas {
				at = columnOf(s.Columns, column)
			}
			break
		}
		if link, ok := row.LinkAt(records[:n], at); ok {
			l.Add(link)
		}
		records = records[n:]
	}
	return l
}

// columnOf returns where a column is, -1 where it is not.
func columnOf(columns []row.Column, name string) int {
	return slices.IndexFunc(columns, func(c row.Column) bool { return c.Name == name })
}

// link takes the links of a block's records into the summary.
func (s *Summary) link(records []byte, column string) {
	for len(records) >= row.RecordHead {
		n, err := row.Length(records)
		if err != nil {
			return
		}
		id, at := row.SchemaOf(records), -1
		for i := range s.Schemas {
			if s.Schemas[i].ID == id {
				at = columnOf(s.Schemas[i].Columns, column)
				break
			}
		}
		if link, ok := row.LinkAt(records[:n], at); ok {
			s.Link.Add(link)
		}
		records = records[n:]
	}
}

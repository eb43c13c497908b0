package archive

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Closed is what a sink must know of a family to refuse the rows that belong to
// one of its closed periods.
type Closed struct {
	Tables  []Door   `json:"tables"`
	End     int64    `json:"end"` // the last second that is closed, or being closed
	Periods []Period `json:"periods,omitempty"`
}

// A Door is one table of a family, as a sink writes to it.
type Door struct {
	Name      string `json:"name"`
	Key       string `json:"key"`
	Date      string `json:"date,omitempty"`
	Unit      string `json:"unit,omitempty"`     // of Date
	Zoneless  bool   `json:"zoneless,omitempty"` // the column passes over the zone of a time
	Parent    string `json:"parent,omitempty"`
	ParentKey string `json:"parent_key,omitempty"`
}

// A Period is one archive of the family.
type Period struct {
	Archive int64 `json:"archive_id"`
	Window
	At int64 `json:"at,omitempty"` // when it was closed, in seconds; 0: not known
}

// maxPeriods is how many archives a Closed names; those before them are told
// without their number.
const maxPeriods = 300

// ClosedBy returns what is closed of f, where the catalogue lists entries. at
// says when an archive was closed, zoneless which date columns pass over zones,
// and pending up to which second a period is being closed, 0 where none is. It
// is nil where nothing is closed.
func ClosedBy(f *Family, entries []Entry, pending int64, at map[int64]int64, zoneless map[string]bool) *Closed {
	c := &Closed{End: pending}
	for _, s := range Sets(f, entries) {
		c.Periods = append(c.Periods, Period{s.ID, s.Window, at[s.ID]})
		c.End = max(c.End, s.End)
	}
	if len(c.Periods) == 0 && pending == 0 {
		return nil
	}
	c.Periods = c.Periods[max(0, len(c.Periods)-maxPeriods):]
	for _, t := range f.Tables {
		d := Door{Name: t.Name, Key: t.Key, Date: t.Date, Parent: t.Parent, ParentKey: t.ParentKey}
		if t.Date != "" {
			d.Unit, d.Zoneless = f.Unit, zoneless[t.Name]
		}
		c.Tables = append(c.Tables, d)
	}
	return c
}

// maxClosedBytes bounds what ReadClosed takes.
const maxClosedBytes = 1 << 20

// ReadClosed reads what Text wrote.
func ReadClosed(text string) (*Closed, error) {
	if len(text) > maxClosedBytes {
		return nil, fmt.Errorf("read closed periods: %d bytes are too many", len(text))
	}
	c := &Closed{}
	if err := json.Unmarshal([]byte(text), c); err != nil {
		return nil, fmt.Errorf("read closed periods: %w", err)
	}
	return c, nil
}

// Text writes c down; "" where it is nil.
func (c *Closed) Text() (string, error) {
	if c == nil {
		return "", nil
	}
	text, err := json.Marshal(c)
	return string(text), err
}

// Why says to which archive a row dated second belongs; "" where it is not late.
func (c *Closed) Why(second int64) string {
	if second > c.End {
		return ""
	}
	i := slices.IndexFunc(c.Periods, func(p Period) bool { return p.Start <= second && second <= p.End })
	if n := len(c.Periods); n == 0 || second > c.Periods[n-1].End {
		return fmt.Sprintf("dated %s, it belongs to the period up to %s, which is being closed", date(second), date(c.End))
	}
	if i < 0 {
		return fmt.Sprintf("dated %s, it belongs to the time before archive %d, and all up to %s is closed", date(second), c.Periods[0].Archive, date(c.End))
	}
	p := c.Periods[i]
	why := fmt.Sprintf("dated %s, it belongs to archive %d (%s)", date(second), p.Archive, p.Window)
	if p.At != 0 {
		why += ", closed at " + date(p.At)
	}
	return why
}

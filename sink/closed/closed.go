// Package closed tells which rows come too late for a sink's tables: those that
// belong to a period which was closed and filed away, where the family says
// `late: reject`. What is closed stands in the sink's own database, in table
// holdfast_archive_late, and changes in the transaction that lists an archive.
//
// A sink reads that table before the first row of each transaction, in a way
// that keeps whoever closes a period from changing it until the commit. A closing
// changes it before it swaps tables, and again when it lists the archive:
//
//	sink's transaction            closing
//	read what is closed
//	write rows                    say what is being closed: waits
//	commit                        ... swap, verify, list
//
// So rows that were judged by what was closed are in the tables before these are
// swapped, and none lands in a closed period, whoever is quicker or is killed.
// Where there was no table to read, and so nothing to keep, one may be made
// meanwhile: the table is read once more behind the last row, and [Gate.Again]
// finds rows that became late on their way. They come again then.
package closed

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"holdfast/archive"
	"holdfast/row"
	"holdfast/sink"
)

// Table is where it stands, beside the tables of the family.
const Table = "holdfast_archive_late"

// Query asks for it; its rows go to [Gate.Begin] and [Gate.Again].
const Query = "SELECT family, closed FROM "

// Code is that of the rejects.
const Code = "late"

// ErrMeanwhile says that a period was closed while its rows were on their way:
// they come again, and then they are late.
var ErrMeanwhile = errors.New("a period was closed while rows of it were on their way")

// Gate judges the rows of one session. The zero value lets every row pass.
type Gate struct {
	text     string // as it was read
	families []*family
	doors    map[string]*door
	schemas  map[*row.Schema]*place
	many     bool // more schemas came than are known

	last  *row.Schema
	where *place // of last
}

type family struct {
	*archive.Closed
	low int64 // the earliest date that passed in this transaction
}

// door is a table of a family.
type door struct {
	archive.Door
	family *family
	gone   map[string]string // why rows were refused in this transaction, by their keys; only of parents
	parent bool              // others refer to it
}

// place is where a schema has what is asked for; -1 where it has not.
type place struct {
	door            *door
	up              *door // its parent's
	date, key, into int
}

// maxSchemas is how many are known by their address.
const maxSchemas = 256

// Begin takes what is closed at the beginning of a transaction: pairs of a
// family and its closed periods.
func (g *Gate) Begin(rows [][2]string) error {
	if text := flat(rows); text != g.text {
		fresh := Gate{text: text, doors: map[string]*door{}}
		for _, r := range rows {
			if r[1] == "" {
				continue
			}
			c, err := archive.ReadClosed(r[1])
			if err != nil {
				return fmt.Errorf("family %q in %s: %w", r[0], Table, err)
			}
			fresh.add(&family{Closed: c})
		}
		*g = fresh
	}
	g.schemas, g.many, g.last, g.where = map[*row.Schema]*place{}, false, nil, nil
	for _, f := range g.families {
		f.low = math.MaxInt64
	}
	for _, d := range g.doors {
		d.gone = nil
	}
	return nil
}

func (g *Gate) add(f *family) {
	g.families = append(g.families, f)
	for _, t := range f.Tables {
		g.doors[t.Name] = &door{Door: t, family: f}
	}
	for _, t := range f.Tables {
		if up := g.doors[t.Parent]; up != nil {
			up.parent = true
		}
	}
}

// Again takes what is closed behind the last row of a transaction, kept so that
// it stays until the commit. It returns an error where rows that passed are
// late by now.
func (g *Gate) Again(rows [][2]string) error {
	if flat(rows) == g.text {
		return nil
	}
	low := map[string]int64{}
	for name, d := range g.doors {
		low[name] = d.family.low
	}
	passed, many := g.schemas, g.many
	if err := g.Begin(rows); err != nil {
		return err
	}
	for _, f := range g.families {
		for _, t := range f.Tables {
			at, known := low[t.Name]
			if !known && (many || wrote(passed, t.Name)) || known && at <= f.End {
				return fmt.Errorf("%w, up to %s: they come again", ErrMeanwhile, time.Unix(f.End, 0).UTC().Format(time.DateTime))
			}
		}
	}
	return nil
}

// wrote reports whether rows of a table passed before anything was closed in its
// family.
func wrote(all map[*row.Schema]*place, table string) bool {
	for s := range all {
		if s.Table == table {
			return true
		}
	}
	return false
}

func flat(rows [][2]string) string {
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r[0] + "\x00" + r[1] + "\x00")
	}
	return b.String()
}

// Late returns why r is refused; nil where it is not late.
func (g *Gate) Late(r *row.Row) *sink.RowError {
	if g == nil || g.schemas == nil {
		return nil
	}
	if r.Schema != g.last {
		g.last, g.where = r.Schema, g.meet(r.Schema)
	}
	p := g.where
	if p == nil || len(r.Values) != len(r.Schema.Columns) {
		return nil
	}
	why := ""
	if p.date >= 0 && !r.Values[p.date].Null {
		if second, ok := p.door.second(string(r.Values[p.date].Text)); ok {
			if why = p.door.family.Why(second); why == "" {
				p.door.family.low = min(p.door.family.low, second)
			}
		}
	}
	if p.up != nil && p.into >= 0 && !r.Values[p.into].Null {
		if of, gone := p.up.gone[string(r.Values[p.into].Text)]; gone {
			why = "its row in " + p.up.Name + " came late: " + of
		}
	}
	if why == "" {
		return nil
	}
	if p.door.parent && p.key >= 0 && !r.Values[p.key].Null {
		if p.door.gone == nil {
			p.door.gone = map[string]string{}
		}
		p.door.gone[string(r.Values[p.key].Text)] = why
	}
	return &sink.RowError{Seq: r.Seq, Table: r.Schema.Table, Code: Code, Err: errors.New(why)}
}

// meet is find, remembered.
func (g *Gate) meet(s *row.Schema) *place {
	p, known := g.schemas[s]
	if known {
		return p
	}
	p = g.find(s)
	if g.many = g.many || len(g.schemas) >= maxSchemas; !g.many {
		g.schemas[s] = p
	}
	return p
}

// find returns where s has what is asked for; nil where its table is of no
// family.
func (g *Gate) find(s *row.Schema) *place {
	d := g.doors[s.Table]
	if d == nil {
		return nil
	}
	at := func(name string) int {
		for i, c := range s.Columns {
			if name != "" && strings.EqualFold(c.Name, name) {
				return i
			}
		}
		return -1
	}
	return &place{door: d, up: g.doors[d.Parent], date: at(d.Date), key: at(d.Key), into: at(d.ParentKey)}
}

// layouts are how times are written.
var layouts = []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// second reads the date of a row, as the database will; false where it cannot
// tell, and the database may.
func (d *door) second(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	if d.Unit == archive.UnitUnix {
		n, err := strconv.ParseInt(text, 10, 64)
		if err == nil {
			return n, true
		}
		f, err := strconv.ParseFloat(text, 64)
		return int64(math.Round(f)), err == nil && math.Abs(f) < 1<<52
	}
	if len(text) > len("2006-01-02") && (text[10] == 'T' || text[10] == 't') {
		text = text[:10] + " " + text[11:]
	}
	for _, layout := range layouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if d.Zoneless { // what its clock showed
			_, offset := t.Zone()
			t = t.Add(time.Duration(offset) * time.Second)
		}
		return t.Unix(), true
	}
	return 0, false
}

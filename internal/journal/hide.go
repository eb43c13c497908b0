package journal

import (
	"fmt"

	"holdfast/internal/segment"
	"holdfast/row"
)

// hide takes out of a block the rows that rolls have cut off, and puts gaps in
// their place: their bytes leave with their segment.
func (j *Journal) hide(b *row.Block) {
	j.mu.Lock()
	c := j.cut
	if c.Roll != 0 { // what every sink has by now stays hidden, whatever is replayed
		c.Through = max(c.Through, min(c.End, j.neededLocked()-1))
		j.cut.Through = c.Through
	}
	j.mu.Unlock()
	if c.Roll == 0 || b.First > c.Through {
		return
	}
	var gap *row.Damage
	var hidden []row.Damage
	rows := b.Rows[:0]
	at, schema := -1, (*row.Schema)(nil)
	for _, r := range b.Rows {
		if r.Schema != schema {
			at, schema = columnAt(r.Schema, c.Link), r.Schema
		}
		if r.Seq > c.Through || !below(&r, at, c) {
			rows = append(rows, r)
			gap = nil
			continue
		}
		if gap == nil || gap.Last+1 != r.Seq {
			hidden = append(hidden, row.Damage{Stream: j.o.Name, First: r.Seq, Last: r.Seq, What: fmt.Sprintf("cut off by roll %d", c.Roll), Gap: true, Rolled: true})
			gap = &hidden[len(hidden)-1]
		}
		gap.Last = r.Seq
	}
	b.Rows = rows
	if len(hidden) > 0 {
		b.Damage = sortDamage(append(b.Damage, hidden...))
	}
}

// below tells whether a row's link lies below the watermark.
func below(r *row.Row, at int, c segment.Watermark) bool {
	if Link(c.Link) == LinkTime {
		return r.Received < c.Below
	}
	if at < 0 || at >= len(r.Values) || r.Values[at].Null {
		return false
	}
	link, ok := row.ParseLink(r.Values[at].Text)
	return ok && link < c.Below
}

func columnAt(s *row.Schema, name string) int {
	for i, c := range s.Columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

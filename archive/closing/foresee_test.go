package closing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// preview plans with what becomes of late rows, and wants nothing changed by it.
func (b *anyBase) preview(end int64) (*closing.Plan, error) {
	b.Helper()
	before := b.told()
	s := b.session()
	defer s.Close()
	p, err := closing.Preview(context.Background(), s, b.f, end)
	if now := b.told(); now != before {
		b.Errorf("a plan has changed something: %s, it was %s", now, before)
	}
	return p, err
}

// moves writes what becomes of late rows down, in one line.
func moves(all []closing.LateMove) string {
	var parts []string
	for _, m := range all {
		for _, h := range m.Tables {
			parts = append(parts, fmt.Sprintf("%s %d %s %d %d", m.Late, m.Archive, h.Table, h.Filed, h.Staying))
		}
	}
	return strings.Join(parts, ", ")
}

// TestLatePreview plans a closing with late rows under each policy: the plan says
// how many go where, and the run does that; its statements are those that move
// them.
func TestLatePreview(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		family := func(late string) {
			f, err := archive.Parse(strings.NewReader(strings.Replace(looseFamily, "route", late, 1)))
			if err != nil {
				b.Fatal(err)
			}
			b.f = f
		}
		family("route")
		b.must(epoch + 4)
		b.must(epoch + 9)
		for i, at := range []int64{epoch + 2, epoch + 7, epoch + 2} {
			id := b.inserted(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, 'late%d')", at, i))
			b.exec(fmt.Sprintf("INSERT INTO legs (call_id) VALUES (%d), (%d)", id, id))
		}
		p, err := b.preview(epoch + 12)
		if err != nil {
			b.Fatal(err)
		}
		if got, want := moves(p.Late), "route 1 calls 2 0, route 1 legs 4 0, route 2 calls 1 0, route 2 legs 2 0"; got != want {
			b.Errorf("got %q, want %q", got, want)
		}
		if h := p.Shares[0]; h.Filed != 3 || h.Staying != 7 {
			b.Errorf("got %+v: late rows are counted with those of the period", h)
		}
		for _, m := range p.Late {
			if len(m.Statements) != 4 || !strings.Contains(m.Statements[0], m.Tables[0].Archive) || !strings.Contains(m.Statements[0], "BETWEEN") {
				b.Errorf("got %q", m.Statements)
			}
		}

		// Those that nobody can move are named all the same.
		b.exec(fmt.Sprintf("INSERT INTO calls (id, at, who) VALUES (700001, %d, 'before')", epoch-50))
		if _, err := b.preview(epoch + 12); !refuses(err, archive.RuleComplete) {
			b.Errorf("a row of no archive: %v", err)
		}
		b.exec("DELETE FROM calls WHERE id = 700001")

		family("current")
		p, err = b.preview(epoch + 12)
		if err != nil {
			b.Fatal(err)
		}
		if got, want := moves(p.Late), "current 0 calls 0 3, current 0 legs 0 6"; got != want || len(p.Late[0].Statements) != 4 {
			b.Errorf("got %q, want %q: %q", got, want, p.Late[0].Statements)
		}
		if h := p.Shares[0]; h.Filed != 3 || h.Staying != 10 {
			b.Errorf("got %+v", h)
		}

		family("reject")
		p, err = b.preview(epoch + 12)
		if got, want := moves(p.Late), "reject 0 calls 0 3, reject 0 legs 0 6"; got != want || !refuses(err, archive.RuleComplete) {
			b.Errorf("got %q, want %q: %v", got, want, err)
		}

		family("route")
		r := b.must(epoch + 12)
		if got, want := moves(r.Late), "route 1 calls 2 0, route 1 legs 4 0, route 2 calls 1 0, route 2 legs 2 0"; got != want {
			b.Errorf("the run moved %q, want %q", got, want)
		}
		b.sound()
		family("reject")
		p, err = b.preview(epoch + 15)
		if err != nil || len(p.Late) != 1 || len(p.Late[0].Statements) != 2 ||
			!strings.Contains(p.Late[0].Statements[0], fmt.Sprintf(`"end":%d`, epoch+15)) || !strings.Contains(p.Late[0].Statements[1], `"archive_id":4`) {
			b.Errorf("got %+v, %v", p, err)
		}
		r = b.must(epoch + 15)
		var told string
		if err := b.db.QueryRow("SELECT closed FROM holdfast_archive_late").Scan(&told); err != nil || !slices.ContainsFunc(p.Late[0].Statements, func(one string) bool {
			return strings.HasPrefix(told, one[strings.Index(one, "{"):strings.Index(one, `,"periods"`)])
		}) {
			b.Errorf("archive %d: sinks are told %s, %v", r.Archive, told, err)
		}
	})
}

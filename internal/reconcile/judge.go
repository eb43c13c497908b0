package reconcile

import (
	"cmp"
	"fmt"
	"slices"
)

// span is seqs one behind the other.
type span struct{ first, last uint64 }

// spans is seqs in rising order, as few spans as they are.
type spans []span

func (s *spans) add(seq uint64) {
	if n := len(*s); n > 0 && (*s)[n-1].last+1 == seq {
		(*s)[n-1].last = seq
		return
	}
	*s = append(*s, span{seq, seq})
}

// most bounds what is remembered of rows that are left over: 24 bytes each.
const most = 1 << 20

// left is what is left over once all that is equal is paired.
type left struct {
	missing []record // of the stream, without a row in the sink
	extra   []record // of the sink, without a row in the stream
	doubled []record // of the sink, beside one that has a row; key is the seq
	more    uint64   // that are not among those
	many    map[uint64]uint64
}

// judge pairs what is equal, and tells of what is left.
func (r *run) judge() error {
	l := left{many: map[uint64]uint64{}}
	for i := range r.made.files {
		if err := r.pair(i, &l); err != nil {
			return fmt.Errorf("read temporary files: %w", err)
		}
	}
	if err := r.lookAgain(&l); err != nil {
		return err
	}
	r.changed(&l)
	r.missing(&l)
	r.rest(&l)
	r.report.More += l.more
	r.prove()
	for _, t := range r.order {
		one := Table{Table: t.name, Expected: t.expect, Digest: fmt.Sprintf("%016x", t.digest), Found: t.found, Places: t.places}
		for column := range r.dropped[t.name] {
			one.Ignored = append(one.Ignored, column)
		}
		slices.Sort(one.Ignored)
		r.report.Tables = append(r.report.Tables, one)
	}
	slices.SortStableFunc(r.report.Differences, func(a, b Difference) int { return cmp.Compare(a.First, b.First) })
	if n := len(r.report.Differences); n > r.o.Most {
		r.report.More += uint64(n - r.o.Most)
		r.report.Differences = r.report.Differences[:r.o.Most]
	}
	return nil
}

// whole reports whether each row of the sink must be of the stream, as far as
// that was read.
func (r *run) whole() bool { return r.report.From <= 1 && r.report.Gaps == 0 }

// pair pairs one part.
func (r *run) pair(part int, l *left) error {
	made, err := r.made.part(part)
	if err != nil {
		return err
	}
	held, err := r.held.part(part)
	if err != nil {
		return err
	}
	for len(made) > 0 || len(held) > 0 {
		var digest uint64
		switch {
		case len(held) == 0 || len(made) > 0 && made[0].digest <= held[0].digest:
			digest = made[0].digest
		default:
			digest = held[0].digest
		}
		n, m := equal(made, digest), equal(held, digest)
		r.group(made[:n], held[:m], l)
		made, held = made[n:], held[m:]
	}
	return nil
}

// equal returns how many records at the beginning have a digest.
func equal(all []record, digest uint64) int {
	n := 0
	for n < len(all) && all[n].digest == digest {
		n++
	}
	return n
}

// group pairs rows that are equal: those that must be there first, then those
// that yield.
func (r *run) group(made, held []record, l *left) {
	paired := min(len(made), len(held))
	for _, one := range made[:paired] {
		t := r.order[held[0].tag>>placeBits]
		switch yields := one.tag&yields != 0; {
		case yields:
			t.expect++
			r.report.Expected++
			fallthrough
		default:
			if !r.o.Ledger.since(one.seq()) {
				break
			}
			if yields {
				t.yielded.add(one.digest)
			} else {
				t.came.add(one.digest)
			}
		}
	}
	if paired > 0 {
		r.order[held[0].tag>>placeBits].found += uint64(paired)
	}
	for _, one := range made[paired:] {
		if one.tag&yields != 0 {
			r.report.LeftOut++
			continue
		}
		l.keep(&l.missing, one)
	}
	for _, one := range held[paired:] {
		if paired > 0 && (r.whole() || r.order[one.tag>>placeBits].keyed) {
			one.key = made[paired-1].seq()
			l.keep(&l.doubled, one)
			continue
		}
		l.many[one.tag]++
		if len(l.extra) < most {
			l.extra = append(l.extra, one)
		}
	}
}

func (l *left) keep(list *[]record, one record) {
	if len(*list) >= most {
		l.more++
		return
	}
	*list = append(*list, one)
}

// lookAgain finds the rows of the sink that have the keys of missing ones, where
// more were left over than are remembered.
func (r *run) lookAgain(l *left) error {
	total := uint64(0)
	for _, n := range l.many {
		total += n
	}
	if len(l.missing) == 0 || total == uint64(len(l.extra)) {
		return nil
	}
	want := map[uint64]bool{}
	for _, one := range l.missing {
		want[one.key] = true
	}
	delete(want, 0)
	l.extra = l.extra[:0]
	for i := range r.held.files {
		held, err := r.held.part(i)
		if err != nil {
			return err
		}
		for _, one := range held {
			if want[one.key] && len(l.extra) < most {
				l.extra = append(l.extra, one)
			}
		}
	}
	return nil
}

// changed pairs rows that have the same key and other values.
func (r *run) changed(l *left) {
	byKey := map[uint64]int{}
	for i, one := range l.extra {
		if one.key != 0 {
			byKey[one.key] = i
		}
	}
	rest := l.missing[:0]
	for _, one := range l.missing {
		i, ok := byKey[one.key]
		if one.key == 0 || !ok {
			rest = append(rest, one)
			continue
		}
		delete(byKey, one.key)
		tag := l.extra[i].tag
		l.many[tag]--
		t, place := r.place(tag)
		r.tell(Difference{Kind: Changed, Table: t.name, First: one.seq(), Last: one.seq(), Rows: 1, Place: place})
	}
	l.missing = rest
}

func (r *run) place(tag uint64) (*table, string) {
	t := r.order[tag>>placeBits]
	return t, t.places[tag&(1<<placeBits-1)].Name
}

func (r *run) tell(d Difference) { r.report.Differences = append(r.report.Differences, d) }

// missing tells of rows that are nowhere, neighbours together.
func (r *run) missing(l *left) {
	slices.SortFunc(l.missing, func(a, b record) int { return cmp.Compare(a.tag, b.tag) })
	all := make([]spans, len(r.order))
	for _, one := range l.missing {
		all[one.table()].add(one.seq())
	}
	for i, t := range r.order {
		for _, s := range all[i] {
			r.tell(Difference{Kind: Missing, Table: t.name, First: s.first, Last: s.last, Rows: s.last - s.first + 1})
		}
		for _, s := range t.lost {
			r.tell(Difference{Kind: Missing, Table: t.name, First: s.first, Last: s.last, Rows: s.last - s.first + 1, Note: "the sink has no such table"})
		}
	}
}

// rest tells of rows that the sink has too many of.
func (r *run) rest(l *left) {
	for _, one := range l.doubled {
		t, place := r.place(one.tag)
		r.tell(Difference{Kind: Doubled, Table: t.name, First: one.key, Last: one.key, Rows: 1, Place: place})
	}
	for tag, n := range l.many {
		t, place := r.place(tag)
		switch {
		case n == 0:
		case r.whole():
			r.tell(Difference{Kind: Strange, Table: t.name, Rows: n, Place: place, Note: "written by others, or rows that are told missing, with other values"})
		default:
			r.report.Older += n
		}
	}
}

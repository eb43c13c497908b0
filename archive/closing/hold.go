package closing

import (
	"context"
	"errors"
	"fmt"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

// holdsTable keeps holds beside the family, so that whoever works on it meets
// them, wherever he is.
const holdsTable = "holdfast_archive_holds"

// Limits of what a hold says.
const (
	maxHoldName = 63
	maxHoldNote = 1000 // bytes
	maxHolds    = 10_000
)

// holds returns the holds of the family, oldest first.
func (l looker) holds(ctx context.Context) (all []archive.Hold, err error) {
	t, err := l.s.Table(ctx, l.q, holdsTable)
	if err != nil || t == nil {
		return nil, err
	}
	rows, err := dialect.Rows(ctx, l.q, fmt.Sprintf("SELECT archive_id, from_date, to_date, made, name, note, made_by FROM %s WHERE family = %s ORDER BY made, name", l.s.Quote(holdsTable), l.s.Text(l.f.Name)))
	for _, r := range rows {
		var n [4]int64
		for i := range n {
			v, err := number(r[i])
			if err != nil {
				return nil, fmt.Errorf("hold %q: %w", r[4], err)
			}
			n[i] = value(v)
		}
		all = append(all, archive.Hold{Archive: n[0], From: n[1], To: n[2], Made: n[3], Name: r[4], Note: r[5], By: r[6]})
	}
	return all, err
}

// held returns what stands against something that is to be done to archives.
func (l looker) held(ctx context.Context, sets []archive.Set, what string) ([]archive.Broken, error) {
	holds, err := l.holds(ctx)
	return archive.Held(holds, sets, what), err
}

// Holds returns the holds on archives of the family, oldest first.
func Holds(ctx context.Context, s *dialect.Session, f *archive.Family) ([]archive.Hold, error) {
	return looker{s: s, q: s, f: f}.holds(ctx)
}

// AddHold puts a hold into force. It waits for whoever is at work on the
// archives, so that none of them goes behind its back.
func AddHold(ctx context.Context, s *dialect.Session, f *archive.Family, h archive.Hold) error {
	switch {
	case h.Name == "" || len(h.Name) > maxHoldName:
		return fault.New(fault.InvalidParameterValue, "the name of a hold has from 1 to %d bytes", maxHoldName)
	case len(h.Note) > maxHoldNote:
		return fault.New(fault.InvalidParameterValue, "the note of a hold has at most %d bytes", maxHoldNote)
	case h.To != 0 && h.To < h.From:
		return fault.New(fault.InvalidParameterValue, "the hold ends before it starts")
	}
	if err := s.Lock(ctx); err != nil {
		return err
	}
	if r, err := unfinished(ctx, s, s, f); err != nil || r != nil && r.state != statePrepared {
		return errors.Join(err, fault.New(fault.CannotConnectNow, "work on the archives of family %q was interrupted, and may have begun to change what is to be held", f.Name).
			WithHint("finish it first: archive run --apply, or the verb that was interrupted"))
	}
	l := looker{s: s, q: s, f: f}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	known := h.Archive == 0
	for _, set := range archive.Sets(f, entries) {
		known = known || set.ID == h.Archive
	}
	if !known {
		return &Refusal{[]archive.Broken{{Rule: archive.RuleCatalogue, What: fmt.Sprintf("the catalogue lists no archive %d of family %s", h.Archive, f.Name)}}}
	}
	if err := makeHolds(ctx, s); err != nil {
		return err
	}
	holds, err := l.holds(ctx)
	if err != nil {
		return err
	}
	for _, other := range holds {
		if other.Name == h.Name {
			return fault.New(fault.InvalidParameterValue, "there is a hold %q on family %q already", h.Name, f.Name).WithHint("give it another name, or remove that one")
		}
	}
	if len(holds) >= maxHolds {
		return fault.New(fault.InvalidParameterValue, "family %q has %d holds, and more are not kept", f.Name, len(holds))
	}
	if h.Made, err = s.Now(ctx); err != nil {
		return err
	}
	return s.In(ctx, func(q dialect.Querier) error {
		return each(ctx, q, []string{fmt.Sprintf("INSERT INTO %s (family, name, archive_id, from_date, to_date, note, made_by, made) VALUES (%s, %s, %d, %d, %d, %s, %s, %d)",
			s.Quote(holdsTable), s.Text(f.Name), s.Text(h.Name), h.Archive, h.From, h.To, s.Text(h.Note), s.Text(h.By[:min(len(h.By), maxHoldName)]), h.Made)})
	})
}

// makeHolds makes the table, where it is not there.
func makeHolds(ctx context.Context, s *dialect.Session) error {
	t, err := s.Table(ctx, s, holdsTable)
	if err != nil || t != nil {
		return err
	}
	_, options := s.Made()
	if _, err := s.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+s.Quote(holdsTable)+` (family varchar(63) NOT NULL, name varchar(63) NOT NULL, archive_id bigint NOT NULL, from_date bigint NOT NULL, to_date bigint NOT NULL,
	note varchar(1000) NOT NULL, made_by varchar(63) NOT NULL, made bigint NOT NULL, PRIMARY KEY (family, name))`+options); err != nil {
		return fmt.Errorf("make table %q: %w", holdsTable, err)
	}
	return nil
}

// RemoveHold lifts a hold.
func RemoveHold(ctx context.Context, s *dialect.Session, f *archive.Family, name string) error {
	if err := s.Lock(ctx); err != nil {
		return err
	}
	holds, err := Holds(ctx, s, f)
	if err != nil {
		return err
	}
	for _, h := range holds {
		if h.Name == name {
			return s.In(ctx, func(q dialect.Querier) error {
				return each(ctx, q, []string{"DELETE FROM " + s.Quote(holdsTable) + " WHERE family = " + s.Text(f.Name) + " AND name = " + s.Text(name)})
			})
		}
	}
	return fault.New(fault.InvalidParameterValue, "there is no hold %q on family %q", name, f.Name).WithHint("hold list shows them")
}

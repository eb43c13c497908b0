package closing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

func (b *anyBase) hold(h archive.Hold) error {
	b.Helper()
	s := b.session()
	defer s.Close()
	return closing.AddHold(context.Background(), s, b.f, h)
}

func (b *anyBase) unhold(name string) error {
	b.Helper()
	s := b.session()
	defer s.Close()
	return closing.RemoveHold(context.Background(), s, b.f, name)
}

// told is all that the database holds, archives and their digests included.
func (b *anyBase) told() (all string) {
	b.Helper()
	for _, query := range []string{"SELECT count(*) * 1000000 + sum(id + at) FROM calls_all", "SELECT count(*) FROM legs_all", "SELECT count(*) FROM archives",
		"SELECT count(*) FROM holdfast_archive_tables", "SELECT count(*) FROM holdfast_archive_runs", "SELECT count(*) FROM calls"} {
		all += fmt.Sprint(b.number(query), " ")
	}
	return all
}

// TestHolds has archives on hold, by number and by time, and tries every verb
// that takes an archive away, changes it or adds to it: each is refused, changes
// nothing and names the hold, and goes its way once the hold is removed.
func TestHolds(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		loose, err := archive.Parse(strings.NewReader(looseFamily))
		if err != nil {
			b.Fatal(err)
		}
		b.f = loose
		for end := int64(epoch + 3); end <= epoch+15; end += 4 {
			b.must(end)
		}
		for _, h := range []archive.Hold{{Name: "late", Archive: 9}, {Archive: 1}, {Name: "back", From: 9, To: 8}, {Name: strings.Repeat("n", 64)}} {
			if b.hold(h) == nil {
				b.Errorf("%+v is taken", h)
			}
		}
		if err := b.hold(archive.Hold{Name: "case-7", Archive: 1, Note: "letter of 3 March; it's \\ urgent", By: "root"}); err != nil {
			b.Fatal(err)
		}
		if err := b.hold(archive.Hold{Name: "case-7"}); err == nil || !strings.Contains(err.Error(), "already") {
			b.Errorf("a name twice: %v", err)
		}
		if err := b.hold(archive.Hold{Name: "case-8", From: epoch + 5, To: epoch + 6}); err != nil { // archive 2
			b.Fatal(err)
		}
		s := b.session()
		if all, err := closing.Holds(context.Background(), s, b.f); err != nil || len(all) != 2 || all[0].Note != "letter of 3 March; it's \\ urgent" || all[0].By != "root" || all[0].Made == 0 || all[1].To != epoch+6 {
			b.Errorf("got %+v, %v", all, err)
		}
		s.Close()

		// drop, by number and by time
		before := b.told()
		for _, w := range []closing.Which{{Archive: 1}, {Before: epoch + 4}, {Before: epoch + 9}} {
			if _, _, _, err := b.drop(w, 0); !refuses(err, archive.RuleHold) || !strings.Contains(err.Error(), `archive 1 is kept from being dropped by hold "case-7" (letter of 3 March`) {
				b.Errorf("%+v: %v", w, err)
			}
		}
		// late rows stay out of it
		b.exec(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, 'late')", epoch+5))
		after := b.told()
		if _, err := b.run(closing.Options{End: epoch + 16}); !refuses(err, archive.RuleComplete) || b.told() != after {
			b.Errorf("a late row is moved into an archive on hold: %v", err)
		}
		b.exec("DELETE FROM calls WHERE who = 'late'")
		if now := b.told(); now != before {
			b.Errorf("got %s, want %s", now, before)
		}
		b.sound()
		b.migrateHeld()
		if err := b.unhold("case-9"); err == nil {
			b.Error("a hold that is not there is removed")
		}
		for i, name := range []string{"case-7", "case-8"} {
			if _, _, _, err := b.drop(closing.Which{Before: epoch + 9}, 0); !refuses(err, archive.RuleHold) {
				b.Errorf("one hold is left: %v", err)
			}
			if err := b.unhold(name); err != nil {
				b.Error(err)
			}
			if i == 0 {
				if gone, _, _, err := b.drop(closing.Which{Archive: 1}, 0); err != nil || len(gone) != 1 {
					b.Errorf("without its hold: %v, %v", gone, err)
				}
			}
		}
		if gone, _, _, err := b.drop(closing.Which{Before: epoch + 9}, 0); err != nil || len(gone) != 1 {
			b.Errorf("without holds: %v, %v", gone, err)
		}
		b.sound()
	})
}

// migrateHeld has the current table drift away from archives on hold.
func (b *anyBase) migrateHeld() {
	b.Helper()
	for _, one := range drifted[b.name] {
		b.script(one)
	}
	if _, _, err := b.migrate(0); !refuses(err, archive.RuleHold) || !strings.Contains(err.Error(), "migrated") {
		b.Errorf("an archive on hold is migrated: %v", err)
	}
	var lifted []archive.Hold
	for _, name := range []string{"case-7", "case-8"} {
		s := b.session()
		all, err := closing.Holds(context.Background(), s, b.f)
		s.Close()
		if err != nil {
			b.Fatal(err)
		}
		for _, h := range all {
			if h.Name == name {
				lifted = append(lifted, h)
			}
		}
		if err := b.unhold(name); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := b.migrate(0); err != nil {
		b.Errorf("without holds: %v", err)
	}
	for _, h := range lifted {
		if err := b.hold(h); err != nil {
			b.Fatal(err)
		}
	}
	b.sound()
}

// TestHeldGap has an archive on hold that lacks tables, and one whose form is to
// change: both stay as they are.
func TestHeldGap(t *testing.T) {
	each(t, func(b *anyBase) {
		b.fill(epoch, epoch+59)
		whole := b.f
		old, err := archive.Profile("utm5@5.2.1-006")
		if err != nil {
			b.Fatal(err)
		}
		b.f = old
		b.must(epoch + 29)
		b.f = whole
		if err := b.hold(archive.Hold{Name: "case-7"}); err != nil { // all of the family, those to come too
			b.Fatal(err)
		}
		if _, err := b.backfill(closing.Options{}); !refuses(err, archive.RuleHold) {
			b.Errorf("an archive on hold is completed: %v", err)
		}
		if n := b.number("SELECT count(*) FROM archives"); n != 2 {
			b.Errorf("%d tables are listed, want 2", n)
		}
		if err := b.unhold("case-7"); err != nil {
			b.Fatal(err)
		}
		if _, err := b.backfill(closing.Options{}); err != nil {
			b.Errorf("without the hold: %v", err)
		}
		b.sound()
		if b.name != "MariaDB" {
			return
		}
		if err := b.hold(archive.Hold{Name: "case-8", Archive: 1}); err != nil {
			b.Fatal(err)
		}
		b.f.Archives = archive.Form{Engine: archive.EngineAria}
		r := b.must(epoch + 39)
		for archive, engine := range map[int64]string{1: "InnoDB", 2: "Aria"} {
			if n := b.number(fmt.Sprintf("SELECT count(*) FROM archives a JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME = a.table_name WHERE a.archive_id = %d AND t.ENGINE <> '%s'", archive, engine)); n != 0 {
				b.Errorf("%d tables of archive %d are not %s: %+v", n, archive, engine, r)
			}
		}
	})
}

// TestHoldWaits puts a hold on an archive while somebody drops it, and wants
// either: the hold is there and so is the archive, or both are refused.
func TestHoldWaits(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		b.must(epoch + 4)
		b.must(epoch + 9)
		if b.name == "MariaDB" { // only there can a drop be interrupted when the catalogue has forgotten
			for n := 1; ; n++ {
				_, killed, _, err := b.drop(closing.Which{Archive: 1}, n)
				if !killed {
					b.Fatalf("the drop ended: %v", err)
				}
				if b.number("SELECT count(*) FROM archives WHERE archive_id = 1") == 0 {
					break
				}
			}
			if err := b.hold(archive.Hold{Name: "too late"}); err == nil || !strings.Contains(err.Error(), "interrupted") {
				b.Errorf("a hold behind a drop that is under way: %v", err)
			}
			return
		}
		s := b.session()
		defer s.Close()
		asked := false
		_, err := closing.Drop(context.Background(), s, b.f, closing.Which{Archive: 1}, closing.Options{Step: func(string) error {
			asked = true
			other, err := dialect.Open(context.Background(), b.url)
			if err != nil {
				return err
			}
			defer other.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			if err := closing.AddHold(ctx, other, b.f, archive.Hold{Name: "case-7"}); err == nil {
				return errors.New("a hold comes between the plan and the drop")
			}
			return nil
		}})
		if err != nil || !asked {
			b.Errorf("asked %v, %v", asked, err)
		}
	})
}

package closing_test

import (
	"context"
	"strings"
	"testing"

	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

// TestOthersCatalogue wants a family to leave a catalogue alone that lists the
// archives of another: it would take them for its own, drop them, and move rows
// into them.
func TestOthersCatalogue(t *testing.T) {
	bare(t, func(b *anyBase) {
		one := `{"name": "NAME", "late": "route", "tables": [{"type": 1, "name": "NAME", "date": "at"}]}`
		for _, name := range []string{"calls", "mails"} {
			b.exec("CREATE TABLE " + name + " (id " + b.id + ", at integer)")
			b.exec("INSERT INTO " + name + " (at) VALUES (1000), (1001), (1002), (1010)")
		}
		mails := family(b.T, strings.ReplaceAll(one, "NAME", "mails"))
		b.f = family(b.T, strings.ReplaceAll(one, "NAME", "calls"))
		b.must(1001)
		b.must(1002)
		b.f = mails
		for verb, do := range map[string]func(s *dialect.Session) error{
			"verify": func(s *dialect.Session) error {
				_, _, err := closing.Verify(context.Background(), s, mails)
				return err
			},
			"plan": func(s *dialect.Session) error {
				_, err := closing.Preview(context.Background(), s, mails, 1001)
				return err
			},
			"run": func(s *dialect.Session) error {
				_, err := closing.Run(context.Background(), s, mails, closing.Options{End: 1001})
				return err
			},
			"list": func(s *dialect.Session) error { _, err := closing.List(context.Background(), s, mails); return err },
			"migrate": func(s *dialect.Session) error {
				_, err := closing.Migrate(context.Background(), s, mails, closing.Options{})
				return err
			},
			"drop": func(s *dialect.Session) error {
				_, err := closing.Drop(context.Background(), s, mails, closing.Which{Archive: 1}, closing.Options{})
				return err
			},
		} {
			s := b.session()
			if err := do(s); err == nil || !strings.Contains(err.Error(), `lists archives of family "calls"`) {
				b.Errorf("%s: %v", verb, err)
			}
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		}
		if n := b.number("SELECT count(*) FROM mails"); n != 4 {
			b.Errorf("%d of 4 rows are left", n)
		}
		mails.Catalogue = "mail_archives"
		b.must(1002)
		b.sound()
		b.f = family(b.T, strings.ReplaceAll(one, "NAME", "calls"))
		b.sound()
		if n := b.number("SELECT count(*) FROM calls_all"); n != 4 {
			b.Errorf("%d of 4 calls are shown", n)
		}
	})
}

package closing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// forms are those that each engine has, the second of them the one that archives
// are changed to after the first.
var forms = map[string][]archive.Form{
	"PostgreSQL": {{Compress: archive.CompressLZ4}, {Tablespace: "pg_default", Compress: archive.CompressPGLZ}},
	"MariaDB":    {{Engine: archive.EngineAria}, {Compress: archive.CompressPage}, {Engine: archive.EngineInnoDB, Compress: archive.CompressRow}},
}

// formed holds that each archived table of the family is stored in a form.
func (b *anyBase) formed(form archive.Form) {
	b.Helper()
	s := b.session()
	defer s.Close()
	entries, err := closing.List(context.Background(), s, b.f)
	if err != nil || len(entries) == 0 {
		b.Fatalf("got %v, %v", entries, err)
	}
	for _, e := range entries {
		if is, err := s.Formed(context.Background(), s, e.Name, form); err != nil || !is {
			b.Errorf("%s has not the form %+v: %v", e.Name, form, err)
		}
		if still, err := s.IsReadOnly(context.Background(), s, e.Name); err != nil || !still {
			b.Errorf("%s can be written to: %v", e.Name, err)
		}
		if _, err := b.db.Exec("DELETE FROM " + e.Name); err == nil || !strings.Contains(err.Error(), e.Name+" is an archive, which can only be read") {
			b.Errorf("%s: a row goes: %v", e.Name, err)
		}
	}
}

// TestForms stores archives of the twelve tables in every form that an engine
// has, one behind the other, and then drops, backfills and migrates them.
func TestForms(t *testing.T) {
	each(t, func(b *anyBase) {
		if b.name == "SQLite" {
			b.small()
			b.f.Archives = archive.Form{Engine: archive.EngineAria}
			if _, err := b.run(closing.Options{End: epoch + 9}); err == nil || !strings.Contains(err.Error(), "SQLite stores all tables of a file alike") {
				b.Errorf("got %v", err)
			}
			b.eachOnce(map[string]int64{"calls": 20, "legs": 20}, "refused")
			return
		}
		b.fill(epoch, epoch+99)
		want := b.counts("")
		end := int64(epoch)
		for i, form := range forms[b.name] {
			if i > 1 && !long() {
				break
			}
			end += 20
			b.f.Archives = form
			if r := b.must(end); len(r.Unformed) > 0 || r.Window.End != end {
				b.Fatalf("%+v: got %+v", form, r)
			}
			b.formed(form)
			b.sound()
			if got := b.counts("_all"); fmt.Sprint(got) != fmt.Sprint(want) {
				b.Fatalf("%+v: %v, want %v", form, got, want)
			}
			b.nothingLeft()
		}
		b.exec("ALTER TABLE user_log ADD COLUMN more varchar(20) DEFAULT 'x'")
		s := b.session()
		defer s.Close()
		if m, err := closing.Migrate(context.Background(), s, b.f, closing.Options{}); err != nil || len(m.Tables) == 0 {
			b.Fatalf("migrate: %v, %v", m, err)
		}
		if why, err := closing.Reform(context.Background(), s, b.f); err != nil || len(why) > 0 { // a new column compresses as the server does
			b.Fatalf("got %v, %v", why, err)
		}
		s.Close()
		b.formed(b.f.Archives)
		b.sound()
		if gone, _, _, err := b.drop(closing.Which{Before: epoch + 21}, 0); err != nil || len(gone) != 1 {
			b.Fatalf("drop: %v, %v", gone, err)
		}
		b.sound()
		b.exec("DELETE FROM archives WHERE table_name LIKE 'dhcp%'")
		for name := range strings.FieldsSeq(b.names("dhcp_leases_log_1%")) {
			b.exec("DROP TABLE " + name + map[string]string{"PostgreSQL": " CASCADE"}[b.name])
		}
		if _, err := b.backfill(closing.Options{}); err != nil {
			b.Fatal(err)
		}
		b.sound()
		b.nothingLeft()
	})
}

// names returns tables that are named like a pattern.
func (b *anyBase) names(like string) string {
	b.Helper()
	rows, err := b.db.Query("SELECT table_name FROM information_schema.tables WHERE table_name LIKE '" + like + "' AND table_schema IN ('public', '" + b.database() + "')")
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			b.Fatal(err)
		}
		all = append(all, one)
	}
	return strings.Join(all, " ")
}

// TestFormsKilled kills closings with a form at every statement (every third where
// HOLDFAST_LONG is not 1): at every moment each row is read once, and each table
// that is listed is whole, in its old form or in its new one.
func TestFormsKilled(t *testing.T) {
	each(t, func(b *anyBase) {
		if forms[b.name] == nil {
			b.Skip("it has no forms")
		}
		b.small()
		b.f.Archives = forms[b.name][0]
		stride := 3
		if long() {
			stride = 1
		}
		kills := 0
		want := map[string]int64{"calls": 20, "legs": 20}
		for n := 1; ; n += stride {
			killed, at := b.killedAt(n, epoch+9)
			if !killed {
				break
			}
			kills++
			listed := int64(0)
			if _, err := b.db.Exec("SELECT count(*) FROM archives"); err == nil {
				listed = b.number("SELECT count(*) FROM archives")
			}
			b.eachOnceNow(want, at)
			if listed == 0 {
				continue
			}
			// It is closed: what is left to be killed is the change of form, which a
			// period that is refused ends and begins anew.
			b.sound()
			kills += b.killedAgain(stride, want)
			break
		}
		b.f.Archives = forms[b.name][0]
		if r := b.must(epoch + 12); len(r.Unformed) > 0 {
			b.Errorf("got %+v", r)
		}
		b.formed(b.f.Archives)
		b.sound()
		b.eachOnce(want, "the end")
		b.nothingLeft()
		if kills < 12 {
			b.Errorf("killed %d times only", kills)
		}
		b.Logf("killed %d times", kills)
	})
}

// killedAgain kills changes of form alone, each towards another form than the one
// before, at one statement after the other.
func (b *anyBase) killedAgain(stride int, want map[string]int64) (kills int) {
	b.Helper()
	for n := 1; ; n += stride {
		b.f.Archives = forms[b.name][kills%2]
		s := b.session()
		count, at := 0, ""
		s.Watch(func(statement string) error {
			if count++; count >= n {
				if at == "" {
					at = statement
				}
				return errKilled
			}
			return nil
		})
		_, err := closing.Reform(context.Background(), s, b.f)
		s.Close()
		b.eachOnce(want, at)
		b.listedOnce(at)
		if at == "" && err == nil {
			return kills
		}
		if !errors.Is(err, errKilled) {
			b.Fatalf("killed at %q: %v", at, err)
		}
		kills++
	}
}

// listedOnce wants every rule to hold, whatever was killed.
func (b *anyBase) listedOnce(at string) {
	b.Helper()
	s := b.session()
	defer s.Close()
	if all, _, err := closing.Verify(context.Background(), s, b.f); err != nil || len(all) > 0 {
		b.Fatalf("killed at %q: %v, %v", at, all, err)
	}
}

// eachOnceNow is eachOnce, where views may not be there yet.
func (b *anyBase) eachOnceNow(want map[string]int64, at string) {
	b.Helper()
	if _, err := b.db.Exec("SELECT count(*) FROM legs_all"); err == nil {
		b.eachOnce(want, at)
	}
}

// TestUnformed closes a period whose archive cannot have its form: it is closed
// all the same, and says so, and is put into form once that can be.
func TestUnformed(t *testing.T) {
	each(t, func(b *anyBase) {
		if forms[b.name] == nil {
			b.Skip("it has no forms")
		}
		b.small()
		b.f.Archives = forms[b.name][0]
		s := b.session()
		defer s.Close()
		s.Watch(func(statement string) error {
			if strings.HasPrefix(statement, "INSERT INTO") && strings.Contains(statement, "_new") {
				return errors.New("the disk is full")
			}
			return nil
		})
		r, err := closing.Run(context.Background(), s, b.f, closing.Options{End: epoch + 9})
		if err != nil || len(r.Unformed) != 1 || !strings.Contains(r.Unformed[0], "the disk is full") {
			b.Fatalf("got %+v, %v", r, err)
		}
		s.Close()
		b.sound()
		b.nothingLeft()
		b.eachOnce(map[string]int64{"calls": 20, "legs": 20}, "the disk")
		if r := b.must(epoch + 12); len(r.Unformed) != 0 {
			b.Errorf("got %+v", r)
		}
		b.formed(b.f.Archives)
	})
}

// TestFormsRefused asks for forms that a database does not have: nothing is
// closed, and the reason is told.
func TestFormsRefused(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		for _, form := range []archive.Form{{Engine: "myisam"}, {Engine: "archive"}, {Engine: archive.EngineAria, Compress: archive.CompressPage}, {Tablespace: "nowhere"}, {Engine: "rocksdb"}, {Compress: "zip"}} {
			b.f.Archives = form
			if _, err := b.run(closing.Options{End: epoch + 9}); err == nil || b.listed() != 0 {
				b.Errorf("%+v: got %v, and %d archives", form, err, b.listed())
			}
		}
		b.f.Archives, b.f.Late = archive.Form{Engine: archive.EngineAria}, archive.LateRoute
		if _, err := b.run(closing.Options{End: epoch + 9}); err == nil {
			b.Error("late rows would be moved into tables without transactions")
		}
	})
}

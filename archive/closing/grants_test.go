package closing_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

// documented returns the statements that docs/archive.md gives to paste for an
// engine.
func documented(t *testing.T, engine string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/archive.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```sql\n-- " + engine + ".*?\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatalf("docs/archive.md gives no statements for %s", engine)
	}
	return string(found[1])
}

// TestLeastGrants closes periods as a role that has what docs/archive.md says
// and nothing else, and on MariaDB shows that none of it can be left out.
func TestLeastGrants(t *testing.T) {
	each(t, func(b *anyBase) {
		t := b.T
		b.small()
		if b.name == "MariaDB" {
			b.exec("DROP TRIGGER noted_calls") // it runs as somebody else, which takes a right over all databases
		}
		as := func(user string) (*closing.Result, error) {
			s, err := dialect.Open(context.Background(), archiver(b.url, user))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			return closing.Run(context.Background(), s, b.f, closing.Options{End: epoch + 9 + 7*b.listed()})
		}
		switch b.name {
		case "PostgreSQL":
			b.exec("DROP ROLE IF EXISTS archiver; DROP ROLE IF EXISTS utm5; CREATE ROLE utm5; ALTER TABLE calls OWNER TO utm5; ALTER TABLE legs OWNER TO utm5; REVOKE CREATE ON SCHEMA public FROM PUBLIC; ALTER FUNCTION noted OWNER TO utm5; GRANT INSERT ON audit TO utm5")
			b.exec(strings.ReplaceAll(documented(t, b.name), " PASSWORD 'change me'", ""))
		case "MariaDB":
			b.needed(b.granted(""), as)
			b.granted("")
		default:
			return // whoever may write the file
		}
		r, err := as("archiver")
		if err != nil {
			t.Fatal(err)
		}
		if r.Window.End != epoch+9 {
			t.Errorf("got %+v", r)
		}
		b.sound()
		b.f.Archives = forms[b.name][0]
		if r, err := as("archiver"); err != nil || len(r.Unformed) > 0 {
			t.Fatalf("got %+v, %v", r, err)
		}
		b.formed(b.f.Archives)
		s, err := dialect.Open(context.Background(), archiver(b.url, "archiver"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if gone, err := closing.Drop(context.Background(), s, b.f, closing.Which{Archive: 1}, closing.Options{}); err != nil || len(gone) != 1 {
			t.Fatalf("drop as a role with the least rights: %v, %v", gone, err)
		}
		b.sound()
		b.inserted(fmt.Sprintf("INSERT INTO calls (at) VALUES (%d)", epoch+500))
	})
}

// archiver returns the URL of the same database for another user.
func archiver(url, user string) string {
	return regexp.MustCompile(`//[^@]*@`).ReplaceAllString(url, "//"+user+"@")
}

// granted makes the role of docs/archive.md anew, without one of its rights,
// and returns all of them.
func (b *anyBase) granted(without string) []string {
	b.Helper()
	b.exec("DROP USER IF EXISTS archiver@'127.0.0.1'")
	text := strings.NewReplacer("utm5.*", b.database()+".*", " IDENTIFIED BY 'change me'", "", "archiver@'%'", "archiver@'127.0.0.1'").Replace(documented(b.T, b.name))
	list := regexp.MustCompile(`GRANT (.*?) ON `).FindStringSubmatch(text)
	all := strings.Split(list[1], ", ")
	left := slices.DeleteFunc(slices.Clone(all), func(one string) bool { return one == without })
	b.script(strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(strings.Replace(text, list[1], strings.Join(left, ", "), 1)), ";"), ";\n", "; "))
	return all
}

// needed shows that a role which lacks one of the rights cannot archive.
func (b *anyBase) needed(rights []string, as func(user string) (*closing.Result, error)) {
	b.Helper()
	if !long() {
		return
	}
	for _, right := range rights {
		url, db := b.url, b.db
		b.url, b.db = makeMariaDB(b.T)
		b.trigger = nil // one runs as somebody else, which takes a right over all databases
		b.small()
		b.granted(right)
		_, err := as("archiver")
		if err == nil {
			_, err = as("archiver") // some rights it takes to go on
		}
		if r := (*closing.Refusal)(nil); err == nil || errors.As(err, &r) {
			b.Errorf("the right %s is not needed", right)
		}
		b.url, b.db = url, db
	}
}

// listed is how many archives there are of a family of two tables.
func (b *anyBase) listed() int64 {
	b.Helper()
	if _, err := b.db.Exec("SELECT count(*) FROM archives"); err != nil {
		return 0
	}
	return b.number("SELECT count(*) FROM archives") / 2
}

// database returns the name of the database that is spoken to.
func (b *anyBase) database() string { return b.url[strings.LastIndex(b.url, "/")+1:] }

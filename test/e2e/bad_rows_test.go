package e2e

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/test/servers"
)

// flaw is what is wrong with a row.
type flaw int

// The flaws. The door sees none of them: it knows no types, no keys and no
// constraints of the tables.
const (
	sound    flaw = iota
	noDate        // 30 February
	noNumber      // letters where a number belongs
	takenKey      // the key of a row that the tables' owner put there
	twiceKey      // the key of a row that came before
	tooDear       // a CHECK does not like it
	noParent      // it refers to nothing
	noKeeper      // likewise, by a key that is checked at COMMIT
	allFlaws
)

// codes are what the sinks call them. MariaDB checks no key at COMMIT, SQLite
// no types but those of a STRICT table.
var codes = map[string][allFlaws][]string{
	"pg":    {nil, {"22008"}, {"22P02"}, {"23505"}, {"23505"}, {"23514"}, {"23503"}, {"23503"}},
	"maria": {nil, {"1292"}, {"1265"}, {"1062"}, {"1062"}, {"4025"}, {"1452"}, {"1452"}},
	"lite":  {nil, {"275"}, {"3091"}, {"1555"}, {"1555"}, {"275"}, {"787"}, {"787"}},
}

// words are in what the sinks say of them: names of constraints, and values.
var words = map[string][allFlaws]string{
	"pg":    {"", "2026-02-30", `"12x"`, "already exists", "already exists", "cheap", "parents", "keepers"},
	"maria": {"", "2026-02-30", "column 'n'", "Duplicate entry", "Duplicate entry", "cheap", "foreign key constraint fails", "foreign key constraint fails"},
	"lite":  {"", "real_day", "INTEGER column", "UNIQUE constraint failed", "UNIQUE constraint failed", "cheap", "FOREIGN KEY", "FOREIGN KEY"},
}

// flawOf says what is wrong with line i, from 1: one of each thousand is bad.
func flawOf(i int) flaw {
	thousand := i / 1000
	if i%1000 != 1+thousand*37%999 {
		return sound
	}
	return 1 + flaw(thousand)%(allFlaws-1)
}

// The keys that the owner's rows take are those of no other line.
const ownersKeys = 1_000_000_000

// cells are the values of line i. mended, they are as if nothing was wrong.
func cells(i int, mended bool) []string {
	c := []string{fmt.Sprint(i), fmt.Sprint(i), fmt.Sprintf("2026-%02d-%02d", 1+i%12, 1+i%28), fmt.Sprint(i % 1000),
		fmt.Sprint(1 + i%50), fmt.Sprint(1 + i%50), fmt.Sprintf("row %d, \\t%s", i, strings.Repeat("é", i%20))}
	f := flawOf(i)
	if mended {
		f = sound
	}
	switch f {
	case noDate:
		c[2] = "2026-02-30"
	case noNumber:
		c[3] = "12x"
	case takenKey:
		c[1] = fmt.Sprint(ownersKeys + i/1000)
	case twiceKey:
		c[1] = fmt.Sprint(i - 1) // never the first of a thousand, so its neighbour is sound
		if far := i - i/2000*1000 - 1; i%2 == 0 && far > 0 && flawOf(far) == sound {
			c[1] = fmt.Sprint(far)
		}
	case tooDear:
		c[3] = "5000"
	case noParent:
		c[4] = fmt.Sprint(1000 + i)
	case noKeeper:
		c[5] = fmt.Sprint(1000 + i)
	}
	return c
}

const columns = "line, id, day, n, parent, keeper, note"

// owner is a sink's database as the owner of its tables sees it.
type owner struct {
	name   string
	tables string // makes them
	mend   string // takes the causes away, but for keys
	run    func(t *testing.T, sql string) [][]string
}

// taken are the owner's own rows, and what others refer to.
func taken(rows int) string {
	var b strings.Builder
	for _, t := range []string{"parents", "keepers"} {
		fmt.Fprintf(&b, "INSERT INTO %s VALUES (1)", t)
		for i := 2; i <= 50; i++ {
			fmt.Fprintf(&b, ",(%d)", i)
		}
		b.WriteString(";\n")
	}
	b.WriteString("INSERT INTO calls VALUES ")
	for k := 0; k <= rows/1000; k++ {
		if k > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "(0, %d, '2026-01-01', 0, 1, 1, 'the owner''s')", ownersKeys+k)
	}
	b.WriteString(";\n")
	return b.String()
}

// lacking are the rows that lines refer to in vain.
func lacking(rows int) string {
	var b strings.Builder
	for i := 1; i <= rows; i++ {
		switch flawOf(i) {
		case noParent:
			fmt.Fprintf(&b, "INSERT INTO parents VALUES (%d);\n", 1000+i)
		case noKeeper:
			fmt.Fprintf(&b, "INSERT INTO keepers VALUES (%d);\n", 1000+i)
		}
	}
	return b.String()
}

func postgresOwner(s *servers.Server, database string) owner {
	return owner{
		name: "pg",
		tables: `CREATE TABLE parents (id bigint PRIMARY KEY); CREATE TABLE keepers (id bigint PRIMARY KEY);
CREATE TABLE calls (line bigint, id bigint PRIMARY KEY, day date, n integer CONSTRAINT cheap CHECK (n < 1000),
  parent bigint REFERENCES parents, keeper bigint REFERENCES keepers DEFERRABLE INITIALLY DEFERRED, note text);
`,
		mend: `ALTER TABLE calls DROP CONSTRAINT cheap;
ALTER TABLE calls ALTER day TYPE text, ALTER n TYPE text;
`,
		run: func(t *testing.T, sql string) [][]string { return inPostgres(t, s.URL(database), sql) },
	}
}

func databaseOwner(name string, db *sql.DB, tables, mend string) owner {
	return owner{name, tables, mend, func(t *testing.T, sql string) [][]string {
		t.Helper()
		all := strings.Split(strings.TrimSuffix(strings.TrimSpace(sql), ";"), ";\n")
		for _, one := range all[:len(all)-1] {
			if _, err := db.ExecContext(t.Context(), one); err != nil {
				t.Fatalf("%.200s: %v", one, err)
			}
		}
		return query(t, db, all[len(all)-1])
	}}
}

func mariaOwner(db *sql.DB) owner {
	return databaseOwner("maria", db, `CREATE TABLE parents (id bigint PRIMARY KEY);
CREATE TABLE keepers (id bigint PRIMARY KEY);
CREATE TABLE calls (line bigint, id bigint PRIMARY KEY, day date, n integer, parent bigint, keeper bigint, note text CHARACTER SET utf8mb4,
  CONSTRAINT cheap CHECK (n < 1000), FOREIGN KEY (parent) REFERENCES parents (id), FOREIGN KEY (keeper) REFERENCES keepers (id));
`, `ALTER TABLE calls DROP CONSTRAINT cheap;
ALTER TABLE calls MODIFY day varchar(20), MODIFY n varchar(20);
`)
}

func liteOwner(t *testing.T, file string) owner {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(20000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	const calls = `(line INTEGER, id INTEGER PRIMARY KEY, day TEXT %s, n %s,
  parent INTEGER REFERENCES parents, keeper INTEGER REFERENCES keepers DEFERRABLE INITIALLY DEFERRED, note TEXT) STRICT;
`
	return databaseOwner("lite", db, `CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE keepers (id INTEGER PRIMARY KEY);
CREATE TABLE calls `+fmt.Sprintf(calls, "CONSTRAINT real_day CHECK (day IS date(day))", "INTEGER CONSTRAINT cheap CHECK (n < 1000)"),
		"BEGIN IMMEDIATE;\nCREATE TABLE wider "+fmt.Sprintf(calls, "", "TEXT")+`INSERT INTO wider SELECT * FROM calls;
DROP TABLE calls;
ALTER TABLE wider RENAME TO calls;
COMMIT;
`)
}

// loadLines copies lines from first on into the door, in transactions of
// several sizes.
func loadLines(t *testing.T, s *server, first, last int, mended bool, sizes ...int) {
	t.Helper()
	c := s.client()
	for n := 0; first <= last; n++ {
		end := min(first+sizes[n%len(sizes)], last+1)
		r, w := io.Pipe()
		go func() {
			var b bytes.Buffer
			for i := first; i < end; i++ {
				for k, v := range cells(i, mended) {
					if k > 0 {
						b.WriteByte('\t')
					}
					b.WriteString(strings.ReplaceAll(v, `\`, `\\`))
				}
				b.WriteByte('\n')
				if b.Len() > 32<<10 || i == end-1 {
					if _, err := b.WriteTo(w); err != nil {
						return // the other side tells why
					}
				}
			}
			w.Close()
		}()
		if _, err := c.CopyFrom(t.Context(), r, "COPY calls ("+columns+") FROM STDIN"); err != nil {
			r.CloseWithError(err)
			t.Fatalf("COPY of lines %d to %d: %v", first, end-1, err)
		}
		first = end
	}
}

// holdsLines checks that a sink holds each line up to last as want says, once,
// and no other.
func (o owner) holdsLines(t *testing.T, last int, want func(i int) (cells []string)) {
	t.Helper()
	wrong := 0
	say := func(format string, args ...any) {
		if wrong++; wrong <= 5 {
			t.Errorf(o.name+": "+format, args...)
		}
	}
	const some = 100_000 // at a time
	for low := 1; low <= last; low += some {
		high := min(low+some-1, last)
		all := o.run(t, fmt.Sprintf("SELECT %s FROM calls WHERE line BETWEEN %d AND %d ORDER BY line, id", columns, low, high))
		for i := low; i <= high; i++ {
			n := 0
			for n < len(all) && all[n][0] == strconv.Itoa(i) {
				n++
			}
			switch w := want(i); {
			case w == nil && n > 0:
				say("line %d should not be there: %q", i, all[0])
			case w != nil && n != 1:
				say("line %d is there %d times", i, n)
			case w != nil && !slices.Equal(all[0], w):
				say("line %d is %q, want %q", i, all[0], w)
			}
			all = all[n:]
		}
	}
	if rest := o.run(t, fmt.Sprintf("SELECT count(*) FROM calls WHERE line IS NULL OR line < 0 OR line > %d", last))[0][0]; rest != "0" {
		say("%s rows are of no line", rest)
	}
	if wrong > 5 {
		t.Errorf("%s: %d lines are wrong", o.name, wrong)
	}
}

// soundOnly wants the rows that nothing is wrong with.
func soundOnly(i int) []string {
	if flawOf(i) != sound {
		return nil
	}
	return cells(i, false)
}

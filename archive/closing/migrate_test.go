package closing_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// drifted changes the current tables of small as an operator would: columns are
// added, with a constant default and with another, types widened, an index made.
var drifted = map[string][]string{
	"PostgreSQL": {
		"DROP VIEW calls_all",
		"ALTER TABLE calls ADD COLUMN cost numeric(10,2) NOT NULL DEFAULT 0.5, ADD COLUMN note varchar(10) DEFAULT 'it''s', ALTER COLUMN at TYPE bigint, ALTER COLUMN who TYPE text",
		"CREATE INDEX call_costs ON calls (cost) WHERE cost > 0",
		"ALTER TABLE legs ADD COLUMN seen timestamptz DEFAULT now()",
	},
	"MariaDB": {
		"ALTER TABLE calls ADD COLUMN cost decimal(10,2) NOT NULL DEFAULT 0.5 AFTER id, ADD COLUMN note varchar(10) DEFAULT 'it''s', MODIFY COLUMN at bigint, MODIFY COLUMN who varchar(40), ADD INDEX call_costs (cost, who(5) DESC)",
		"ALTER TABLE legs ADD COLUMN seen datetime DEFAULT current_timestamp()",
	},
	"SQLite": {
		"DROP VIEW calls_all; DROP VIEW legs_all",
		"ALTER TABLE calls ADD COLUMN cost NUMERIC NOT NULL DEFAULT 0.5",
		"ALTER TABLE calls ADD COLUMN note TEXT DEFAULT 'it''s'",
		"CREATE INDEX call_costs ON calls (cost)",
		`CREATE TABLE next (id INTEGER PRIMARY KEY AUTOINCREMENT, seen TEXT DEFAULT CURRENT_TIMESTAMP, call_id bigint, CONSTRAINT leg_call FOREIGN KEY (call_id) REFERENCES calls (id));
		INSERT INTO next (id, seen, call_id) SELECT id, 'now', call_id FROM legs; DROP TABLE legs; ALTER TABLE next RENAME TO legs; CREATE INDEX leg_again ON legs (call_id)`,
	},
}

// migrate migrates, and ends its session before the n-th statement; 0: never.
func (b *anyBase) migrate(n int) (p *closing.Migration, at string, err error) {
	b.Helper()
	s := b.session()
	defer s.Close()
	count := 0
	s.Watch(func(statement string) error {
		if count++; at == "" && count == n {
			at = statement
		}
		if at != "" {
			return errKilled
		}
		return nil
	})
	p, err = closing.Migrate(context.Background(), s, b.f, closing.Options{})
	if (at != "") != errors.Is(err, errKilled) {
		b.Fatalf("killed at %d, %q: %v", n, at, err)
	}
	return p, at, err
}

// TestMigrate has the current tables drift away from two archives, and has
// these follow, killed at statements on the way: every row keeps its values and
// is read exactly once at every moment, nothing can be written to, and the
// family closes on.
func TestMigrate(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		first := b.must(epoch + 4)
		b.must(epoch + 9)
		want := map[string]int64{"calls": 20, "legs": 20}
		sum := b.number("SELECT sum(id * 7 + at + length(who)) FROM calls_all")
		if p, _, err := b.migrate(0); err != nil || len(p.Tables) != 0 {
			b.Fatalf("there is nothing to do: %+v, %v", p, err)
		}
		for _, one := range drifted[b.name] {
			b.script(one)
		}
		if _, err := b.run(closing.Options{End: epoch + 12}); !refuses(err, archive.RuleStructure) {
			b.Fatalf("the drift is not named: %v", err)
		}
		s := b.session()
		p, err := closing.Migrations(context.Background(), s, b.f)
		if err != nil || len(p.Tables) != 4 || p.Tables[0].Rows != 5 || len(p.Statements) < 4 {
			b.Fatalf("got %+v, %v", p, err)
		}
		s.Close()
		stride, kills := 4, 0
		if long() {
			stride = 1
		}
		for n := 2; ; n += stride {
			_, at, err := b.migrate(n)
			if b.name == "MariaDB" || at == "" { // elsewhere views were dropped by hand
				b.eachOnce(want, at)
			}
			if err == nil {
				break
			}
			b.onlyRead(archived(first, "calls"))
			kills++
		}
		if kills < 2 {
			b.Errorf("killed %d times only", kills)
		}
		b.sound()
		b.nothingLeft()
		b.onlyRead(archived(first, "legs"))
		for query, n := range map[string]int64{
			"SELECT sum(id * 7 + at + length(who)) + 0 FROM calls_all":                                   sum,
			"SELECT count(*) FROM " + archived(first, "calls") + " WHERE cost = 0.5 AND note = 'it''s'":  5,
			"SELECT count(*) FROM calls_all WHERE cost = 0.5":                                            20,
			"SELECT count(*) FROM " + archived(first, "legs") + " WHERE seen IS NULL":                    5,
			"SELECT count(*) FROM holdfast_archive_tables WHERE digest = 'migrating'":                    0,
			"SELECT count(*) FROM holdfast_archive_runs WHERE state <> 'closed' AND state <> 'dropped'":  0,
			"SELECT count(*) FROM legs_all l JOIN calls_all c ON c.id = l.call_id AND c.who IS NOT NULL": 20,
		} {
			if got := b.number(query); got != n {
				b.Errorf("%s: got %d, want %d", query, got, n)
			}
		}
		b.must(epoch + 12)
		b.sound()
		b.refusesToMigrate(archived(first, "calls"), archived(first, "legs"))
	})
}

// onlyRead wants an archived table to refuse what changes it.
func (b *anyBase) onlyRead(table string) {
	b.Helper()
	if _, err := b.db.Exec("DELETE FROM " + table); err == nil || !strings.Contains(err.Error(), "can only be read") {
		b.Fatalf("%s can be changed: %v", table, err)
	}
}

// refusesToMigrate has the current tables drift so that a value could be lost.
func (b *anyBase) refusesToMigrate(calls, legs string) {
	b.Helper()
	refused := func(rule archive.Rule, what string) {
		b.Helper()
		_, _, err := b.migrate(0)
		var r *closing.Refusal
		if !errors.As(err, &r) || !slices.ContainsFunc(r.Broken, func(one archive.Broken) bool { return one.Rule == rule && strings.Contains(one.What, what) }) {
			b.Errorf("%q: got %v", what, err)
		}
	}
	b.exec("DROP VIEW calls_all")
	b.exec("ALTER TABLE calls DROP COLUMN note")
	refused(archive.RuleStructure, "would be lost")
	if n := b.number("SELECT count(*) FROM " + calls + " WHERE note = 'it''s'"); n != 5 {
		b.Errorf("%d values are left of 5", n)
	}
	b.exec("ALTER TABLE calls ADD COLUMN note " + map[string]string{"PostgreSQL": "varchar(5)", "MariaDB": "varchar(5)", "SQLite": "INTEGER"}[b.name])
	refused(archive.RuleStructure, "may not hold")
	b.script(b.unlock(legs) + "DELETE FROM " + legs + " WHERE id = 1")
	b.exec("ALTER TABLE legs ADD COLUMN more integer")
	refused(archive.RuleDigest, "would hide")
}

package closing_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

const looseFamily = `{"name": "calls", "late": "route", "tables": [{"type": 1, "name": "calls", "date": "at"}, {"type": 2, "name": "legs", "parent": "calls", "parent_key": "call_id"}]}`

// TestLateRouted has rows come for closed windows, and closes on, killed at
// statements on the way: each is moved, with its children, into the archive of
// its window, is read exactly once at every moment, and archives are sealed
// again. Without the policy, and where keys must rise, nothing is archived.
func TestLateRouted(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		strict := b.f
		loose, err := archive.Parse(strings.NewReader(looseFamily))
		if err != nil {
			b.Fatal(err)
		}
		first := b.must(epoch + 4)
		b.must(epoch + 9)
		for i, at := range []int64{epoch + 2, epoch + 7, epoch + 2} {
			id := b.inserted(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, 'late%d')", at, i))
			b.exec(fmt.Sprintf("INSERT INTO legs (call_id) VALUES (%d)", id))
		}
		want := map[string]int64{"calls": 23, "legs": 23}
		noted := b.number("SELECT count(*) FROM audit")
		if _, err := b.run(closing.Options{End: epoch + 12}); !refuses(err, archive.RuleComplete) {
			b.Fatalf("late rows are not named: %v", err)
		}
		strict.Late = archive.LateRoute
		if _, err := b.run(closing.Options{End: epoch + 12}); !refuses(err, archive.RuleComplete) {
			b.Fatalf("late rows whose keys would not rise are moved: %v", err)
		}
		b.f = loose
		loose.Tables[0].FinalWhen = "who <> 'late2'"
		if _, err := b.run(closing.Options{End: epoch + 12}); !refuses(err, archive.RuleComplete) {
			b.Fatalf("late rows that may still change are moved: %v", err)
		}
		b.eachOnce(want, "a refusal")
		if n := b.number("SELECT count(*) FROM " + archived(first, "calls")); n != 5 {
			b.Errorf("the first archive holds %d calls, want 5", n)
		}
		loose.Tables[0].FinalWhen = ""
		stride, kills := 4, 0
		if long() {
			stride = 1
		}
		for n := 1; ; n += stride {
			killed, at := b.killedAt(n, epoch+12)
			b.eachOnce(want, at)
			if !killed {
				break
			}
			kills++
		}
		if kills < 3 {
			b.Errorf("killed %d times only", kills)
		}
		b.sound()
		b.eachOnce(want, "the end")
		if n := b.number("SELECT count(*) FROM " + archived(first, "legs")); n != 7 {
			b.Errorf("the first archive holds %d legs, want 7", n)
		}
		if n := b.number("SELECT count(*) FROM audit"); n != noted {
			b.Errorf("triggers saw %d of what was moved", n-noted)
		}
		if _, err := b.db.Exec("DELETE FROM " + archived(first, "calls")); err == nil || !strings.Contains(err.Error(), "can only be read") {
			b.Errorf("an archive can be changed: %v", err)
		}
		b.nothingLeft()
		// An archive that somebody has changed is not sealed anew.
		b.script(b.unlock(archived(first, "legs")) + "DELETE FROM " + archived(first, "legs") + " WHERE id = 1")
		b.exec(fmt.Sprintf("INSERT INTO calls (at) VALUES (%d)", epoch+1))
		if _, err := b.run(closing.Options{End: epoch + 15}); !refuses(err, archive.RuleDigest) {
			b.Errorf("a forged archive goes unnoticed: %v", err)
		}
	})
}

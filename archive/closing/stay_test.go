package closing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// TestLateStays has rows come for closed windows that are to stay where they
// are, and closes on, killed at statements on the way: they and their children
// stay in the current tables, are read exactly once, are counted, and are in no
// archive. Where keys must rise they are named as ever.
func TestLateStays(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		strict := b.f
		strict.Late = archive.LateCurrent
		loose, err := archive.Parse(strings.NewReader(strings.Replace(looseFamily, "route", "current", 1)))
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
		if _, err := b.run(closing.Options{End: epoch + 12}); !refuses(err, archive.RuleComplete) {
			b.Fatalf("late rows whose keys would not rise are accepted: %v", err)
		}
		b.f = loose
		late := func(n int64) {
			b.Helper()
			s := b.session()
			defer s.Close()
			if got, err := closing.Late(context.Background(), s, b.f); err != nil || got != n {
				b.Errorf("%d late rows, %v, want %d", got, err, n)
			}
		}
		late(6)
		b.sound()
		for n := 1; ; n += 7 {
			killed, at := b.killedAt(n, epoch+12)
			b.eachOnce(want, at)
			if !killed {
				break
			}
		}
		last := b.must(epoch + 15) // the rows of that other archive are put back as few, under the lock
		b.sound()
		b.nothingLeft()
		late(6)
		b.eachOnce(want, "the end")
		for query, n := range map[string]int64{
			"SELECT count(*) FROM calls WHERE who LIKE 'late%'":                                     3,
			"SELECT count(*) FROM legs l JOIN calls c ON c.id = l.call_id WHERE c.who LIKE 'late%'": 3,
			"SELECT count(*) FROM " + archived(first, "calls"):                                      5,
			"SELECT count(*) FROM " + archived(last, "calls"):                                       3,
			"SELECT count(*) FROM calls":                                                            7,
		} {
			if got := b.number(query); got != n {
				b.Errorf("%s: got %d, want %d", query, got, n)
			}
		}
		loose.Late = archive.LateName
		if _, err := b.run(closing.Options{End: epoch + 17}); !refuses(err, archive.RuleComplete) {
			b.Errorf("without the policy they are not named: %v", err)
		}
	})
}
